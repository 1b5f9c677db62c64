"""How old things are that should not become old. What Postgres dates is compared with its own clock."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, Final, LiteralString

import psycopg

from contract.recommendation_id import KEY_PURPOSE
from lambdas.housekeeping.partitions import partition_days

Connection = psycopg.Connection[tuple[Any, ...]]

_VERSIONS: Final[LiteralString] = """
SELECT variant, name, manifest ->> 'as_of' FROM serving JOIN versions ON number = version ORDER BY variant
"""
_KEY: Final[LiteralString] = """
SELECT extract(epoch FROM clock_timestamp() - max(made_at)) FROM keys WHERE purpose = %s
"""
_LIVE_SINCE: Final[LiteralString] = """
SELECT variant, name, coalesce(manifest -> 'mlflow' ->> 'run_id', ''), extract(epoch FROM moved_at)
FROM serving JOIN versions ON number = version ORDER BY variant
"""
# Day by day, so that no partition is opened behind the first one with an answer: there is no index by time.
_EVENT: Final[LiteralString] = """
SELECT extract(epoch FROM clock_timestamp() - received_at)
FROM (SELECT unnest(%s::date[]) AS day ORDER BY day DESC) AS days, LATERAL (
    SELECT received_at FROM events WHERE received_on = day ORDER BY xid DESC, received_at DESC LIMIT 1
) AS latest
LIMIT 1
"""
_UNEXPORTED: Final[LiteralString] = """
SELECT (now() AT TIME ZONE 'UTC')::date, (
    SELECT day FROM (SELECT unnest(%s::date[]) AS day ORDER BY day) AS days, LATERAL (
        SELECT FROM events WHERE received_on = day AND xid >= %s::xid8 LIMIT 1
    ) AS unexported
    LIMIT 1
)
"""
# An open plan covers nothing yet. Plans of another epoch, or of the system that this one was restored from,
# count other transactions: the next export begins from the first.
_EXPORTED_TO: Final[LiteralString] = """
SELECT to_xid::text FROM event_exports
WHERE state = 'done'
    AND system_identifier = (SELECT system_identifier::text FROM pg_control_system())
    AND (system_identifier, epoch) = (
        SELECT system_identifier, epoch FROM event_exports ORDER BY number DESC LIMIT 1
    )
ORDER BY number DESC LIMIT 1
"""


class UnknownAgeError(Exception):
    """A manifest does not say what its version knows."""


def version_ages(connection: Connection, *, now: float) -> dict[str, float]:
    """By variant, how many seconds before `now` the events end that its version knows.

    Raises UnknownAgeError.
    """
    return {
        variant: now - _moment(version, as_of)
        for variant, version, as_of in connection.execute(_VERSIONS).fetchall()
    }


def live_since(connection: Connection) -> Iterator[tuple[tuple[str, str, str], float]]:
    """Of each variant its name, its version, and that one's run in MLflow; since when, as Unix time."""
    for *labels, moment in connection.execute(_LIVE_SINCE).fetchall():
        variant, version, run = labels
        yield (variant, version, run), float(moment)


def key_age(connection: Connection) -> float | None:
    """Seconds since the current key of recommendation ids was made; None where there is none."""
    return _number(connection.execute(_KEY, (KEY_PURPOSE,)).fetchone())


def event_age(connection: Connection) -> float | None:
    """Seconds since the latest posted event was received; None where there is none."""
    return _number(connection.execute(_EVENT, (partition_days(connection),)).fetchone())


def unexported_age(connection: Connection) -> int:
    """How many days ago the oldest day was that done exports don't cover; 0 where they cover all."""
    exported = connection.execute(_EXPORTED_TO).fetchone()
    row = connection.execute(
        _UNEXPORTED, (partition_days(connection), exported[0] if exported else "0")
    ).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM always gives one
    today: date
    oldest: date | None
    today, oldest = row
    return (today - oldest).days if oldest else 0


def _moment(version: str, as_of: str | None) -> float:
    try:
        moment = datetime.fromisoformat(as_of or "")
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UnknownAgeError(f"the manifest of version {version} has no as_of with a time zone: {as_of!r}")
    return moment.timestamp()


def _number(row: tuple[Any, ...] | None) -> float | None:
    return None if row is None or row[0] is None else float(row[0])
