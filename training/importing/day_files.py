"""Events into the files of the bucket: one a day, each event once, in one order."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contract.events import EVENT_COLUMNS
from contract.s3_layout import events_key
from training.events import EVENTS_SCHEMA, EventsFile
from training.importing.row_groups import RowGroupsWriter
from training.moments import MILLISECONDS_A_DAY
from training.storage import Folder

_VALUES_HELD: Final = 4_000_000  # some 100 MB


@dataclass
class Distinct:
    """How many different values there were, in memory that grows with that number alone."""

    _known: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    _new: list[pa.Array] = field(default_factory=list)
    _n_new: int = 0

    def add(self, values: pa.Array) -> None:
        """Take values into account."""
        unique = values.unique()
        self._new.append(unique)
        self._n_new += len(unique)
        if self._n_new > max(len(self._known), _VALUES_HELD):
            self._merge()

    def __len__(self) -> int:
        self._merge()
        return len(self._known)

    def _merge(self) -> None:
        self._known = pa.chunked_array([self._known, *self._new]).unique()
        self._new, self._n_new = [], 0


@dataclass
class Written:
    """What was written, counted on the way."""

    files: list[EventsFile] = field(default_factory=list)
    rows_by_day: dict[str, int] = field(default_factory=dict)
    event_types: dict[str, int] = field(default_factory=dict)
    users: Distinct = field(default_factory=Distinct)
    items: Distinct = field(default_factory=Distinct)
    first_ms: int = 0
    last_ms: int = 0

    @property
    def rows(self) -> int:
        """How many events there are."""
        return sum(file.rows for file in self.files)

    def count(self, events: pa.RecordBatch) -> None:
        """Take a batch into account, which continues the one before."""
        if not self.event_types:
            self.first_ms = events["timestamp"][0].as_py()
        self.last_ms = events["timestamp"][-1].as_py()
        for entry in events["event_type"].value_counts().to_pylist():
            kind = entry["values"]
            self.event_types[kind] = self.event_types.get(kind, 0) + entry["counts"]
        self.users.add(events["user_id"])
        self.items.add(events["item_id"])


def write_days(folder: Folder, source: str, batches: Iterator[pa.RecordBatch]) -> Written:
    """Write events, which come sorted by time, user, item and event type, to `source`'s file of each day.

    Of equal events one is written. The bytes depend on the events alone, not on how they were batched.
    """
    written = Written()
    with (
        tempfile.TemporaryDirectory(prefix="events-") as temporary,
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="events-writer") as writer,
    ):
        file = _DayFile(folder, source, Path(temporary) / "day.parquet", written)
        # One batch is encoded while the next one is sorted and counted: a third less time on two cores.
        writing = writer.submit(lambda: None)
        for batch in without_repeats(batches):
            written.count(batch)
            writing.result()
            writing = writer.submit(file.add, batch)
        writing.result()
        file.finish()
    return written


@dataclass
class _DayFile:
    """The file of the day that is being written."""

    folder: Folder
    source: str
    local: Path
    written: Written
    _day: str | None = None
    _writer: RowGroupsWriter | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        for day, events in by_day(batch):
            self._writer_of(day).add(events)

    def _writer_of(self, day: str) -> RowGroupsWriter:
        if self._writer is None or day != self._day:
            self.finish()
            self._day, self._writer = day, RowGroupsWriter(self.local, EVENTS_SCHEMA)
        return self._writer

    def finish(self) -> None:
        if self._day is None or self._writer is None:
            return
        self._writer.close()
        key = events_key(self._day, self.source)
        self.folder.write_from(key, self.local)
        self.written.files.append(EventsFile(key=key, rows=self._writer.rows))
        self.written.rows_by_day[self._day] = self._writer.rows
        self._day, self._writer = None, None


def without_repeats(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Sorted events, each once."""
    last: pa.RecordBatch | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        is_first_new = last is None or not last.equals(batch.slice(0, 1))
        is_new = np.concatenate([[is_first_new], _differs_from_previous(batch)])
        last = batch.slice(batch.num_rows - 1)
        if is_new.all():
            yield batch
        elif is_new.any():
            yield batch.filter(pa.array(is_new))


def by_day(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The parts of a batch that is sorted by time, each with its day (UTC) as YYYY-MM-DD."""
    days = batch["timestamp"].to_numpy() // MILLISECONDS_A_DAY
    starts = np.concatenate([[0], np.flatnonzero(np.diff(days)) + 1, [len(days)]])
    for start, end in pairwise(starts.tolist()):
        yield str(np.datetime64(int(days[start]), "D")), batch.slice(start, end - start)


def _differs_from_previous(events: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    times = events["timestamp"].to_numpy()
    differs: npt.NDArray[np.bool_] = times[1:] != times[:-1]
    # Only events of the same millisecond can be equal, and they are few.
    same_time = np.flatnonzero(~differs)
    if len(same_time):
        one, other = events.take(pa.array(same_time)), events.take(pa.array(same_time + 1))
        for name in EVENT_COLUMNS[:3]:
            differs[same_time] |= pc.not_equal(one[name], other[name]).to_numpy(zero_copy_only=False)
    return differs
