"""How much is stored, and how fresh it is: told from statistics rather than by counting large tables."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, LiteralString, NamedTuple

import psycopg

from contract.recommendations import DEFAULT_VARIANT, Manifest
from lambdas.recommendations_api.database import Database

DAYS_TOLD: Final = 14
COUNTED_PAGES: Final = 256
"""Up to this size (2 MB) a recent day, or the catalogue, is counted; whatever is larger is estimated."""

Connection = psycopg.Connection[tuple[Any, ...]]


class Count(NamedTuple):
    """A number of rows."""

    rows: int
    is_estimate: bool = False


class DayOfReceipt(NamedTuple):
    """The posted events of a day (UTC)."""

    day: date
    events: Count


class CatalogueLoaded(NamedTuple):
    """The catalogue that came in last."""

    version: str
    as_of: datetime


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What Postgres holds."""

    model_version: str | None
    trained_on: dict[str, int] | None
    """Of the version that answers, as its manifest counts: `events`, `users`, `items`, lists by kind."""
    items: Count
    """That the catalogue's table has."""
    catalogue: CatalogueLoaded | None
    days: list[DayOfReceipt]
    """All days of receipt that Postgres has a partition of, up to today, the latest first."""
    latest_event: tuple[datetime, int] | None
    """When the event received last was received, and when it happened (ms UTC)."""
    today: date
    """By the database's clock, which says on which day an event is received."""
    ready_until: date | None
    """The last day from today on without a gap that has its partition; None where today has none."""

    @property
    def days_ahead(self) -> int:
        """How many days after today have their partition already."""
        return (self.ready_until - self.today).days if self.ready_until else 0

    @property
    def events(self) -> Count:
        """The posted events of all days."""
        return Count(
            sum(day.events.rows for day in self.days), any(day.events.is_estimate for day in self.days)
        )


class _Table(NamedTuple):
    name: str
    pages: int
    estimate: int


_LIVE: Final[LiteralString] = """
SELECT name, manifest FROM serving JOIN versions ON number = version WHERE variant = %s
"""
_CATALOGUE: Final[LiteralString] = "SELECT version, as_of FROM catalogues ORDER BY loaded_at DESC LIMIT 1"
_TODAY: Final[LiteralString] = "SELECT (now() AT TIME ZONE 'UTC')::date"
# As the planner does: the density when the table was analysed last, times its size now. Before that
# (automatic analysis takes a minute or so) a row is taken for 128 bytes.
_TABLES: Final[LiteralString] = """
SELECT relname, pages, round(pages * CASE WHEN relpages > 0 THEN reltuples / relpages ELSE 64 END)::bigint
FROM (
    SELECT relname, relpages, reltuples::float8,
        pg_relation_size(oid) / current_setting('block_size')::bigint AS pages
    FROM pg_class
    WHERE oid = 'items'::regclass
        OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'events'::regclass)
) AS tables
"""
_COUNT_ITEMS: Final[LiteralString] = "SELECT count(*) FROM items"
_COUNT_DAYS: Final[LiteralString] = """
SELECT received_on, count(*) FROM events WHERE received_on = ANY (%s) GROUP BY received_on
"""
# The latest transaction's, which an index gives: there is none by time of receipt.
_LATEST_EVENT: Final[LiteralString] = """
SELECT received_at, "timestamp" FROM events WHERE received_on = %s ORDER BY xid DESC, received_at DESC LIMIT 1
"""


class Stats:
    """Reads how much is stored."""

    def __init__(self, database: Database, *, timeout: float) -> None:
        """Read nothing yet; the timeout is in seconds."""
        self._database = database
        self._timeout = timeout

    def stored(self) -> Stored:
        """What Postgres holds now.

        Raises DatabaseUnavailableError, and ManifestError where the live version's manifest cannot be read.
        """

        def read(connection: Connection) -> Stored:
            return _read(connection)

        return self._database.run(read, timeout=self._timeout)


def _read(connection: Connection) -> Stored:
    live = connection.execute(_LIVE, (DEFAULT_VARIANT,)).fetchone()
    catalogue = connection.execute(_CATALOGUE).fetchone()
    today: date = _value(connection, _TODAY)
    tables = [_Table(*row) for row in connection.execute(_TABLES)]
    partitions = {_day_of(table): table for table in tables if table.name != "items"}
    (items,) = (table for table in tables if table.name == "items")
    days = _days(connection, {day: table for day, table in partitions.items() if day <= today})
    return Stored(
        model_version=live[0] if live else None,
        trained_on=Manifest.from_document(live[1]).counts if live else None,
        items=_estimate(items) if _is_large(items) else Count(_value(connection, _COUNT_ITEMS)),
        catalogue=CatalogueLoaded(*catalogue) if catalogue else None,
        days=days,
        latest_event=_latest(connection, days),
        today=today,
        ready_until=_ready_until(today, partitions.keys()),
    )


def _days(connection: Connection, partitions: dict[date, _Table]) -> list[DayOfReceipt]:
    days = sorted(partitions, reverse=True)
    small = [day for day in days[:DAYS_TOLD] if not _is_large(partitions[day])]
    counted: dict[date, int] = dict(connection.execute(_COUNT_DAYS, (small,)).fetchall())
    return [
        DayOfReceipt(day, Count(counted.get(day, 0)) if day in small else _estimate(partitions[day]))
        for day in days
    ]


def _latest(connection: Connection, days: Sequence[DayOfReceipt]) -> tuple[datetime, int] | None:
    for day, events in days:
        if events.rows:
            row = connection.execute(_LATEST_EVENT, (day,)).fetchone()
            if row is not None:
                return row[0], row[1]
    return None


def _ready_until(today: date, days: Container[date]) -> date | None:
    ready = None
    day = today
    while day in days:
        ready = day
        day += timedelta(days=1)
    return ready


def _is_large(table: _Table) -> bool:
    return table.pages > COUNTED_PAGES


def _estimate(table: _Table) -> Count:
    return Count(table.estimate, is_estimate=True)


def _day_of(partition: _Table) -> date:
    """A partition is named by its day, see `ensure_events_partition`."""
    return date.fromisoformat(partition.name[-8:])


def _value(connection: Connection, statement: LiteralString) -> Any:
    row = connection.execute(statement).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always gives one
    return row[0]
