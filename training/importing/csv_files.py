"""CSV and its kin, read with Arrow where each line is a row, which is nearly everywhere, else with Python."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from training.importing.batches import Batch, Columns, Malformed, OpenedFile, line_as_json
from training.importing.sources import Block, SourceFile, blocks

MAX_RECORD_LINES: Final = 64
"""A quoted value may go over lines; where a quote stays open for longer, its line is malformed."""

COLUMN_SEPARATORS: Final = ",\t;|"


@dataclass(frozen=True)
class _CsvFile(OpenedFile):
    separator: str

    def batches(self, columns: Columns) -> Iterator[Batch]:
        rest, header = Block(b"", 1), True
        for block in blocks(self.file):
            if header:
                block = Block(block.data[_end_of_line(block.data) :], 2)  # noqa: PLW2901
                rest, header = Block(b"", 2), False
            whole = Block(rest.data + block.data, rest.first if rest.data else block.first)
            table = self._quickly(whole)
            rest = Block(b"", 1)
            if table is None:
                table, rest = self._carefully(whole, last=False)
            yield self._batch(table, columns)
        if rest.data:
            table, _ = self._carefully(rest, last=True)
            yield self._batch(table, columns)

    def _quickly(self, block: Block) -> "_Table | None":
        """The block by Arrow's reader, or None unless each line is one whole row."""
        data = block.data
        quotes = data.count(b'"')
        if not data or quotes % 2 or data[:1] in b"\r\n" or b"\n\n" in data or b"\n\r\n" in data:
            return None
        positions = [str(position) for position in range(len(self.names))]
        try:
            table = pacsv.read_csv(
                pa.BufferReader(data),
                pacsv.ReadOptions(column_names=positions, block_size=len(data) + 1, use_threads=False),
                pacsv.ParseOptions(
                    delimiter=self.separator, newlines_in_values=quotes > 0, ignore_empty_lines=False
                ),
                pacsv.ConvertOptions(
                    column_types=dict.fromkeys(positions, pa.binary()), strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid:
            return None
        if table.num_rows != block.n_lines:
            return None
        rows = np.arange(block.first, block.first + table.num_rows, dtype=np.int64)
        return _Table(rows, [column.combine_chunks() for column in table.columns])

    def _carefully(self, block: Block, *, last: bool) -> "tuple[_Table, Block]":
        """The block record by record, and the lines at its end whose record goes on in the next block."""
        lines = _lines(block.data)
        numbers: list[int] = []
        records: list[list[str]] = []
        malformed: list[Malformed] = []
        position = 0
        while position < len(lines):
            if not lines[position].strip(b"\r\n"):
                position += 1
                continue
            fields, n_lines = self._record(lines, position)
            if not n_lines and not last and len(lines) - position < MAX_RECORD_LINES:
                break
            if fields is None:
                raw = line_as_json(lines[position])
                malformed.append(Malformed(block.first + position, raw))
                position += 1
                continue
            numbers.append(block.first + position)
            records.append(fields)
            position += n_lines
        values = [
            pa.array([_bytes(record[index]) for record in records], pa.binary())
            for index in range(len(self.names))
        ]
        table = _Table(np.array(numbers, dtype=np.int64), values, malformed)
        return table, Block(b"".join(lines[position:]), block.first + position)

    def _record(self, lines: list[bytes], position: int) -> tuple[list[str] | None, int]:
        """The fields of the record that begins on a line, and how many lines it takes.

        None where it is malformed; no lines where a quote is open at the end of `lines`.
        """
        fields, is_open = self._fields(lines[position])
        if not is_open:
            return fields, 1
        quotes = lines[position].count(b'"')
        for end in range(position + 1, min(position + MAX_RECORD_LINES, len(lines))):
            quotes += lines[end].count(b'"')
            if quotes % 2 == 0:
                fields, is_open = self._fields(b"".join(lines[position : end + 1]))
                return fields, (end + 1 - position if fields else 1)
        return None, 0

    def _fields(self, record: bytes) -> tuple[list[str] | None, bool]:
        """The fields of a record, None unless their number is right, and whether a quote is open."""
        text = record.decode(errors="surrogateescape").rstrip("\r\n")
        try:
            fields = next(csv.reader([text], delimiter=self.separator, strict=True), [])
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                return None, True
            fields = self._leniently(text)
        return (fields if len(fields) == len(self.names) else None), False

    def _leniently(self, text: str) -> list[str]:
        """As Arrow reads it: text behind a closing quote belongs to the value."""
        try:
            return next(csv.reader([text], delimiter=self.separator), [])
        except csv.Error:
            return []

    def _batch(self, table: "_Table", columns: Columns) -> Batch:
        def raw(row: int) -> str:
            values = [column[row].as_py().decode(errors="backslashreplace") for column in table.values]
            return json.dumps(dict(zip(self.names, values, strict=True)), ensure_ascii=False)

        chosen = {ours: table.values[self.names.index(theirs)] for ours, (theirs, _) in columns.items()}
        return Batch(file=self.file.name, rows=table.rows, columns=chosen, raw=raw, malformed=table.malformed)


class _Table(NamedTuple):
    """Rows of a CSV file by all its columns."""

    rows: npt.NDArray[np.int64]
    values: list[pa.Array]
    malformed: Sequence[Malformed] = ()


def open_csv(file: SourceFile) -> OpenedFile:
    """Read the header, and see by it what separates the fields."""
    first = next(blocks(file), Block(b"", 1)).data
    header = first[: _end_of_line(first)].decode("utf-8-sig", errors="backslashreplace").rstrip("\r\n")
    separator = max(COLUMN_SEPARATORS, key=header.count)
    names = tuple(name.strip() for name in next(csv.reader([header], delimiter=separator), []))
    return _CsvFile(file, names, separator)


def _end_of_line(data: bytes) -> int:
    return data.find(b"\n") + 1 or len(data)


def _lines(data: bytes) -> list[bytes]:
    # bytes.splitlines() would also split at a carriage return within a value.
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
