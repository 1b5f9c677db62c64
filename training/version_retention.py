"""Deleting old versions from the bucket, and what the gate and the reports said of them.

By age and by what is in use, which the bucket's own life-cycle rules don't know: where the gate keeps what is
live for months, its version is old, too.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from contract.s3_layout import GATES_PREFIX, MODEL_REPORTS_PREFIX, manifest_key, version_prefix
from training.database import FILES_LOCK, alone, connected
from training.errors import BadInputError, VersionError
from training.moments import MILLISECONDS_A_DAY, parse_moment
from training.publish import published_versions, read_manifest
from training.retirement import KEEP
from training.serving import versions
from training.storage import Folder

KEEP_DAYS: Final = 90
"""As long as what trainings leave is kept."""


@dataclass(frozen=True)
class VersionRetentionReport:
    """What was deleted."""

    versions: tuple[str, ...]
    reports: int
    """Files below `gates/` and `model_reports/`."""
    kept: int
    """Versions that are still there."""


def delete_old_versions(
    database_url: str,
    recommendations: Folder,
    *,
    keep_days: int = KEEP_DAYS,
    keep: int = KEEP,
    wait: bool = False,
    now_ms: int | None = None,
) -> VersionRetentionReport:
    """Delete versions that were trained more than `keep_days` days ago, and reports that are as old.

    Whatever Postgres holds stays, served or not, and so do the newest `keep`. `wait` says what happens while
    another deletes or rewrites files; where it isn't set, VersionError is raised then.

    Raises DatabaseError where Postgres can't be asked, BadInputError where the bucket can't be changed, and
    VersionError that names versions whose manifests can't be read; these stay, and all else was done.
    """
    if keep_days < 1:
        raise BadInputError(f"versions can't be kept for {keep_days} days: expected 1 or more")
    now_ms = round(time.time() * 1000) if now_ms is None else now_ms
    oldest_ms = now_ms - keep_days * MILLISECONDS_A_DAY
    # One whose deletion overlaps with its being rewritten would come back without its files.
    with connected(database_url) as connection, alone(connection, wait=wait, lock=FILES_LOCK):
        in_postgres = {info.name for info in versions(connection)}
        return _delete_old(recommendations, in_postgres, keep, oldest_ms)


def _delete_old(
    recommendations: Folder, in_postgres: set[str], keep: int, oldest_ms: int
) -> VersionRetentionReport:
    published = published_versions(recommendations)
    in_use = in_postgres | set(published[-keep:])
    deleted, unreadable = [], []
    try:
        for version in [name for name in published if name not in in_use]:
            try:
                created_at = parse_moment(read_manifest(recommendations, version).created_at)
            except VersionError as error:
                unreadable.append(str(error))
                in_use.add(version)
                continue
            if created_at < oldest_ms:
                _delete(recommendations, version)
                deleted.append(version)
        old = list(_old_reports(recommendations, in_use, oldest_ms))
        for key in old:
            recommendations.delete(key)
    except OSError as error:
        raise BadInputError(f"{recommendations}: cannot be changed: {error}") from error
    if unreadable:
        raise VersionError("; ".join(unreadable))
    return VersionRetentionReport(tuple(deleted), len(old), len(published) - len(deleted))


def _delete(folder: Folder, version: str) -> None:
    # Without its manifest it is no version; what a crash leaves then, `training.forget` sweeps up.
    folder.delete(manifest_key(version))
    folder.delete_folder(version_prefix(version))


def _old_reports(folder: Folder, in_use: set[str], oldest_ms: int) -> Iterator[str]:
    for prefix in (GATES_PREFIX, MODEL_REPORTS_PREFIX):
        for file in folder.files(prefix):
            if file.changed_at < oldest_ms and PurePosixPath(file.key).stem not in in_use:
                yield file.key
