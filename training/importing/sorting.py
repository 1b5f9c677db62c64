"""More rows than fit into memory, sorted or reduced by DuckDB, which goes to disk where it must."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from training.importing.room import temporary_room
from training.importing.row_groups import ROW_GROUP

MEMORY_LIMIT: Final = "500MB"
"""What sorting may use before it goes to disk; reading and writing need a few hundred MB besides."""


@contextmanager
def sorted_rows(
    query: str, rows: Iterator[pa.RecordBatch], schema: pa.Schema, folder: Path, memory_limit: str
) -> Iterator[Iterator[pa.RecordBatch]]:
    """What a query that ends with ORDER BY makes of the table `rows`; on entry all rows have been read.

    `folder` is a local one to write to where memory doesn't suffice. Raises what reading the rows raised,
    and BadInputError where the disk is full.
    """
    source = _Source(rows)
    config: dict[str, Any] = {"memory_limit": memory_limit, "temp_directory": str(folder / "sort")}
    with duckdb.connect(config=config) as connection:
        connection.register("rows", pa.RecordBatchReader.from_batches(schema, source.batches()))
        try:
            with temporary_room(duckdb.Error):
                reader = connection.sql(query).to_arrow_reader(ROW_GROUP)
                first = next(reader, None)
        except Exception as error:
            if source.failure:
                raise source.failure from error
            raise
        with reader:
            yield _read(chain([first] if first else [], reader))


def _read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    with temporary_room(duckdb.Error):
        yield from batches


@dataclass
class _Source:
    """Rows on their way into DuckDB, which passes on the text alone of what they raise."""

    rows: Iterator[pa.RecordBatch]
    failure: Exception | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self.rows
        except Exception as error:
            self.failure = error
            raise
