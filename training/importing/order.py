"""Events in their order: by time, user, item and kind. Most sources are in order of time already.

All events go to disk first, because nothing may be written before all rows were judged. On the way it shows
whether their times rise: then only events of one moment are left to be put in order, which happens as they
are read back. Otherwise DuckDB sorts them all.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.events import EVENTS_SCHEMA
from training.importing.room import temporary_room
from training.importing.sorting import sorted_rows

MOST_AT_ONE_MOMENT: Final = 1_000_000
"""Events of one time that are put in order in memory."""

_ORDER: Final = ("timestamp", "user_id", "item_id", "event_type")
_SORTED: Final = 'SELECT * FROM rows ORDER BY "timestamp", user_id, item_id, event_type'


@contextmanager
def events_in_order(
    events: Iterator[pa.RecordBatch], folder: Path, memory_limit: str
) -> Iterator[Iterator[pa.RecordBatch]]:
    """The same events in order; on entry all have been read. `folder` is a local one for temporary files.

    Raises what reading them raised, and BadInputError where the disk is full.
    """
    path = folder / "events.arrows"
    times = _Times()
    with (
        temporary_room(),
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_stream(sink, EVENTS_SCHEMA) as writer,
    ):
        for batch in events:
            times.watch(batch["timestamp"].to_numpy())
            writer.write_batch(batch)
    # Read back, not mapped: what is mapped counts as memory.
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as stored:
        if times.rise and times.longest <= MOST_AT_ONE_MOMENT:
            yield moments_in_order(stored)
        else:
            with sorted_rows(_SORTED, stored, EVENTS_SCHEMA, folder, memory_limit) as in_order:
                yield in_order


def moments_in_order(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Events whose times rise, those of one moment put in order."""
    held: pa.RecordBatch | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        known = batch
        if held is not None and held["timestamp"][0] == batch["timestamp"][0]:
            known = pa.concat_batches([held, batch])
        elif held is not None:
            yield _in_order(held)
        times = known["timestamp"].to_numpy()
        # More of the last moment may come with the next batch.
        end = int(np.searchsorted(times, times[-1]))
        held = known.slice(end)
        if end:
            yield _in_order(known.slice(0, end))
    if held is not None:
        yield _in_order(held)


def _in_order(events: pa.RecordBatch) -> pa.RecordBatch:
    times = events["timestamp"].to_numpy()
    is_as_before = np.concatenate([[False], times[1:] == times[:-1]])
    shared = np.flatnonzero(is_as_before | np.append(is_as_before[1:], False))
    if not len(shared):
        return events
    keys = [(name, "ascending") for name in _ORDER]
    order = pc.sort_indices(events.take(pa.array(shared)), sort_keys=keys).to_numpy()
    if (order == np.arange(len(order))).all():
        return events
    places = np.arange(events.num_rows)
    places[shared] = shared[order]
    return events.take(pa.array(places))


@dataclass
class _Times:
    """Whether times rise, or stay, from event to event, and how many events share one."""

    rise: bool = True
    longest: int = 0
    _last: int | None = None
    _run: int = 0

    def watch(self, times: npt.NDArray[np.int64]) -> None:
        if not len(times):
            return
        steps = np.diff(times, prepend=times[0] if self._last is None else self._last)
        self.rise = self.rise and bool((steps >= 0).all())
        starts = np.flatnonzero(steps)
        ends = np.append(starts, len(times))
        runs = np.diff(ends, prepend=-self._run)
        self.longest = max(self.longest, int(runs.max()))
        self._run, self._last = int(runs[-1]), int(times[-1])
