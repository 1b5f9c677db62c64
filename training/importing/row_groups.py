"""Parquet as imports write it: the same rows give the same bytes, however they were batched."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pat

from training.importing.room import temporary_room

ROW_GROUP: Final = 128 * 1024


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """How files of this schema are written. Whole numbers are mostly times: their steps are small."""
    numbers = [field.name for field in schema if pat.is_int64(field.type)]
    return {
        "compression": "zstd",
        "use_dictionary": [field.name for field in schema if field.name not in numbers],
        "column_encoding": dict.fromkeys(numbers, "DELTA_BINARY_PACKED") or None,
    }


@dataclass
class RowGroupsWriter:
    """A local Parquet file whose row groups are always full but for the last, however the rows come."""

    path: Path
    schema: pa.Schema
    rows: int = 0
    """That were written; all of them once it is closed."""
    _waiting: list[pa.RecordBatch] = field(default_factory=list)
    _n_waiting: int = 0

    def __post_init__(self) -> None:
        self._writer = pq.ParquetWriter(self.path, self.schema, **parquet_options(self.schema))

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the next rows."""
        self._waiting.append(batch)
        self._n_waiting += batch.num_rows
        if self._n_waiting >= ROW_GROUP:
            self._write(self._n_waiting // ROW_GROUP * ROW_GROUP)

    def close(self) -> None:
        """Write what is left."""
        self._write(self._n_waiting)
        with temporary_room():
            self._writer.close()

    def _write(self, n_rows: int) -> None:
        table = pa.Table.from_batches(self._waiting, self.schema).combine_chunks()
        with temporary_room():
            for start in range(0, n_rows, ROW_GROUP):
                self._writer.write_table(table.slice(start, min(ROW_GROUP, n_rows - start)))
        self._waiting = table.slice(n_rows).to_batches()
        self._n_waiting -= n_rows
        self.rows += n_rows
