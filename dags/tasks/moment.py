"""The moment that a run stands for, and the name that follows from it."""

from datetime import UTC, datetime

from training.moments import parse_moment


def as_of(given: str | None, interval_end: datetime | None, run_after: datetime) -> str:
    """ISO 8601 UTC, whole seconds: what was given, else the end of the run's data interval, else its start.

    A run that somebody asked for has no interval, and one that cron started may have an empty one: its end is
    the moment all the same. Raises BadInputError where `given` is no moment.
    """
    asked = datetime.fromtimestamp(parse_moment(given) / 1000, UTC) if given else None
    moment = asked or interval_end or run_after
    return moment.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def name_of(moment: str) -> str:
    """The moment as jobs, reports and checkpoints have it in their names."""
    return moment.replace("-", "").replace(":", "")
