from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training import binary_copy
from training.binary_copy import encode

COLUMNS = {
    "number": (pa.int32(), "int4", st.integers(-(2**31), 2**31 - 1)),
    "long": (pa.int64(), "int8", st.integers(-(2**63), 2**63 - 1)),
    "real": (pa.float32(), "float4", st.floats(width=32)),
    "text": (pa.string(), "text", st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))),
}
SCHEMA = pa.schema(
    [pa.field(name, kind) for name, (kind, _, _) in COLUMNS.items()]
    + [pa.field(f"{name}s", pa.list_(kind)) for name, (kind, _, _) in COLUMNS.items()]
)
SQL_TYPES = [kind for _, kind, _ in COLUMNS.values()] + [f"{kind}[]" for _, kind, _ in COLUMNS.values()]


def value_strategies() -> list[st.SearchStrategy[Any]]:
    single = [st.none() | values for _, _, values in COLUMNS.values()]
    return [*single, *(st.none() | st.lists(values, max_size=5) for values in single)]


ROWS = st.lists(st.tuples(*value_strategies()), max_size=12)


@pytest.fixture(scope="module")
def connection(postgres_server: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        columns = ", ".join(f'"{name}" {kind}' for name, kind in zip(SCHEMA.names, SQL_TYPES, strict=True))
        connection.execute(f"CREATE TEMPORARY TABLE copied ({columns})")
        yield connection


def batch_of(rows: Sequence[Sequence[Any]], schema: pa.Schema = SCHEMA) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def copy_in(connection: psycopg.Connection[tuple[Any, ...]], batches: list[pa.RecordBatch]) -> bytes:
    """Load batches into the emptied table; all bytes that were sent."""
    chunks = [bytes(chunk) for chunk in encode(batches)]
    connection.execute("TRUNCATE copied")
    with connection.cursor().copy("COPY copied FROM STDIN WITH (FORMAT binary)") as copy:
        for chunk in chunks:
            copy.write(chunk)
    return b"".join(chunks)


def copy_out(connection: psycopg.Connection[tuple[Any, ...]]) -> bytes:
    with connection.cursor().copy("COPY copied TO STDOUT WITH (FORMAT binary)") as copy:
        return b"".join(bytes(chunk) for chunk in copy)


def stored(connection: psycopg.Connection[tuple[Any, ...]]) -> str:
    # Binary, or the four bytes of a float4 would come as the shortest text that stands for them.
    return repr(connection.execute("SELECT * FROM copied", binary=True).fetchall())


@settings(max_examples=100, deadline=None)
@given(rows=ROWS)
def test_postgres_reads_and_would_write_exactly_these_bytes(
    connection: psycopg.Connection[tuple[Any, ...]], rows: list[tuple[Any, ...]]
) -> None:
    sent = copy_in(connection, [batch_of(rows)])
    # As text, so that NaN equals itself.
    assert stored(connection) == repr(rows)
    assert copy_out(connection) == sent


@settings(max_examples=30, deadline=None)
@given(rows=ROWS, start=st.integers(0, 12), length=st.integers(0, 12))
def test_slices_of_batches_are_sent_and_nothing_beside_them(
    connection: psycopg.Connection[tuple[Any, ...]], rows: list[tuple[Any, ...]], start: int, length: int
) -> None:
    copy_in(connection, [batch_of(rows).slice(start, length), batch_of(rows).slice(0, start)])
    assert stored(connection) == repr(rows[start : start + length] + rows[:start])


@pytest.mark.parametrize(
    "text", ["", "\\N", "\\.", "\t\n\r", "'\"{},", "NULL", "🛒👩‍👩‍👧", "é" * 256, "\x01\x7f", "\ufeff"]
)
def test_awkward_texts_arrive_as_they_are(connection: psycopg.Connection[tuple[Any, ...]], text: str) -> None:
    row = (1, 2, 0.5, text, [3], [4], [0.25], [text, None, text])
    copy_in(connection, [batch_of([row])])
    assert stored(connection) == repr([row])


def test_what_lies_under_a_null_is_not_sent(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    mask = pa.array([False, True, False])
    texts = pa.array(["a", "hidden", "b"])
    hidden = pa.StringArray.from_buffers(
        3, texts.buffers()[1], texts.buffers()[2], pa.array([1, None, 1]).buffers()[0]
    )
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 3, 4], pa.int32()), hidden_elements(), mask=mask)
    nothing = [pa.nulls(3, field.type) for field in SCHEMA]
    arrays = [*nothing[:3], hidden, *nothing[4:7], lists]
    copy_in(connection, [pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)])
    rows = connection.execute("SELECT text, texts FROM copied").fetchall()
    assert rows == [("a", ["a"]), (None, None), ("b", ["d"])]


def hidden_elements() -> pa.Array:
    return pa.array(["a", "hidden", "too", "d"])


def test_columns_without_a_type_are_null(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    copy_in(connection, [pa.RecordBatch.from_arrays([pa.nulls(2)] * 8, names=SCHEMA.names)])
    assert connection.execute("SELECT * FROM copied").fetchall() == [(None,) * 8] * 2


def test_no_batches_are_an_empty_copy(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    copy_in(connection, [])
    assert connection.execute("SELECT count(*) FROM copied").fetchone() == (0,)


def test_large_batches_are_sent_in_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of([(n, n, n, str(n), [n] * 20, [n] * 20, [n] * 20, [str(n)] * 20) for n in range(1000)])
    whole = b"".join(bytes(chunk) for chunk in encode([batch]))
    monkeypatch.setattr(binary_copy, "BYTES_A_CHUNK", 10_000)
    chunks = [bytes(chunk) for chunk in encode([batch])]
    assert b"".join(chunks) == whole
    assert len(chunks) > 20
    assert max(map(len, chunks)) < 40_000


@pytest.mark.parametrize(
    "kind", [pa.float64(), pa.large_string(), pa.list_(pa.list_(pa.int64())), pa.bool_()]
)
def test_other_types_are_refused_by_name(kind: pa.DataType) -> None:
    with pytest.raises(TypeError, match=str(kind).split("<", maxsplit=1)[0]):
        list(encode([pa.RecordBatch.from_arrays([pa.nulls(1, kind)], names=["x"])]))
