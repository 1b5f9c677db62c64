"""Events: what was posted goes to the bucket; what is there is looked at before anything learns from it."""

from dataclasses import dataclass
from typing import Any

from tasks.deployment import Deployment
from training.data_report.findings import Limits
from training.export_events import export_events
from training.moments import parse_moment
from training.validate_events import validate_events


@dataclass(frozen=True)
class Demands:
    """What events have to be like."""

    window_days: int
    """Of the latest events, that are looked at."""
    max_bad_share: float
    """Of the rows of the window's sources."""
    allow_empty_days: bool
    max_drift: float | None
    """A population stability index."""


def export(deployment: Deployment) -> dict[str, Any]:
    """Bring posted events into the bucket, each exactly once; an export that was cut off is finished first.

    Raises DatabaseError or BadInputError; then nothing is lost, and the next try goes on.
    """
    report = export_events(deployment.conninfo(), deployment.events, wait=True)
    return {
        "events": report.events,
        "manifests": list(report.manifests),
        "deleted_users": report.deleted_users,
    }


def validate(deployment: Deployment, *, moment: str, name: str, demands: Demands) -> dict[str, Any]:
    """Report what the latest events look like, and stop where nothing good could be learnt from them.

    Raises UserError that says everything that is wrong, and where the report is.
    """
    validation = validate_events(
        deployment.events,
        as_of_ms=parse_moment(moment),
        days=demands.window_days,
        name=name,
        limits=Limits(
            max_bad_share=demands.max_bad_share,
            allow_empty_days=demands.allow_empty_days,
            max_drift=demands.max_drift,
        ),
    )
    validation.refuse()
    profile, totals = validation.profile, validation.profile.totals
    rows = sum(source.rows for source in profile.sources)
    return {
        "events": totals.events,
        "users": totals.users,
        "items": totals.items,
        "rejected_share": sum(source.rejected_rows for source in profile.sources) / rows if rows else 0.0,
        "warnings": [finding.text for finding in validation.findings],
        "report": validation.page,
    }
