"""What the events of some days look like, next to those of the days before.

DuckDB computes it out of Arrow batches in bounded memory; what comes out is small, whatever went in, and
the same events give the same profile. No user is named in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import pyarrow as pa

from contract.s3_layout import EVENTS_PREFIX
from training.catalogue import latest_catalogue, read_catalogue
from training.data_report.bots import BotRules, Concentration, concentration
from training.data_report.changes import changes
from training.data_report.days import Day, daily_counts, judged_days
from training.data_report.drift import Drift
from training.data_report.funnel import Funnel, funnels
from training.data_report.sources import Source, SourceShare, read_sources, shares
from training.data_report.tables import MEMORY_LIMIT, event_tables
from training.data_report.window import Window, window_before, window_up_to
from training.errors import BadInputError, TooLittleDataError
from training.moments import MILLISECONDS_A_DAY, format_moment
from training.storage import Folder

DAYS: Final = 28
"""Four weeks, so that each weekday counts alike."""
MOST_DAYS: Final = 366


@dataclass(frozen=True)
class Totals:
    """Of one window."""

    events: int
    users: int
    items: int


@dataclass(frozen=True)
class DataProfile:
    """The events of a window, JSON-able but for its dates."""

    as_of: str
    """ISO 8601 UTC; no later event was looked at."""
    asked_days: int
    window: Window
    before: Window | None
    """What it is compared with; None where the events begin with the window."""
    last_event: str
    """The latest one up to `as_of`, ISO 8601 UTC."""
    notes: tuple[str, ...]
    """What could not be done as asked."""
    totals: Totals
    totals_before: Totals | None
    new_users: int | None
    """Not seen in the window before; None where there is none."""
    new_items: int | None
    event_types: Mapping[str, int]
    """Events by type, the known types first; beyond some, the rest is summed up as `OTHERS`."""
    days: tuple[Day, ...]
    concentration: Concentration
    funnels: tuple[Funnel, Funnel]
    """Of users, of sessions."""
    sources: tuple[SourceShare, ...]
    """Those with events in the window."""
    drifts: tuple[Drift, ...]


def profile_events(
    root: Folder,
    *,
    as_of_ms: int | None = None,
    days: int = DAYS,
    bot_rules: BotRules | None = None,
    memory_limit: str = MEMORY_LIMIT,
) -> DataProfile:
    """Profile the last `days` days of events up to `as_of_ms` (UTC ms; by default the events' own end).

    `root` is the bucket, or the folder, that holds `events/`. A window that the events can't fill shrinks,
    and so does the one before it; `notes` tells.

    Categories are compared where the bucket holds a catalogue that tells of a moment up to `as_of`.

    Raises TooLittleDataError where the window has no event, BadInputError where `days` is out of range or
    a file is missing, damaged, or not of events, VersionError where that holds for the catalogue.
    """
    if not 1 <= days <= MOST_DAYS:
        raise BadInputError(f"days: {days}; expected 1 to {MOST_DAYS}")
    events = Folder(root.uri_of(EVENTS_PREFIX))
    sources = read_sources(events)
    first_ms, last_ms = _span(events, sources)
    # A midnight would end the day before it, and the last event would be left out.
    own_end_ms = last_ms + (last_ms % MILLISECONDS_A_DAY == 0)
    as_of_ms = own_end_ms if as_of_ms is None else as_of_ms
    if as_of_ms < first_ms:
        raise TooLittleDataError(f"{events}: all events came after {format_moment(as_of_ms)}")
    window = window_up_to(as_of_ms, days, first_event_ms=first_ms)
    before = window_before(window, first_event_ms=first_ms)
    item_categories = _item_categories(root, as_of_ms) if before else None
    with event_tables(events, sources, window, before, memory_limit=memory_limit) as connection:
        totals = _totals(connection)
        if True not in totals:
            raise TooLittleDataError(
                f"{events}: no events from {window}; they reach from {format_moment(first_ms)} to "
                f"{format_moment(last_ms)}"
            )
        new_users, new_items = _new(connection, "user_id"), _new(connection, "item_id")
        counts = daily_counts(connection)
        return DataProfile(
            as_of=format_moment(as_of_ms),
            asked_days=days,
            window=window,
            before=before,
            last_event=format_moment(_last_event(connection)),
            notes=tuple(_notes(days, window, before)),
            totals=totals[True],
            totals_before=totals.get(False, Totals(0, 0, 0)) if before else None,
            new_users=new_users if before else None,
            new_items=new_items if before else None,
            event_types=counts.by_type(window),
            days=judged_days(connection, counts, window, before),
            concentration=concentration(connection, bot_rules),
            funnels=funnels(connection),
            sources=shares(sources, window),
            drifts=tuple(changes(connection, counts, window, before, item_categories)) if before else (),
        )


def _span(events: Folder, sources: list[Source]) -> tuple[int, int]:
    files = [file for source in sources for file in source.files]
    if not files:
        raise TooLittleDataError(
            f"{events}: holds no events; `python -m training.import_events` brings them in"
        )
    return min(file.first_ms for file in files), max(file.last_ms for file in files)


def _item_categories(root: Folder, as_of_ms: int) -> pa.Table | None:
    info = latest_catalogue(root, as_of_ms)
    return read_catalogue(root, info.version).items.select(["item_id", "category_id"]) if info else None


def _notes(days: int, window: Window, before: Window | None) -> list[str]:
    notes = []
    if len(window.days) < days:
        notes.append(
            f"The window has {len(window.days):,} of {days:,} days: the events begin on {window.first_day}."
        )
    if before is None:
        notes.append("There are no events before the window, so nothing tells what is new or has changed.")
    elif len(before.days) < len(window.days):
        notes.append(
            f"The window before has {len(before.days):,} of {len(window.days):,} days: the events begin on "
            f"{before.first_day}."
        )
    return notes


def _totals(connection: duckdb.DuckDBPyConnection) -> dict[bool, Totals]:
    rows = connection.execute(
        "SELECT is_now, count(*), count(DISTINCT user_id), count(DISTINCT item_id) "
        "FROM events GROUP BY is_now"
    ).fetchall()
    return {is_now: Totals(*counts) for is_now, *counts in rows}


def _new(connection: duckdb.DuckDBPyConnection, column: str) -> int:
    return int(
        _one(
            connection,
            f"SELECT count(DISTINCT {column}) FROM events WHERE is_now AND {column} NOT IN "  # noqa: S608
            f"(SELECT {column} FROM events WHERE NOT is_now)",
        )
    )


def _last_event(connection: duckdb.DuckDBPyConnection) -> int:
    return int(_one(connection, 'SELECT max("timestamp") FROM events'))


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None
