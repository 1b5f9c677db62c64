"""The events of two windows as tables of DuckDB, in memory that doesn't grow with their number.

| Table | Columns |
|---|---|
| `events` | `is_now`, `day`, `user_id`, `item_id`, `event_type`, `timestamp` (UTC ms) |
| `users` | `is_now`, `user_id`, `events`, `targets` (how many of these are carts and purchases) |

`is_now` tells the window from the one before.
"""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from contract.events import EVENT_COLUMNS, TARGET_EVENT_TYPES
from contract.tombstones import Tombstones
from training.data_report.sources import Source
from training.data_report.window import Window
from training.errors import BadInputError
from training.events import READ_SCHEMA, EventsFile, event_batches
from training.importing.room import temporary_room
from training.moments import MILLISECONDS_A_DAY
from training.storage import Folder
from training.tombstones import swallowed, tombstones_of_channel

MEMORY_LIMIT: Final = "500MB"
"""What DuckDB may use before it goes to disk; reading needs a few hundred MB besides."""

_MARKED_SCHEMA: Final = READ_SCHEMA.append(pa.field("is_swallowed", pa.bool_()))


@contextmanager
def event_tables(
    events: Folder,
    sources: Iterable[Source],
    window: Window,
    before: Window | None,
    *,
    memory_limit: str = MEMORY_LIMIT,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the two tables; `events` holds what lies below the bucket's `events/`.

    Events count as `read_events` counts them: repeats once, none that deleted users left behind. Only of a
    post that was first sent before both windows the repetition counts. Raises BadInputError where a value
    is missing, or where the disk is too small for temporary files.
    """
    start_ms = (before or window).start_ms
    files = [
        timed.file for source in sources for timed in source.files if timed.overlaps(start_ms, window.end_ms)
    ]
    with (
        tempfile.TemporaryDirectory(prefix="profile-") as temporary,
        duckdb.connect(
            str(Path(temporary) / "events.duckdb"),
            config={"memory_limit": memory_limit, "preserve_insertion_order": False},
        ) as connection,
    ):
        with temporary_room(duckdb.Error):
            _load(connection, _marked_batches(events, files), start_ms, window)
        _refuse_missing_values(connection, events)
        _gather_users(connection)
        yield connection


def _marked_batches(events: Folder, files: list[EventsFile]) -> pa.RecordBatchReader:
    tombstones = tombstones_of_channel(events)
    batches = (_marked(batch, tombstones) for batch in event_batches(events, files))
    return pa.RecordBatchReader.from_batches(_MARKED_SCHEMA, batches)


def _marked(batch: pa.RecordBatch, tombstones: Tombstones) -> pa.RecordBatch:
    """Not yet without the swallowed ones: of a post that was repeated the first one decides."""
    is_swallowed = swallowed(tombstones, batch["user_id"], batch["timestamp"].to_numpy(zero_copy_only=False))
    return pa.record_batch([*batch.columns, pa.array(is_swallowed)], schema=_MARKED_SCHEMA)


def _load(
    connection: duckdb.DuckDBPyConnection, batches: pa.RecordBatchReader, start_ms: int, window: Window
) -> None:
    connection.register("batches", batches)
    connection.execute(
        """CREATE TABLE read AS SELECT * FROM batches WHERE "timestamp" BETWEEN $start AND $end""",
        {"start": start_ms, "end": window.end_ms},
    )
    connection.unregister("batches")
    connection.execute(
        """
        CREATE TABLE events AS
        WITH posted AS (
            SELECT * EXCLUDE event_id FROM read WHERE event_id IS NOT NULL
            QUALIFY row_number() OVER (
                PARTITION BY user_id, event_id ORDER BY "timestamp", item_id, event_type
            ) = 1
        ), counted AS (
            SELECT DISTINCT * FROM (
                SELECT * EXCLUDE event_id FROM read WHERE event_id IS NULL UNION ALL SELECT * FROM posted
            )
        )
        SELECT "timestamp" >= $now AS is_now, DATE '1970-01-01' + CAST("timestamp" // $day AS INTEGER) AS day,
            user_id, item_id, event_type, "timestamp"
        FROM counted WHERE NOT is_swallowed
        """,
        {"now": window.start_ms, "day": MILLISECONDS_A_DAY},
    )
    connection.execute("DROP TABLE read")


def _refuse_missing_values(connection: duckdb.DuckDBPyConnection, events: Folder) -> None:
    counts = ", ".join(f"count(*) FILTER ({name} IS NULL)" for name in EVENT_COLUMNS[:3])
    missing = connection.execute(f"SELECT {counts} FROM events").fetchone() or ()  # noqa: S608 - our names
    for name, rows in zip(EVENT_COLUMNS[:3], missing, strict=True):
        if rows:
            raise BadInputError(f"{events}: {rows:,} events have no {name}; import them again")


def _gather_users(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        """
        CREATE TABLE users AS
        SELECT is_now, user_id, count(*) AS events,
            count(*) FILTER (list_contains($targets, event_type)) AS targets
        FROM events GROUP BY is_now, user_id
        """,
        {"targets": list(TARGET_EVENT_TYPES)},
    )
