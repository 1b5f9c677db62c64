"""Partitions of the posted events, one for each day of receipt by the database's clock."""

from collections.abc import Container
from datetime import date, timedelta
from typing import Any, Final, LiteralString

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]

_TODAY: Final[LiteralString] = "SELECT (now() AT TIME ZONE 'UTC')::date"
_ENSURE: Final[LiteralString] = "SELECT ensure_events_partition(%s)"
# One that is being detached takes no event any more.
_NAMES: Final[LiteralString] = """
SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'events'::regclass AND NOT inhdetachpending
"""


def ensure_partitions(connection: Connection, *, days_ahead: int) -> list[date]:
    """Make the partitions of today and so many days after it where they are missing; those days."""
    today = _today(connection)
    days = [today + timedelta(days=number) for number in range(days_ahead + 1)]
    for day in days:
        connection.execute(_ENSURE, (day,))
    return days


def days_ready_ahead(connection: Connection) -> int:
    """How many days after today have their partition, without a gap; -1 where today has none."""
    return _days_without_gap(_today(connection), partition_days(connection)) - 1


def partition_days(connection: Connection) -> list[date]:
    """The days that have one, the earliest first: `ensure_events_partition` names it by its day."""
    return sorted(date.fromisoformat(name[-8:]) for (name,) in connection.execute(_NAMES))


def _days_without_gap(first: date, days: Container[date]) -> int:
    number = 0
    while first + timedelta(days=number) in days:
        number += 1
    return number


def _today(connection: Connection) -> date:
    row = connection.execute(_TODAY).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM always gives one
    today: date = row[0]
    return today
