"""All lists of one version: looked up in memory, or as the tables that are stored."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contract.blending import ScoredItem
from contract.events import Event
from contract.recommendations import EVERYTHING, ListKind, trending_key
from training.candidates import Candidates
from training.interactions import IntArray, Interactions, LongArray, rank_within
from training.lists_schema import LISTS_SCHEMA

USERS_A_TABLE = 50_000


@dataclass(frozen=True)
class Lists:
    """All lists of one version, as dense numbers."""

    events: Interactions
    personal: Candidates
    similar: Candidates
    """Keyed by item where `Candidates` says user."""
    popular: Candidates
    """Under the single key 0."""
    bought_together: Candidates
    """Keyed by item."""
    popular_by_category: Candidates
    """Keyed by category."""
    trending: dict[str, Candidates]
    """By window; keyed by 0 for the whole shop, and by a category's number and 1 for that."""
    category_ids: npt.NDArray[np.object_]
    baselines: dict[str, Candidates]
    """Lists for everybody that what is served is measured against, by name."""
    history_length: int

    def personal_of(self, user_id: str) -> list[ScoredItem]:
        """The stored list of a user, best first; empty for one who had no events."""
        return self._scored(self.personal, self._personal_starts, self._user_numbers.get(user_id))

    def similar_to(self, item_id: str) -> list[ScoredItem]:
        """The stored list of an item, most similar first; empty for one that was not known yet."""
        return self._scored(self.similar, self._similar_starts, self._item_numbers.get(item_id))

    @cached_property
    def popular_items(self) -> list[ScoredItem]:
        """What everybody buys by now, best first."""
        return self._scored_items(self.popular.items, self.popular.scores)

    def named(self, items: IntArray) -> list[str]:
        """The ids of items."""
        names: list[str] = self.events.item_ids[items].tolist()
        return names

    def history_of(self, user_id: str) -> list[Event]:
        """The user's latest events, newest first."""
        user = self._user_numbers.get(user_id)
        if user is None:
            return []
        rows = slice(self._history_starts[user], self._history_starts[user + 1])
        return self.events_of(self.events, self._history_rows[rows])

    @staticmethod
    def events_of(events: Interactions, rows: LongArray) -> list[Event]:
        """The events in these rows, in this order, as the contract names them."""
        return [
            Event(events.item_ids[item], events.event_type_names[kind], int(moment))
            for item, kind, moment in zip(
                events.items[rows], events.event_types[rows], events.timestamps[rows], strict=True
            )
        ]

    def tables(self) -> Iterator[pa.Table]:
        """The lists as `LISTS_SCHEMA` has them, every key once."""
        yield from self._scored_tables(ListKind.PERSONAL, self.personal, self.events.user_ids)
        yield from self._history_tables()
        yield from self._scored_tables(ListKind.SIMILAR, self.similar, self.events.item_ids)
        yield from self._scored_tables(ListKind.BOUGHT_TOGETHER, self.bought_together, self.events.item_ids)
        yield from self._scored_tables(ListKind.POPULAR, self.popular_by_category, self.category_ids)
        yield from self._scored_tables(ListKind.POPULAR, self.popular, np.array([EVERYTHING], dtype=object))
        for window, lists in self.trending.items():
            keys = [trending_key(window, category) for category in (EVERYTHING, *self.category_ids)]
            yield from self._scored_tables(ListKind.TRENDING, lists, np.array(keys, dtype=object))

    @cached_property
    def _item_names(self) -> pa.Array:
        return pa.array(self.events.item_ids, pa.string())

    @cached_property
    def _user_numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.events.user_ids)}

    @cached_property
    def _item_numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.events.item_ids)}

    @cached_property
    def _personal_starts(self) -> LongArray:
        return _starts(self.personal.users, len(self.events.user_ids))

    @cached_property
    def _similar_starts(self) -> LongArray:
        return _starts(self.similar.users, len(self.events.item_ids))

    @cached_property
    def _history_rows(self) -> LongArray:
        """Rows of the events, by user, newest first, at most `history_length` a user."""
        order = np.argsort(-self.events.users, kind="stable")[::-1]
        return order[rank_within(self.events.users[order]) < self.history_length]

    @cached_property
    def _history_starts(self) -> LongArray:
        return _starts(self.events.users[self._history_rows], len(self.events.user_ids))

    def _scored(self, lists: Candidates, starts: LongArray, key: int | None) -> list[ScoredItem]:
        if key is None:
            return []
        rows = slice(starts[key], starts[key + 1])
        return self._scored_items(lists.items[rows], lists.scores[rows])

    def _scored_items(self, items: IntArray, scores: npt.NDArray[np.float32]) -> list[ScoredItem]:
        return list(zip(self.events.item_ids[items].tolist(), scores.tolist(), strict=True))

    def _scored_tables(
        self, kind: ListKind, lists: Candidates, keys: npt.NDArray[np.object_]
    ) -> Iterator[pa.Table]:
        for rows in _chunks(lists.users):
            codes, offsets = _runs(lists.users[rows])
            item_ids = self._item_names.take(pa.array(lists.items[rows]))
            yield _table(
                kind,
                keys[codes],
                item_ids=pa.ListArray.from_arrays(offsets, item_ids),
                scores=pa.ListArray.from_arrays(offsets, pa.array(lists.scores[rows], pa.float32())),
            )

    def _history_tables(self) -> Iterator[pa.Table]:
        users = self.events.users[self._history_rows]
        names = np.array(self.events.event_type_names, dtype=object)
        for chunk in _chunks(users):
            rows = self._history_rows[chunk]
            codes, offsets = _runs(users[chunk])
            item_ids = self._item_names.take(pa.array(self.events.items[rows]))
            kinds = pa.array(names[self.events.event_types[rows]], pa.string())
            moments = pa.array(self.events.timestamps[rows], pa.int64())
            yield _table(
                ListKind.HISTORY,
                self.events.user_ids[codes],
                item_ids=pa.ListArray.from_arrays(offsets, item_ids),
                event_types=pa.ListArray.from_arrays(offsets, kinds),
                timestamps=pa.ListArray.from_arrays(offsets, moments),
            )


def _starts(keys: IntArray, n_keys: int) -> LongArray:
    """Where each key's run begins in ascending `keys`; one more than there are keys."""
    return np.searchsorted(keys, np.arange(n_keys + 1)).astype(np.int64)


def _runs(keys: IntArray) -> tuple[IntArray, IntArray]:
    """The distinct keys of an ascending run, and the offsets of their rows as Arrow wants them."""
    codes, starts = np.unique(keys, return_index=True)
    return codes, np.r_[starts, len(keys)].astype(np.int32)


def _chunks(keys: IntArray) -> Iterator[slice]:
    """Slices of ascending `keys` that hold at most `USERS_A_TABLE` keys each and never cut one in two."""
    starts = np.flatnonzero(rank_within(keys) == 0)
    bounds = [*starts[::USERS_A_TABLE].tolist(), len(keys)]
    for start, end in itertools.pairwise(bounds):
        yield slice(start, end)


def _table(kind: ListKind, keys: npt.NDArray[np.object_], **columns: pa.Array) -> pa.Table:
    length = len(keys)
    columns |= {"kind": pa.array([kind.value] * length, pa.string()), "key": pa.array(keys, pa.string())}
    arrays = [columns.get(field.name, pa.nulls(length, field.type)) for field in LISTS_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=LISTS_SCHEMA)
