"""Events as dense integers: what every computation reads.

Ids are opaque strings at every boundary; here they become 0…n-1 and, at the end, strings again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from contract.events import TARGET_EVENT_TYPES

IntArray = npt.NDArray[np.int32]
LongArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Number = TypeVar("Number", bound=np.number)


@dataclass(frozen=True)
class Interactions:
    """n events, oldest first; `users`, `items`, `event_types` index the arrays of names."""

    user_ids: npt.NDArray[np.object_]
    item_ids: npt.NDArray[np.object_]
    event_type_names: tuple[str, ...]
    users: IntArray
    items: IntArray
    event_types: IntArray
    timestamps: LongArray
    targets: tuple[str, ...] = TARGET_EVENT_TYPES
    """The kinds of events that recommendations are to bring about."""

    @classmethod
    def from_table(cls, events: pa.Table, targets: tuple[str, ...] = TARGET_EVENT_TYPES) -> "Interactions":
        """From a table of `EVENT_COLUMNS`, sorted by time.

        Users and items are numbered in the order of their ids, so that numbers, and with them ties,
        don't depend on which events came first.
        """
        user_ids, users = _encode(events["user_id"])
        item_ids, items = _encode(events["item_id"])
        event_types, kinds = _encode(events["event_type"])
        return cls(
            user_ids=user_ids,
            item_ids=item_ids,
            event_type_names=tuple(event_types),
            users=users,
            items=items,
            event_types=kinds,
            timestamps=events["timestamp"].to_numpy(),
            targets=targets,
        )

    def __len__(self) -> int:
        return len(self.timestamps)

    def where(self, mask: BoolArray) -> "Interactions":
        """Only the events under the mask; ids keep their numbers."""
        return replace(
            self,
            users=self.users[mask],
            items=self.items[mask],
            event_types=self.event_types[mask],
            timestamps=self.timestamps[mask],
        )

    def between(self, start: int, end: int) -> "Interactions":
        """The events from `start` to before `end`, ms UTC."""
        return self.where((self.timestamps >= start) & (self.timestamps < end))

    def before(self, end: int) -> "Interactions":
        """The events before `end`, ms UTC."""
        return self.where(self.timestamps < end)

    def compact(self) -> "Interactions":
        """The same events, with numbers for those users and items alone that have one.

        Whoever learns from a part of the events must not notice, by a gap in the numbers, who else
        turns up later.
        """
        users, user_numbers = np.unique(self.users, return_inverse=True)
        items, item_numbers = np.unique(self.items, return_inverse=True)
        return replace(
            self,
            user_ids=self.user_ids[users],
            item_ids=self.item_ids[items],
            users=user_numbers.astype(np.int32),
            items=item_numbers.astype(np.int32),
        )

    @property
    def is_target(self) -> BoolArray:
        """Which events are of the kinds in `targets`: carts and purchases, unless told otherwise."""
        targets = [name in self.targets for name in self.event_type_names]
        return np.array(targets, dtype=np.bool_)[self.event_types]

    def distinct_users(self) -> IntArray:
        """The users who have an event here, ascending."""
        return distinct(self.users)

    def weights(self, by_event_type: Mapping[str, float], other: float) -> FloatArray:
        """One weight an event, by its kind."""
        weights = [by_event_type.get(name, other) for name in self.event_type_names]
        return np.array(weights, dtype=np.float32)[self.event_types]

    def matrix(self, values: FloatArray) -> sp.csr_array:
        """Users × items, the values of each pair's events added up."""
        shape = (len(self.user_ids), len(self.item_ids))
        return sp.coo_array((values, (self.users, self.items)), shape=shape).tocsr()

    def latest_distinct(self, per_user: int) -> "Interactions":
        """Of each user's (user, item) pairs the latest event, and of these the latest `per_user`."""
        pairs = self.users.astype(np.int64) * len(self.item_ids) + self.items
        newest_first = pairs[::-1]
        _, first = np.unique(newest_first, return_index=True)
        rows = np.sort(len(pairs) - 1 - first)
        users = self.users[rows]
        order = np.argsort(-users, kind="stable")[::-1]  # by user, within a user newest first
        ranks = rank_within(users[order])
        keep = np.sort(rows[order][ranks < per_user])
        mask = np.zeros(len(self), dtype=np.bool_)
        mask[keep] = True
        return self.where(mask)


def rank_within(groups: npt.NDArray[np.integer]) -> LongArray:
    """0, 1, 2, … within each run of equal values."""
    if not len(groups):
        return np.empty(0, dtype=np.int64)
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    lengths = np.diff(np.r_[starts, len(groups)])
    return np.arange(len(groups)) - np.repeat(starts, lengths)


def distinct(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """The distinct values, ascending; several times quicker than `numpy.unique`, which hashes them first."""
    ascending = np.sort(values)
    return ascending[np.r_[True, ascending[1:] != ascending[:-1]]] if len(ascending) else ascending


def _encode(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.object_], IntArray]:
    names = pc.unique(column).sort()
    codes = pc.index_in(column, value_set=names)
    return np.array(names.to_pylist(), dtype=object), codes.to_numpy().astype(np.int32)
