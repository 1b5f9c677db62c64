"""Parquet files as sources, whoever wrote them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pat

from training.errors import BadInputError
from training.importing.batches import Batch, Columns, Kind, OpenedFile, is_text
from training.importing.sources import SourceFile, readable

PARQUET_ROWS: Final = 128 * 1024
_WHOLE_ROWS: Final = 16 * 1024  # at once, with all their columns


@dataclass(frozen=True)
class _ParquetFile(OpenedFile):
    schema: pa.Schema

    def batches(self, columns: Columns) -> Iterator[Batch]:
        first, names = 1, list(dict.fromkeys(column.theirs for column in columns.values()))
        with (
            readable(self.file),
            self.file.folder.filesystem.open_input_file(self.file.path) as source,
            pq.ParquetFile(source) as parquet,
        ):
            for groups in _runs_of_groups(parquet.metadata):
                whole, start = _WholeRows(self.file, groups), first
                for batch in parquet.iter_batches(PARQUET_ROWS, row_groups=groups, columns=names):
                    yield self._batch(batch, columns, first, whole, first - start)
                    first += batch.num_rows

    def type_of(self, name: str) -> pa.DataType:
        data_type = self.schema.field(name).type
        data_type = data_type.value_type if pat.is_dictionary(data_type) else data_type
        return data_type if _is_plain(data_type) and not is_text(data_type) else pa.string()

    def check_types(self, columns: Columns) -> None:
        for ours, (theirs, kind) in columns.items():
            data_type = self.schema.field(theirs).type
            if not _is_usable(data_type, kind):
                raise BadInputError(
                    f"{self.file.where}: column {theirs!r} is of type {data_type}; "
                    f"{ours} needs {_NEEDED[kind]}"
                )

    def _batch(
        self, batch: pa.RecordBatch, columns: Columns, first: int, whole: "_WholeRows", offset: int
    ) -> Batch:
        return Batch(
            file=self.file.name,
            rows=np.arange(first, first + batch.num_rows, dtype=np.int64),
            columns={
                ours: _parquet_column(batch.column(theirs), kind) for ours, (theirs, kind) in columns.items()
            },
            raw=lambda row: _as_json(whole.row(offset + row)),
        )


@dataclass
class _WholeRows:
    """Rows with all their columns, which are read only as far as somebody asks for them.

    By a reader of its own: the other one is at work in another thread meanwhile.
    """

    file: SourceFile
    groups: list[int]
    _batches: Iterator[pa.RecordBatch] = field(init=False)
    _batch: pa.RecordBatch | None = None
    _start: int = 0

    def row(self, position: int) -> dict[str, Any]:
        """The row at a position, from 0, in the groups; quick where positions rise."""
        with readable(self.file):
            if self._batch is None or position < self._start:
                parquet = pq.ParquetFile(self.file.folder.filesystem.open_input_file(self.file.path))
                self._batches = parquet.iter_batches(_WHOLE_ROWS, row_groups=self.groups)
                self._batch, self._start = next(self._batches), 0
            while position >= self._start + self._batch.num_rows:
                self._start += self._batch.num_rows
                self._batch = next(self._batches)
        row: dict[str, Any] = self._batch.slice(position - self._start, 1).to_pylist()[0]
        return row


def open_parquet(file: SourceFile) -> OpenedFile:
    """Read the schema. Raises BadInputError where the file is damaged."""
    with readable(file), file.folder.filesystem.open_input_file(file.path) as source:
        schema = pq.read_schema(source)
    return _ParquetFile(file, tuple(schema.names), schema)


def _runs_of_groups(metadata: pq.FileMetaData) -> Iterator[list[int]]:
    """Row groups, as many at a time as fill a batch."""
    run: list[int] = []
    rows = 0
    for group in range(metadata.num_row_groups):
        run.append(group)
        rows += metadata.row_group(group).num_rows
        if rows >= PARQUET_ROWS:
            yield run
            run, rows = [], 0
    if run:
        yield run


_NEEDED: Final[dict[Kind, str]] = {
    "text": "text or whole numbers",
    "time": "a time, a number or text",
    "flag": "true and false, text or whole numbers",
}


def _is_usable(data_type: pa.DataType, kind: Kind) -> bool:
    if pat.is_dictionary(data_type):
        return _is_usable(data_type.value_type, kind)
    if kind == "any" or is_text(data_type) or pat.is_integer(data_type) or pat.is_null(data_type):
        return True
    if kind == "flag" and pat.is_boolean(data_type):
        return True
    if kind == "time":
        tests = (pat.is_timestamp, pat.is_date, pat.is_floating, pat.is_decimal)
        return any(test(data_type) for test in tests)
    return bool(pat.is_decimal(data_type) and data_type.scale == 0)


def _is_plain(data_type: pa.DataType) -> bool:
    """Whether values of this type are single ones that every part of the product can carry."""
    tests = (
        is_text,
        pat.is_integer,
        pat.is_boolean,
        pat.is_float32,
        pat.is_float64,
        pat.is_decimal128,
        pat.is_date32,
        pat.is_timestamp,
        pat.is_null,
    )
    return any(test(data_type) for test in tests)


def _parquet_column(values: pa.Array, kind: Kind) -> pa.Array:
    if pat.is_dictionary(values.type):
        values = values.dictionary_decode()
    if kind == "any" and not _is_plain(values.type):
        return pa.array(
            [None if value is None else _as_json(value) for value in values.to_pylist()], pa.string()
        )
    if kind in ("text", "flag") and not is_text(values.type):
        return values.cast(pa.string())
    return values


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_value_as_text)


def _value_as_text(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
