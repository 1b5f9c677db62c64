"""Versions in Postgres: which is served, and moving from one to another."""

from typing import Any

from contract.recommendations import CANARY_VARIANT, DEFAULT_VARIANT
from tasks.deployment import Deployment
from training.errors import VersionError
from training.loader import LoadReport, load_version
from training.publish import published_versions
from training.retirement import drop_version
from training.serving import (
    Move,
    activate,
    earlier_version,
    end_variant,
    list_versions,
    rollback,
    set_share,
    show_version,
)


def served_version(deployment: Deployment, variant: str = DEFAULT_VARIANT) -> str | None:
    """What answers for a variant; None where nothing does."""
    for info in list_versions(deployment.conninfo()):
        if variant in info.variants:
            return info.name
    return None


def newest(deployment: Deployment) -> str:
    """The version that was published last. Raises VersionError where there is none."""
    published = published_versions(deployment.recommendations)
    if not published:
        raise VersionError(
            f"{deployment.recommendations_uri}: no version was published: run the retrain first"
        )
    return max(published)


def load(
    deployment: Deployment, version: str, *, variant: str = CANARY_VARIANT, share: float | None = None
) -> dict[str, Any]:
    """Load a finished version, unless it is there, and let it answer for a variant.

    Raises VersionError where it is missing or damaged; then what is served stays.
    """
    conninfo = deployment.conninfo()
    report = load_version(
        conninfo,
        deployment.recommendations,
        version,
        variant=variant,
        wait=True,
        events=deployment.events,
    )
    shares = set_share(conninfo, variant, share) if share is not None else None
    return {**_told(report), "variant": variant, "shares": shares}


def go_live(deployment: Deployment, version: str) -> dict[str, Any]:
    """Let a version that was tried answer for everybody; it is no canary any more.

    `since` is when that began, ISO 8601, also where an earlier try had done it.
    """
    conninfo = deployment.conninfo()
    moved = activate(conninfo, version)
    _end_canary(conninfo)
    moments = [
        moment for variant, moment in show_version(conninfo, version).served if variant == moved.variant
    ]
    return {**_moved(moved), "since": moments[-1].isoformat()}


def go_back(
    deployment: Deployment, version: str | None = None, variant: str = DEFAULT_VARIANT
) -> dict[str, Any]:
    """Move a variant back: to a version by name, or to what it served before the present one."""
    return _moved(rollback(deployment.conninfo(), version, variant))


def choose(deployment: Deployment, version: str | None, variant: str) -> dict[str, Any]:
    """Where to go back to: chosen once, because each time that `go_back` chooses itself it goes further."""
    chosen = version or earlier_version(deployment.conninfo(), variant)
    return {"version": chosen, "variant": variant}


def drop_canary(deployment: Deployment, version: str) -> None:
    """Take a version that is not to be served out of Postgres, unless a variant serves it all the same."""
    conninfo = deployment.conninfo()
    _end_canary(conninfo)
    for info in list_versions(conninfo):
        if info.name == version and not info.variants:
            drop_version(conninfo, version, wait=True)


def _end_canary(conninfo: str) -> None:
    if any(CANARY_VARIANT in info.variants for info in list_versions(conninfo)):
        end_variant(conninfo, CANARY_VARIANT)


def _told(report: LoadReport) -> dict[str, Any]:
    return {
        "version": report.version,
        "number": report.number,
        "as_of": report.as_of,
        "lists": report.lists,
        "reused": report.reused,
        "load_seconds": report.seconds,
        "pending": list(report.pending),
    }


def _moved(move: Move) -> dict[str, Any]:
    return {
        "variant": move.variant,
        "version": move.version,
        "previous": move.previous,
        "moved": move.moved,
    }
