"""Sources read batch by batch, our columns picked out, every value still as they wrote it.

Text stays text until `event_rows` judges it, so that an id `007` or `1e5` keeps its spelling, and a bad
value is set aside with its row instead of failing the file.
"""

import codecs
import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pyarrow.types as pat

from contract.events import EVENT_COLUMNS
from training.errors import BadInputError
from training.event_columns import choose_columns
from training.event_sources import Block, SourceFile, blocks, readable

MAX_RECORD_LINES: Final = 64
"""A quoted value may go over lines; where a quote stays open for longer, its line is malformed."""

PARQUET_ROWS: Final = 128 * 1024
COLUMN_SEPARATORS: Final = ",\t;|"


@dataclass(frozen=True)
class Malformed:
    """A line from which no fields could be read, and its text as JSON."""

    row: int
    raw: str


@dataclass(frozen=True)
class Batch:
    """Some rows of a file: our columns with their values, and what is needed to tell about a bad one."""

    file: str
    rows: npt.NDArray[np.int64]
    """The line of each row, or its number where the format has no lines; from 1."""
    columns: dict[str, pa.Array]
    raw: Callable[[int], str]
    """The i-th row of the batch as JSON text."""
    wrong_types: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    malformed: Sequence[Malformed] = ()


@dataclass(frozen=True)
class OpenedSource:
    """A file whose columns are known; `batches` reads it."""

    file: SourceFile
    columns: dict[str, str]
    """Theirs for each of ours."""
    batches: Callable[[], Iterator[Batch]]


def open_source(file: SourceFile, explicit: Mapping[str, str]) -> OpenedSource:
    """Read as much of a file as tells its columns; `explicit` leads from theirs to ours.

    Raises BadInputError where it is damaged, or where a column is missing or of a type that can't be used.
    """
    if file.format == "parquet":
        return _open_parquet(file, explicit)
    if file.format == "csv":
        return _open_csv(file, explicit)
    return _open_jsonl(file, explicit)


def _line_as_json(line: bytes) -> str:
    return json.dumps(line.decode(errors="backslashreplace").rstrip("\r\n"), ensure_ascii=False)


# CSV: Arrow reads the blocks in which each line is a row, which is nearly all; Python the others.
@dataclass(frozen=True)
class _Csv:
    file: SourceFile
    names: list[str]
    separator: str
    columns: dict[str, str]

    def batches(self) -> Iterator[Batch]:
        rest, header = Block(b"", 1), True
        for block in blocks(self.file):
            if header:
                block = Block(block.data[_end_of_line(block.data) :], 2)  # noqa: PLW2901
                rest, header = Block(b"", 2), False
            whole = Block(rest.data + block.data, rest.first if rest.data else block.first)
            batch = self._quickly(whole)
            rest = Block(b"", 1)
            if batch is None:
                batch, rest = self._carefully(whole, last=False)
            yield batch
        if rest.data:
            batch, _ = self._carefully(rest, last=True)
            yield batch

    def _quickly(self, block: Block) -> Batch | None:
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
        return self._batch(rows, [column.combine_chunks() for column in table.columns])

    def _carefully(self, block: Block, *, last: bool) -> tuple[Batch, Block]:
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
                raw = _line_as_json(lines[position])
                malformed.append(Malformed(block.first + position, raw))
                position += 1
                continue
            numbers.append(block.first + position)
            records.append(fields)
            position += n_lines
        columns = [
            pa.array([_bytes(record[index]) for record in records], pa.binary())
            for index in range(len(self.names))
        ]
        batch = self._batch(np.array(numbers, dtype=np.int64), columns, malformed)
        return batch, Block(b"".join(lines[position:]), block.first + position)

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

    def _batch(
        self, rows: npt.NDArray[np.int64], columns: list[pa.Array], malformed: Sequence[Malformed] = ()
    ) -> Batch:
        def raw(row: int) -> str:
            values = [column[row].as_py().decode(errors="backslashreplace") for column in columns]
            return json.dumps(dict(zip(self.names, values, strict=True)), ensure_ascii=False)

        chosen = {ours: columns[self.names.index(theirs)] for ours, theirs in self.columns.items()}
        return Batch(file=self.file.name, rows=rows, columns=chosen, raw=raw, malformed=malformed)


def _open_csv(file: SourceFile, explicit: Mapping[str, str]) -> OpenedSource:
    first = next(blocks(file), Block(b"", 1)).data
    header = first[: _end_of_line(first)].decode("utf-8-sig", errors="backslashreplace").rstrip("\r\n")
    separator = max(COLUMN_SEPARATORS, key=header.count)
    names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
    columns = choose_columns(file.where, names, explicit)
    return OpenedSource(file, columns, _Csv(file, names, separator, columns).batches)


def _end_of_line(data: bytes) -> int:
    return data.find(b"\n") + 1 or len(data)


def _lines(data: bytes) -> list[bytes]:
    # bytes.splitlines() would also split at a carriage return within a value.
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


# JSON lines ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _JsonLines:
    file: SourceFile
    columns: dict[str, str]

    def batches(self) -> Iterator[Batch]:
        return (self._batch(block) for block in blocks(self.file))

    def _batch(self, block: Block) -> Batch:
        lines, rows, numbers, malformed = [], [], [], []
        for number, line in enumerate(block.data.split(b"\n"), block.first):
            if not line.strip():
                continue
            row = _json_object(line)
            if row is None:
                malformed.append(Malformed(number, _line_as_json(line)))
            else:
                lines.append(line)
                rows.append(row)
                numbers.append(number)
        columns, wrong_types = {}, {}
        for ours, theirs in self.columns.items():
            allowed = (str, int, float) if ours == "timestamp" else (str, int)
            columns[ours], wrong_types[ours] = _json_column([row.get(theirs) for row in rows], allowed)
        return Batch(
            file=self.file.name,
            rows=np.array(numbers, dtype=np.int64),
            columns=columns,
            raw=lambda row: lines[row].decode(errors="backslashreplace").strip(),
            wrong_types=wrong_types,
            malformed=malformed,
        )


def _open_jsonl(file: SourceFile, explicit: Mapping[str, str]) -> OpenedSource:
    first = next(blocks(file), Block(b"", 1)).data
    names: dict[str, None] = {}
    for line in first.split(b"\n", 1000)[:1000]:
        names.update(dict.fromkeys(_json_object(line) or {}))
    if not names:
        raise BadInputError(f"{file.where}: none of its first lines is a JSON object")
    columns = choose_columns(file.where, list(names), explicit)
    return OpenedSource(file, columns, _JsonLines(file, columns).batches)


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line.removeprefix(codecs.BOM_UTF8).decode(errors="surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _json_column(values: list[Any], allowed: tuple[type, ...]) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Values as text, and which are of another type than those allowed."""
    wrong = np.zeros(len(values), dtype=np.bool_)
    texts: list[bytes | None] = []
    for position, value in enumerate(values):
        if isinstance(value, str):
            texts.append(_json_bytes(value))
        elif value is None:
            texts.append(None)
        elif isinstance(value, allowed) and not isinstance(value, bool):
            texts.append(str(value).encode())
        else:
            wrong[position] = True
            texts.append(b"")
    return pa.array(texts, pa.binary()), wrong


def _json_bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


# Parquet ---------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Parquet:
    file: SourceFile
    columns: dict[str, str]

    def batches(self) -> Iterator[Batch]:
        first, names = 1, list(dict.fromkeys(self.columns.values()))
        with (
            readable(self.file),
            self.file.folder.filesystem.open_input_file(self.file.path) as source,
            pq.ParquetFile(source) as parquet,
        ):
            for batch in parquet.iter_batches(PARQUET_ROWS, columns=names):
                yield self._batch(batch, first)
                first += batch.num_rows

    def _batch(self, batch: pa.RecordBatch, first: int) -> Batch:
        return Batch(
            file=self.file.name,
            rows=np.arange(first, first + batch.num_rows, dtype=np.int64),
            columns={
                ours: _parquet_column(batch.column(theirs), is_text=ours != "timestamp")
                for ours, theirs in self.columns.items()
            },
            raw=lambda row: json.dumps(
                batch.slice(row, 1).to_pylist()[0], ensure_ascii=False, default=_value_as_text
            ),
        )


def _open_parquet(file: SourceFile, explicit: Mapping[str, str]) -> OpenedSource:
    with readable(file), file.folder.filesystem.open_input_file(file.path) as source:
        schema = pq.read_schema(source)
    columns = choose_columns(file.where, schema.names, explicit)
    for ours in EVENT_COLUMNS:
        data_type = schema.field(columns[ours]).type
        if not _is_usable(data_type, is_time=ours == "timestamp"):
            expected = "a time, a number or text" if ours == "timestamp" else "text or whole numbers"
            raise BadInputError(
                f"{file.where}: column {columns[ours]!r} is of type {data_type}; {ours} needs {expected}"
            )
    return OpenedSource(file, columns, _Parquet(file, columns).batches)


def _is_usable(data_type: pa.DataType, *, is_time: bool) -> bool:
    if pat.is_dictionary(data_type):
        return _is_usable(data_type.value_type, is_time=is_time)
    tests = [
        pat.is_string,
        pat.is_large_string,
        pat.is_binary,
        pat.is_large_binary,
        pat.is_integer,
        pat.is_null,
    ]
    if is_time:
        tests += [pat.is_timestamp, pat.is_date, pat.is_floating, pat.is_decimal]
    return any(test(data_type) for test in tests) or (pat.is_decimal(data_type) and data_type.scale == 0)


def _parquet_column(values: pa.Array, *, is_text: bool) -> pa.Array:
    if pat.is_dictionary(values.type):
        values = values.dictionary_decode()
    if is_text and (pat.is_integer(values.type) or pat.is_decimal(values.type) or pat.is_null(values.type)):
        return values.cast(pa.string())
    return values


def _value_as_text(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
