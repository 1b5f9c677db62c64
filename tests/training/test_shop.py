"""Big shops: blocks of people at the same time, in memory that days don't fill."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from training.generate_shop import generate_shop
from training.shop.people import PEOPLE_A_BLOCK
from training.shop.simulation import Shop, ShopSettings, simulate

SEVERAL_BLOCKS = ShopSettings(users=2 * PEOPLE_A_BLOCK + 5_000, items=2_000, days=2, seed=2)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_any_number_of_threads_writes_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for threads in (1, 2, 3):
        out = tmp_path / str(threads)
        generate_shop(
            SEVERAL_BLOCKS, out, threads=threads, truth=out / "truth", catalogue=out / "catalogue.csv"
        )
        written.append(contents(out))
    assert len(written[0]) == 2 + 3 + 1
    assert written[0] == written[1] == written[2]


def test_people_of_all_blocks_come_every_day_and_all_is_sorted_by_time() -> None:
    for day, events in enumerate(simulate(SEVERAL_BLOCKS)):
        users = pc.utf8_slice_codeunits(events["user_id"], len("user-")).cast(pa.int64()).to_numpy()
        assert set(np.unique(users // PEOPLE_A_BLOCK)) == {0, 1, 2}
        assert users.max() < SEVERAL_BLOCKS.users
        times = events["timestamp"].to_numpy()
        assert (np.diff(times) >= 0).all()
        assert times[0] >= SEVERAL_BLOCKS.start_of(day)
        assert times[-1] < SEVERAL_BLOCKS.start_of(day + 1)


def test_blocks_differ_from_each_other() -> None:
    first, second, _ = Shop(SEVERAL_BLOCKS).people
    assert (first.keenness != second.keenness).mean() > 0.99
    assert (first.rate != second.rate).mean() > 0.9


def test_more_people_change_nothing_for_those_in_full_blocks() -> None:
    def events_of_the_first_block(users: int) -> pa.Table:
        events = pa.concat_tables(simulate(replace(SEVERAL_BLOCKS, users=users)))
        return events.filter(pc.less(events["user_id"], f"user-{PEOPLE_A_BLOCK:06}"))

    few, many = (events_of_the_first_block(PEOPLE_A_BLOCK + extra) for extra in (1, 5_000))
    assert len(few) > 10_000
    assert few.combine_chunks().equals(many.combine_chunks())


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_does_not_grow_with_the_days(threads: int) -> None:
    def peak(days: int) -> int:
        """Bytes of the largest moment: of numpy's arrays, as tracemalloc sees them, and of Arrow's."""
        arrow = []
        tracemalloc.start()
        before = pa.total_allocated_bytes()
        for day in Shop(ShopSettings(users=20_000, items=500, days=days)).days(threads):
            arrow += [pa.total_allocated_bytes() - before for _ in day]
        _, numpy = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return numpy + max(arrow)

    peak(1)  # what is imported on the way is no part of it
    few, many = peak(4), peak(24)
    assert many < 1.3 * few


def test_whoever_stops_listening_stops_the_simulation() -> None:
    days = Shop(SEVERAL_BLOCKS).days()
    next(days)
    days.close()
    assert list(days) == []
