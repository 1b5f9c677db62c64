"""Events as training reads them: only what manifests list, each once, in one order.

A manifest is written after the files that it lists (see `contract/s3_layout.py`), so a file that none
lists belongs to an import that was cut off, and is passed over.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pat

from contract.events import EVENT_COLUMNS
from contract.s3_layout import EVENTS_MANIFESTS_PREFIX, EVENTS_PREFIX
from training.errors import BadInputError, TooLittleDataError
from training.moments import format_moment
from training.storage import Folder
from training.tombstones import swallowed, tombstones_of_channel

EVENTS_SCHEMA = pa.schema([(name, pa.string()) for name in EVENT_COLUMNS[:3]] + [("timestamp", pa.int64())])
POSTED_EVENTS_SCHEMA = pa.schema(
    [
        *EVENTS_SCHEMA,
        ("event_id", pa.string()),
        ("recommendation_id", pa.string()),
        ("received_at", pa.int64()),
    ]
)
"""Of events that came through the API; `received_at` in UTC ms. Imported ones lack the last three columns."""

_ROWS_A_BATCH = 128 * 1024
READ_SCHEMA = pa.schema([*EVENTS_SCHEMA, ("event_id", pa.string())])
"""What counting an event once takes; `event_id` is null where the event was imported."""


@dataclass(frozen=True)
class EventsFile:
    """A Parquet file that a manifest lists; its key is relative to the root of the bucket."""

    key: str
    rows: int


def read_events(folder: Path | Folder, as_of_ms: int | None = None) -> pa.Table:
    """All events below `folder` up to and including `as_of_ms` (UTC milliseconds).

    `folder` holds the content of the bucket's `events/` prefix: `dt=…/` and `manifests/`, as SageMaker
    lays it out for a training channel. The columns are EVENT_COLUMNS, the rows are sorted by timestamp,
    user, item and event type; exact duplicates, also those of two imports, appear once, and so does what
    was posted twice with one `event_id`. What users did before they were deleted is left out.

    Raises TooLittleDataError where no event is left, BadInputError where a listed file is missing,
    damaged, or not a file of events.
    """
    folder = folder if isinstance(folder, Folder) else Folder(folder)
    files = [file for name in manifest_names(folder) for file in listed_files(folder, name)]
    for file in files:
        checked_footer(folder, file)
    events = _sorted_and_distinct(event_batches(folder, files), as_of_ms)
    is_swallowed = swallowed(tombstones_of_channel(folder), events["user_id"], events["timestamp"].to_numpy())
    if is_swallowed.any():
        events = events.filter(pa.array(~is_swallowed))
    if not events.num_rows:
        raise TooLittleDataError(_nothing_found(folder, files, as_of_ms))
    for name in EVENT_COLUMNS:
        if events[name].null_count:
            raise BadInputError(
                f"{folder}: {events[name].null_count} events have no {name}; import them again"
            )
    return events


def listed_files(folder: Folder, manifest_name: str) -> list[EventsFile]:
    """The files that one manifest lists. Raises BadInputError where it isn't a manifest of events."""
    return files_in(folder.read(manifest_name), folder.uri_of(manifest_name))


def files_in(manifest: bytes, where: str) -> list[EventsFile]:
    """The same of a manifest that was read already; `where` it lies is for messages."""
    try:
        listed = json.loads(manifest)["files"]
        files = [EventsFile(key=str(file["key"]), rows=int(file["rows"])) for file in listed]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{where}: isn't a manifest of events ({error!r})") from error
    for file in files:
        if not file.key.startswith(EVENTS_PREFIX) or ".." in file.key.split("/"):
            raise BadInputError(f"{where}: lists {file.key}, which doesn't lie below {EVENTS_PREFIX}")
    return files


def dataset_fingerprint(table: pa.Table) -> str:
    """The SHA-256 of a table of events: of its values and their order, not of chunks or of files."""
    total = hashlib.sha256()
    for name in EVENT_COLUMNS:
        lengths, values = hashlib.sha256(), hashlib.sha256()
        for chunk in table[name].chunks:
            if name == "timestamp":
                values.update(chunk.to_numpy().astype("<i8", copy=False).tobytes())
            else:
                offsets, data = _text_buffers(chunk)
                # Without the lengths, ("ab", "c") and ("a", "bc") would be the same.
                lengths.update(np.diff(offsets).astype("<i8", copy=False).tobytes())
                values.update(data)
        total.update(name.encode() + lengths.digest() + values.digest())
    return total.hexdigest()


def manifest_names(folder: Folder) -> list[str]:
    """The names of all manifests; `folder` holds what lies below the bucket's `events/`."""
    prefix = EVENTS_MANIFESTS_PREFIX.removeprefix(EVENTS_PREFIX)
    return [name for name in folder.list(prefix) if name.endswith(".json")]


def checked_footer(folder: Folder, file: EventsFile) -> pq.FileMetaData:
    """The footer of a listed file. Raises BadInputError where it cannot be read as events."""
    name = file.key.removeprefix(EVENTS_PREFIX)
    where = folder.uri_of(name)
    try:
        with folder.filesystem.open_input_file(folder.path(name)) as source:
            metadata = pq.read_metadata(source)
    except FileNotFoundError as error:
        raise BadInputError(f"{where}: is listed in a manifest, but missing") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise BadInputError(f"{where}: cannot be read as Parquet: {error}") from error
    schema = metadata.schema.to_arrow_schema()
    for column in EVENT_COLUMNS:
        position = schema.get_field_index(column)
        if position < 0 or not _is_expected(column, schema.field(position).type):
            raise BadInputError(
                f"{where}: isn't a file of events: expected {_described(EVENTS_SCHEMA)}; "
                f"found {_described(schema)}"
            )
    if metadata.num_rows != file.rows:
        raise BadInputError(f"{where}: has {metadata.num_rows} rows, its manifest says {file.rows}")
    return metadata


def _is_expected(column: str, data_type: pa.DataType) -> bool:
    if column == "timestamp":
        return bool(pat.is_int64(data_type))
    return bool(pat.is_string(data_type) or pat.is_large_string(data_type))


def _described(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def event_batches(folder: Folder, files: Iterable[EventsFile]) -> Iterator[pa.RecordBatch]:
    """The rows of files, as READ_SCHEMA has them and as they come: repeats and all."""
    # Through Arrow's file systems, because DuckDB reads S3 only with an extension that it downloads.
    for file in files:
        path = folder.path(file.key.removeprefix(EVENTS_PREFIX))
        with folder.filesystem.open_input_file(path) as source, pq.ParquetFile(source) as parquet:
            columns = [name for name in READ_SCHEMA.names if name in parquet.schema_arrow.names]
            for batch in parquet.iter_batches(_ROWS_A_BATCH, columns=columns):
                yield _as_read(batch)


def _as_read(batch: pa.RecordBatch) -> pa.RecordBatch:
    if "event_id" in batch.schema.names:
        return batch.select(READ_SCHEMA.names).cast(READ_SCHEMA)
    columns = [*batch.select(list(EVENT_COLUMNS)).columns, pa.nulls(batch.num_rows, pa.string())]
    return pa.record_batch(columns, names=READ_SCHEMA.names).cast(READ_SCHEMA)


def _sorted_and_distinct(batches: Iterator[pa.RecordBatch], as_of_ms: int | None) -> pa.Table:
    # Airflow's workers export events, and have no DuckDB.
    import duckdb  # noqa: PLC0415

    reader = pa.RecordBatchReader.from_batches(READ_SCHEMA, batches)
    with duckdb.connect() as connection:
        connection.register("events", reader)
        # Of a post that was repeated the first time counts: the later one may be that of the repetition.
        events = connection.sql(
            """
            WITH known AS MATERIALIZED (
                SELECT * FROM events WHERE $as_of IS NULL OR "timestamp" <= $as_of
            ), posted AS (
                SELECT user_id, item_id, event_type, "timestamp" FROM known WHERE event_id IS NOT NULL
                QUALIFY row_number() OVER (
                    PARTITION BY user_id, event_id ORDER BY "timestamp", item_id, event_type
                ) = 1
            )
            SELECT DISTINCT user_id, item_id, event_type, "timestamp" FROM (
                SELECT user_id, item_id, event_type, "timestamp" FROM known WHERE event_id IS NULL
                UNION ALL SELECT * FROM posted
            )
            ORDER BY "timestamp", user_id, item_id, event_type
            """,
            params={"as_of": as_of_ms},
        ).to_arrow_table()
    return events.cast(EVENTS_SCHEMA)


def _nothing_found(folder: Folder, files: list[EventsFile], as_of_ms: int | None) -> str:
    rows = sum(file.rows for file in files)
    if rows and as_of_ms is not None:
        return f"{folder}: all {rows:,} events came after {format_moment(as_of_ms)}"
    return f"{folder}: holds no events; `python -m training.import_events` brings them in"


def _text_buffers(chunk: pa.Array) -> tuple[npt.NDArray[np.int64], memoryview]:
    """Where each text begins and ends, and their bytes, without what lies outside of a slice."""
    if chunk.null_count:
        raise ValueError("events have no missing values")
    text = chunk.cast(pa.large_string())
    _, offsets_buffer, data = text.buffers()
    if not len(text):
        return np.zeros(1, dtype=np.int64), memoryview(b"")
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[text.offset : text.offset + len(text) + 1]
    return offsets, memoryview(data)[offsets[0] : offsets[-1]]
