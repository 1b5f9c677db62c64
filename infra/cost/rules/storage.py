"""Buckets: what piles up in them is not to be seen in a template, so it is counted once."""

from collections.abc import Iterator, Mapping
from typing import Final

from infra.cost.assumptions import Assumptions
from infra.cost.deployment import Deployment, Resource
from infra.cost.usage import GB, Rule, Usage

STORAGE: Final = "Buckets, keys, secrets"
_BUCKET: Final = "AWS::S3::Bucket"


def bucket(_: Resource, deployment: Deployment, assumptions: Assumptions) -> Iterator[Usage]:
    """An equal share of all events and versions."""
    months = assumptions.months_in_bucket
    events = assumptions.events_per_month * assumptions.event_bytes_in_bucket / GB
    versions = assumptions.retrains_per_month * assumptions.users * assumptions.list_bytes_in_bucket / GB
    share = months * (events + versions) / len(deployment.of_kind(_BUCKET))
    yield Usage(STORAGE, "S3, events and versions", "s3.gb", share)


def key(key: Resource, _: Deployment, __: Assumptions) -> Iterator[Usage]:
    """Itself, and after the first year's rotation as much again."""
    yield Usage(STORAGE, "KMS key", "kms.key", 1)
    if key.properties.get("EnableKeyRotation"):
        yield Usage(STORAGE, "KMS key, rotated once", "kms.key", 1)


def secret(_: Resource, __: Deployment, ___: Assumptions) -> Iterator[Usage]:
    """By the month; calls are few."""
    yield Usage(STORAGE, "secret", "secretsmanager.secret", 1)


RULES: Final[Mapping[str, Rule]] = {
    _BUCKET: bucket,
    "AWS::KMS::Key": key,
    "AWS::SecretsManager::Secret": secret,
}
