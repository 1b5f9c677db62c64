"""Events on their way from their files: judged, freed of deleted users, and sorted."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from contract.tombstones import Tombstones
from training.ahead import ahead
from training.importing.order import events_in_order
from training.importing.rejects import Rejects
from training.importing.roles import Taken
from training.importing.rows import Judge
from training.tombstones import swallowed


@dataclass
class EventIntake:
    """All rows of all files of events, counted as they pass."""

    taken: Sequence[Taken]
    judge: Judge
    tombstones: Tombstones
    rejects: Rejects
    rows: int = 0
    """That were read."""
    events: int = 0
    """That came through; exact duplicates are still among them."""
    deleted: int = 0
    """Good ones that were dropped because their user was deleted afterwards."""
    deleted_users: set[str] = field(default_factory=set)

    def sorted(self, folder: Path, memory_limit: str) -> AbstractContextManager[Iterator[pa.RecordBatch]]:
        """Events by time, user, item and kind; on entry all files have been read and all rows counted."""
        return events_in_order(self._batches(), folder, memory_limit)

    def deletions(self) -> dict[str, list[str]]:
        """What tells an import without these users' events from one with them; nothing without deletions."""
        users = sorted(hashlib.sha256(user.encode()).hexdigest() for user in self.deleted_users)
        return {"deleted": users} if users else {}

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with tqdm(desc="reading", unit=" rows", unit_scale=True, disable=None, leave=False) as progress:
            for file in self.taken:
                for batch in ahead(file.opened.batches(file.wanted)):
                    events, rejected = self.judge.judge(batch)
                    self.rejects.add(rejected)
                    self.rows += events.num_rows + rejected.num_rows
                    progress.update(events.num_rows + rejected.num_rows)
                    events = self._of_the_living(events)
                    self.events += events.num_rows
                    yield events

    def _of_the_living(self, events: pa.RecordBatch) -> pa.RecordBatch:
        is_deleted = swallowed(self.tombstones, events["user_id"], events["timestamp"].to_numpy())
        if not is_deleted.any():
            return events
        self.deleted += int(np.count_nonzero(is_deleted))
        self.deleted_users.update(events["user_id"].filter(pa.array(is_deleted)).unique().to_pylist())
        return events.filter(pa.array(~is_deleted))
