import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contract.events import EVENT_COLUMNS
from training.errors import BadInputError, TooLittleDataError
from training.events import dataset_fingerprint, read_events
from training.import_events import import_events
from training.storage import Folder

ROWS = [
    ("u2", "i1", "view", 5),
    ("u1", "i9", "purchase", 3),
    ("u1", "i1", "view", 5),
    ("é", "007", "wish", 9),
]


def table(rows: list[tuple[str, str, str, int]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(EVENT_COLUMNS, row, strict=True)) for row in rows])


def add(
    folder: Path, source: str, events: pa.Table, *, day: str = "2015-01-01", rows: int | None = None
) -> Path:
    """A file of events and the manifest that lists it."""
    file = folder / f"dt={day}" / f"{source}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(events, file)
    listed = {"key": f"events/dt={day}/{source}.parquet", "rows": len(events) if rows is None else rows}
    manifest = folder / "manifests" / f"{source}.json"
    manifest.parent.mkdir(exist_ok=True)
    manifest.write_text(json.dumps({"files": [listed]}))
    return file


def rows_of(events: pa.Table) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in events.to_pylist()]


def test_events_are_sorted_by_time_user_item_and_type(tmp_path: Path) -> None:
    add(tmp_path, "a", table([*ROWS, ("u1", "i1", "purchase", 5)]))
    assert rows_of(read_events(tmp_path)) == [
        ("u1", "i9", "purchase", 3),
        ("u1", "i1", "purchase", 5),
        ("u1", "i1", "view", 5),
        ("u2", "i1", "view", 5),
        ("é", "007", "wish", 9),
    ]


def test_events_have_the_columns_and_types_of_the_contract(tmp_path: Path) -> None:
    extra = table(ROWS).append_column("event_id", pa.array(["x"] * len(ROWS)))
    add(tmp_path, "a", extra.select(["event_id", "timestamp", "event_type", "user_id", "item_id"]))
    schema = read_events(tmp_path).schema
    assert schema.names == list(EVENT_COLUMNS)
    assert schema.types == [pa.string()] * 3 + [pa.int64()]


def test_the_same_event_of_two_imports_appears_once(tmp_path: Path) -> None:
    add(tmp_path, "a", table(ROWS))
    add(tmp_path, "b", table([*ROWS[:2], *ROWS[:1]]), day="2015-01-02")
    assert len(read_events(tmp_path)) == len(ROWS)


def test_a_file_that_no_manifest_lists_is_passed_over(tmp_path: Path) -> None:
    add(tmp_path, "a", table(ROWS))
    pq.write_table(table([("x", "x", "view", 1)]), tmp_path / "dt=2015-01-01" / "cut-off.parquet")
    assert "x" not in read_events(tmp_path)["user_id"].to_pylist()


def test_events_after_as_of_are_left_out_and_that_moment_itself_is_kept(tmp_path: Path) -> None:
    add(tmp_path, "a", table(ROWS))
    assert read_events(tmp_path, as_of_ms=5)["timestamp"].to_pylist() == [3, 5, 5]


def test_no_events_at_all_is_too_little_data(tmp_path: Path) -> None:
    with pytest.raises(TooLittleDataError, match="holds no events"):
        read_events(tmp_path / "nowhere")
    add(tmp_path, "a", table(ROWS))
    with pytest.raises(TooLittleDataError, match="all 4 events came after 1970-01-01T00:00:00.002Z"):
        read_events(tmp_path, as_of_ms=2)


def test_a_listed_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    add(tmp_path, "a", table(ROWS)).unlink()
    with pytest.raises(BadInputError, match=r"a.parquet: is listed in a manifest, but missing"):
        read_events(tmp_path)


@pytest.mark.parametrize(
    "foreign",
    [
        pa.table({"user": ["u"], "item": ["i"]}),
        table(ROWS).set_column(3, "timestamp", pa.array([1, 2, 3, 4], pa.timestamp("ms"))),
        table(ROWS).set_column(0, "user_id", pa.array([1, 2, 3, 4])),
    ],
)
def test_a_listed_file_with_a_foreign_schema_is_an_error(tmp_path: Path, foreign: pa.Table) -> None:
    add(tmp_path, "a", foreign)
    with pytest.raises(BadInputError, match=r"a.parquet: isn't a file of events: expected user_id string"):
        read_events(tmp_path)


def test_a_listed_file_that_is_damaged_is_an_error(tmp_path: Path) -> None:
    file = add(tmp_path, "a", table(ROWS))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(BadInputError, match=r"a.parquet: cannot be read as Parquet"):
        read_events(tmp_path)


def test_a_file_with_another_number_of_rows_than_its_manifest_says_is_an_error(tmp_path: Path) -> None:
    add(tmp_path, "a", table(ROWS), rows=5)
    with pytest.raises(BadInputError, match="has 4 rows, its manifest says 5"):
        read_events(tmp_path)


def test_an_event_without_a_value_is_an_error(tmp_path: Path) -> None:
    add(tmp_path, "a", pa.Table.from_pylist([*table(ROWS).to_pylist(), {"user_id": "u", "timestamp": 3}]))
    with pytest.raises(BadInputError, match="1 events have no item_id"):
        read_events(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"files": [{}]}', '{"files": [{"key": "events/../x", "rows": 1}]}', '{"files": 1}'],
)
def test_a_manifest_that_is_none_is_an_error(tmp_path: Path, text: str) -> None:
    add(tmp_path, "a", table(ROWS))
    (tmp_path / "manifests" / "b.json").write_text(text)
    with pytest.raises(BadInputError, match=r"manifests/b.json: (isn't a manifest|lists)"):
        read_events(tmp_path)


def test_events_are_read_from_s3(bucket: str, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("user_id,item_id,event_type,timestamp\nu,i,view,1420070400000\n")
    import_events([source], f"s3://{bucket}", allow_no_targets=True)
    events = read_events(Folder(f"s3://{bucket}/events"))
    assert rows_of(events) == [("u", "i", "view", 1_420_070_400_000)]


def test_the_fingerprint_depends_on_events_and_not_on_chunks_or_files(tmp_path: Path) -> None:
    add(tmp_path / "one", "a", table(ROWS))
    add(tmp_path / "two", "a", table(ROWS[:1]))
    add(tmp_path / "two", "b", table(ROWS[1:]), day="2015-01-03")
    one, two = read_events(tmp_path / "one"), read_events(tmp_path / "two")
    chunked = pa.concat_tables([one.slice(0, 1), one.slice(1, 0), one.slice(1)])
    large = one.cast(
        pa.schema([(name, pa.large_string()) for name in EVENT_COLUMNS[:3]] + [("timestamp", pa.int64())])
    )
    assert len({dataset_fingerprint(events) for events in (one, two, chunked, large)}) == 1


def test_the_fingerprint_tells_events_apart() -> None:
    variants = [
        [("ab", "c", "view", 1)],
        [("a", "bc", "view", 1)],
        [("ab", "c", "view", 2)],
        [("ab", "c", "views", 1)],
        [("a", "c", "view", 1), ("b", "c", "view", 1)],
        [("b", "c", "view", 1), ("a", "c", "view", 1)],
        [("ab", "c", "view", 1), ("", "c", "view", 1)],
    ]
    assert len({dataset_fingerprint(table(rows)) for rows in variants}) == len(variants)
