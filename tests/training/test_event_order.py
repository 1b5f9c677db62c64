from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.events import EVENTS_SCHEMA
from training.importing import order as event_order
from training.importing.order import events_in_order

Row = tuple[str, str, str, int]
rows = st.tuples(
    st.sampled_from(["a", "b", "ü"]),
    st.sampled_from("xy"),
    st.sampled_from(["view", "cart"]),
    st.integers(0, 5),
)


def batches(events: list[list[Row]]) -> Iterator[pa.RecordBatch]:
    for batch in events:
        columns = [list(column) for column in zip(*batch, strict=True)] or [[]] * 4
        yield pa.record_batch(columns, schema=EVENTS_SCHEMA)


def ordered(events: list[list[Row]], folder: Path) -> list[Row]:
    with events_in_order(batches(events), folder, "100MB") as in_order:
        return [tuple(row.values()) for batch in in_order for row in batch.to_pylist()]


def in_order(events: list[list[Row]]) -> list[Row]:
    keyed = [row for batch in events for row in batch]
    return sorted(keyed, key=lambda row: (row[3], *(text.encode() for text in row[:3])))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(events=st.lists(st.lists(rows, max_size=8), max_size=5), rising=st.booleans())
def test_any_events_in_any_batches_come_out_in_order(
    tmp_path: Path, events: list[list[Row]], rising: bool
) -> None:
    if rising:
        every = iter(sorted((row for batch in events for row in batch), key=lambda row: row[3]))
        events = [[next(every) for _ in batch] for batch in events]
    assert ordered(events, tmp_path) == in_order(events)


def test_rising_times_are_not_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_order, "sorted_rows", lambda *_: pytest.fail("was sorted"))
    events: list[list[Row]] = [
        [("b", "x", "view", 1), ("a", "x", "view", 1)],
        [("a", "w", "view", 1), ("a", "x", "view", 2)],
    ]
    assert ordered(events, tmp_path) == in_order(events)


@pytest.mark.parametrize(("most", "sorts"), [(3, False), (2, True)])
def test_too_many_events_of_one_moment_are_sorted_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, sorts: bool
) -> None:
    asked = []
    by_duckdb = event_order.sorted_rows
    monkeypatch.setattr(event_order, "MOST_AT_ONE_MOMENT", most)
    monkeypatch.setattr(
        event_order, "sorted_rows", lambda *arguments: asked.append(1) or by_duckdb(*arguments)
    )
    events: list[list[Row]] = [
        [("b", "x", "view", 1), ("b", "x", "view", 7)],
        [("a", "x", "view", 7)],
        [("a", "w", "view", 7)],
    ]
    assert ordered(events, tmp_path) == in_order(events)
    assert bool(asked) == sorts
