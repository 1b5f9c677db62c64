"""What has had its time: old versions, exported days, and deleted users in the files."""

from dataclasses import asdict
from typing import Any

from tasks.deployment import Deployment
from training.event_retention import drop_exported_days
from training.forget import forget_in_files
from training.retirement import retire_versions as retire
from training.version_retention import delete_old_versions


def retire_versions(deployment: Deployment, *, keep: int) -> dict[str, Any]:
    """Drop all but the newest `keep` versions, and those that are served, from Postgres.

    What somebody still reads is `pending`, and goes the next time. Raises VersionError, DatabaseError.
    """
    report = retire(deployment.conninfo(), keep, wait=True)
    return {name: list(versions) for name, versions in asdict(report).items()}


def drop_events(deployment: Deployment, *, keep_days: int) -> dict[str, Any]:
    """Drop days of receipt from Postgres that ended more than `keep_days` days ago and are exported.

    Raises VersionError, DatabaseError.
    """
    return {"days": list(drop_exported_days(deployment.conninfo(), keep_days=keep_days, wait=True))}


def forget_deleted_users(deployment: Deployment) -> dict[str, Any]:
    """Take deleted users out of events, rejected rows and versions in S3.

    Raises BadInputError that names what could not be read; all else is done.
    """
    report = forget_in_files(deployment.conninfo(), deployment.events, deployment.recommendations, wait=True)
    return asdict(report)


def delete_versions(deployment: Deployment, *, keep_days: int, keep: int) -> dict[str, Any]:
    """Delete versions, and what was said of them, from S3: those that are old and not in Postgres.

    Raises VersionError, DatabaseError, BadInputError.
    """
    report = delete_old_versions(
        deployment.conninfo(), deployment.recommendations, keep_days=keep_days, keep=keep, wait=True
    )
    return {**asdict(report), "versions": list(report.versions)}
