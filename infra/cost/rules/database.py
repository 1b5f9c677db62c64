"""Postgres."""

from collections.abc import Iterator, Mapping
from typing import Final

from infra.cost.assumptions import Assumptions
from infra.cost.deployment import Deployment, Resource
from infra.cost.rules.storage import STORAGE
from infra.cost.usage import DAYS, GB, HOURS, Rule, Usage

DATABASE: Final = "Database"


def instance(instance: Resource, _: Deployment, assumptions: Assumptions) -> Iterator[Usage]:
    """Instance and storage, both twice with a standby; backups beyond the storage, which are not."""
    name = str(instance.properties["DBInstanceClass"])
    standby = bool(instance.properties.get("MultiAZ", False))
    copies, suffix = (2, ", with its standby") if standby else (1, "")
    yield Usage(DATABASE, f"{name}{suffix}", f"rds.{name}_hour", HOURS * copies)
    storage = _storage_gb(instance, assumptions)
    kind = instance.properties.get("StorageType", "gp2")
    yield Usage(DATABASE, f"storage, {kind}{suffix}", f"rds.{kind}_gb", storage * copies)
    if instance.properties.get("ManageMasterUserPassword"):
        # RDS makes it, so that no template has it.
        yield Usage(STORAGE, "secret", "secretsmanager.secret", 1)
    # As much as the storage is free.
    beyond = max(0.0, _backups_gb(instance, assumptions) - storage)
    if beyond:
        yield Usage(DATABASE, "backups beyond the storage's size", "rds.backup_gb", beyond)


def _storage_gb(instance: Resource, assumptions: Assumptions) -> float:
    """What is allocated, or more where more is needed: it grows by itself."""
    posted = assumptions.events_per_month / DAYS * assumptions.days_in_postgres
    needed = (
        _version_gb(assumptions) * assumptions.versions_in_postgres
        + posted * assumptions.event_bytes_in_postgres / GB
    )
    return max(instance.number("AllocatedStorage"), needed)


def _backups_gb(instance: Resource, assumptions: Assumptions) -> float:
    """One whole, and what each day changes: the versions that were loaded, and the events posted."""
    loaded = assumptions.retrains_per_month / DAYS * _version_gb(assumptions)
    posted = assumptions.events_per_month / DAYS * assumptions.event_bytes_in_postgres / GB
    days = instance.number("BackupRetentionPeriod")
    whole = _version_gb(assumptions) * assumptions.versions_in_postgres
    return whole + days * (loaded + posted)


def _version_gb(assumptions: Assumptions) -> float:
    return assumptions.users * assumptions.list_bytes_in_postgres / GB


RULES: Final[Mapping[str, Rule]] = {"AWS::RDS::DBInstance": instance}
