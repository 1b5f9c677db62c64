"""Arrow batches as PostgreSQL's binary COPY format, built with numpy: no Python runs for a single row.

The format is that of https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.55.9.4.6 ("Binary
Format"), with each value as its type's send function writes it; for arrays that is `array_send` in
src/backend/utils/adt/arrayfuncs.c: number of dimensions, whether there are nulls, the elements' type, for
each dimension its length and lower bound, then each element like a field: its length, then its bytes.

First the place of every value is computed, then each kind of value is written to all its places at once.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Longs = npt.NDArray[np.int64]

HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER: Final = b"\xff\xff"

BYTES_A_CHUNK: Final = 4 * 1024 * 1024
"""What a chunk's rows take up in Arrow; as COPY data they take about twice as much."""

_NULL: Final = -1
_EMPTY_ARRAY_BYTES: Final = 12
_ARRAY_HEADER_BYTES: Final = 20

# From pg_type.dat: they are the same in every installation.
_TEXT_OID: Final = 25
_OIDS: Final = {pa.int32(): 23, pa.int64(): 20, pa.float32(): 700, pa.string(): _TEXT_OID}


def encode(batches: Iterable[pa.RecordBatch]) -> Iterator[memoryview]:
    """The chunks of one COPY … WITH (FORMAT binary), columns in the batches' order.

    string becomes text, int32 int4, int64 int8, float32 float4, lists of these their arrays; null is NULL.
    Raises TypeError where a column is of another type.
    """
    yield memoryview(HEADER)
    for batch in batches:
        for piece in _pieces(batch):
            yield _rows(piece)
    yield memoryview(TRAILER)


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    if not batch.num_rows:
        return
    rows = max(1, batch.num_rows * BYTES_A_CHUNK // max(1, batch.nbytes))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def _rows(batch: pa.RecordBatch) -> memoryview:
    """All rows of a batch: each the number of its fields, then for each field its length and its bytes."""
    fields = [_values(column) for column in batch.columns]
    row_bytes = np.full(batch.num_rows, 2 + 4 * len(fields), np.int64)
    for field in fields:
        row_bytes += np.maximum(field.lengths, 0)
    target = _Target(int(row_bytes.sum()))
    position = _starts(row_bytes)
    target.write(">i2", position, len(fields))
    position += 2
    for field in fields:
        target.write(">i4", position, field.lengths)
        position += 4
        field.write(target, position)
        position += np.maximum(field.lengths, 0)
    return target.bytes


class _Target:
    """The bytes of a chunk, written at many places at once."""

    def __init__(self, size: int) -> None:
        self._array = np.zeros(size, np.uint8)

    @property
    def bytes(self) -> memoryview:
        """What was written."""
        return self._array.data

    def write(self, dtype: str, places: Longs, values: "npt.ArrayLike") -> None:
        """Write one number to each place."""
        # A view with an element at every byte: numbers lie at any address in this format.
        width = np.dtype(dtype).itemsize
        if len(places):
            everywhere = np.ndarray((len(self._array) - width + 1,), dtype, self._array.data, strides=(1,))
            everywhere[places] = values

    def write_runs(self, places: Longs, data: npt.NDArray[np.uint8], lengths: Longs) -> None:
        """Write consecutive runs of `data`, each to its place."""
        shifts = places - _starts(lengths)
        self._array[np.repeat(shifts, lengths) + np.arange(len(data))] = data


class _Values(Protocol):
    """A column's values, or the elements of all arrays of a column."""

    @property
    def lengths(self) -> Longs:
        """Of each value in bytes; -1 for NULL."""

    def write(self, target: _Target, places: Longs) -> None:
        """Write each value that isn't NULL to its place."""


def _values(array: pa.Array) -> _Values:
    kind = array.type
    if pa.types.is_null(kind):
        return _Nothing(array)
    if pa.types.is_list(kind) and kind.value_type in _OIDS:
        return _Arrays(array)
    if pa.types.is_string(kind):
        return _Texts(array)
    if kind in _OIDS:
        return _Numbers(array)
    raise TypeError(f"columns of type {kind} have no place in a COPY here")


class _Nothing:
    """Nothing but NULL."""

    def __init__(self, array: pa.Array) -> None:
        self.lengths: Longs = np.full(len(array), _NULL, np.int64)

    def write(self, target: _Target, places: Longs) -> None:
        """Write nothing."""


class _Numbers:
    """Integers and floats: big-endian, of a fixed width."""

    def __init__(self, array: pa.Array) -> None:
        self._valid = _valid(array)
        self._numbers = array.fill_null(0).to_numpy(zero_copy_only=False)
        self.lengths: Longs = np.where(self._valid, self._numbers.dtype.itemsize, _NULL)

    def write(self, target: _Target, places: Longs) -> None:
        """Write the numbers."""
        dtype = self._numbers.dtype.newbyteorder(">").str
        target.write(dtype, places[self._valid], self._numbers[self._valid])


class _Texts:
    """UTF-8, as Arrow holds it."""

    def __init__(self, array: pa.Array) -> None:
        # Under a null there may be bytes, too.
        filled = array.fill_null("") if array.null_count else array
        offsets = _offsets(filled)
        self._lengths = np.diff(offsets)
        data = filled.buffers()[2]
        everything = np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8)
        self._data = everything[offsets[0] : offsets[-1]]
        self.lengths: Longs = np.where(_valid(array), self._lengths, _NULL)

    def write(self, target: _Target, places: Longs) -> None:
        """Write the texts."""
        target.write_runs(places, self._data, self._lengths)


class _Arrays:
    """Arrays of one dimension; an empty one has none."""

    def __init__(self, array: pa.Array) -> None:
        self._oid = _OIDS[array.type.value_type]
        self._counts: Longs = pc.list_value_length(array).fill_null(0).to_numpy().astype(np.int64)
        # What lies under a null isn't among the elements that flatten() gives.
        self._elements = _values(array.flatten())
        self._first = _starts(self._counts)
        self._valid = _valid(array)
        self.lengths: Longs = np.where(self._valid, self._bytes(), _NULL)

    def _bytes(self) -> Longs:
        elements = _sums(4 + np.maximum(self._elements.lengths, 0), self._first, self._counts)
        return np.where(self._counts > 0, _ARRAY_HEADER_BYTES, _EMPTY_ARRAY_BYTES) + elements

    def write(self, target: _Target, places: Longs) -> None:
        """Write header and elements of each array."""
        filled = self._counts > 0
        valid = places[self._valid]
        has_nulls = _sums(self._elements.lengths < 0, self._first, self._counts) > 0
        target.write(">i4", valid, filled[self._valid])
        target.write(">i4", valid + 4, has_nulls[self._valid])
        target.write(">i4", valid + 8, self._oid)
        target.write(">i4", places[filled] + 12, self._counts[filled])
        target.write(">i4", places[filled] + 16, 1)
        self._write_elements(target, places + _ARRAY_HEADER_BYTES)

    def _write_elements(self, target: _Target, places: Longs) -> None:
        lengths = self._elements.lengths
        within = _starts(4 + np.maximum(lengths, 0))
        shifts = places.copy()
        filled = self._counts > 0
        shifts[filled] -= within[self._first[filled]]
        element_places = within + np.repeat(shifts, self._counts)
        target.write(">i4", element_places, lengths)
        self._elements.write(target, element_places + 4)


def _valid(array: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def _offsets(texts: pa.Array) -> Longs:
    buffer = texts.buffers()[1]
    if buffer is None or not len(texts):
        return np.zeros(len(texts) + 1, np.int64)
    offsets = np.frombuffer(buffer, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return offsets.astype(np.int64)


def _starts(lengths: Longs) -> Longs:
    """Where each of a row of pieces begins."""
    starts = np.zeros(len(lengths), np.int64)
    np.cumsum(lengths[:-1], out=starts[1:])
    return starts


def _sums(values: npt.NDArray[np.int64] | npt.NDArray[np.bool_], first: Longs, counts: Longs) -> Longs:
    """The sum over each run of `counts` values that begins at `first`."""
    upto = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=upto[1:])
    return np.asarray(upto[first + counts] - upto[first], np.int64)
