"""Moments in time: milliseconds since 1970-01-01 UTC inside, ISO 8601 at the edges."""

from datetime import UTC, datetime

from training.errors import BadInputError

MILLISECONDS_A_DAY = 86_400_000


def parse_moment(text: str) -> int:
    """Milliseconds UTC of an ISO 8601 moment; one without a zone is UTC.

    Raises BadInputError where the text is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInputError(
            f"{text!r} is no moment; expected ISO 8601, as in 2026-01-31T00:00:00Z"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def format_moment(milliseconds: int) -> str:
    """ISO 8601 UTC, to the millisecond."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
