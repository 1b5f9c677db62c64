"""The recipe: from events to every list that a version stores. Evaluation and release cook by the same."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import structlog

from contract.blending import BlendWeights, ScoredItem
from contract.events import Event
from contract.recommendations import EVERYTHING, ListKind
from training.candidates import Candidates, CandidateSource, best_per_user
from training.candidates.als import Als
from training.candidates.item_item import ItemItem
from training.candidates.own_items import OwnItems
from training.candidates.popular import Popular, RecentPopular
from training.interactions import IntArray, Interactions, LongArray, rank_within
from training.lists import LISTS_SCHEMA
from training.settings import Hyperparameters

log = structlog.get_logger()

PERSONAL_SHARES = {"own": 1.0, "item_item": 0.5, "als": 0.2}
"""What each source's best item adds to the score of a user's stored list."""

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
        yield from self._scored_tables(ListKind.POPULAR, self.popular, np.array([EVERYTHING], dtype=object))

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
            item_ids = pa.array(self.events.item_ids[lists.items[rows]], pa.string())
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
            item_ids = pa.array(self.events.item_ids[self.events.items[rows]], pa.string())
            kinds = pa.array(names[self.events.event_types[rows]], pa.string())
            moments = pa.array(self.events.timestamps[rows], pa.int64())
            yield _table(
                ListKind.HISTORY,
                self.events.user_ids[codes],
                item_ids=pa.ListArray.from_arrays(offsets, item_ids),
                event_types=pa.ListArray.from_arrays(offsets, kinds),
                timestamps=pa.ListArray.from_arrays(offsets, moments),
            )


def build_lists(events: Interactions, *, now: int, settings: Hyperparameters, weights: BlendWeights) -> Lists:
    """Fit every source on `events`, all older than `now`, and make the lists of a version."""
    events = events.compact()
    item_item = ItemItem(weights, neighbours=settings.similar_length, history=settings.item_item_history)
    recent_popular, popular = RecentPopular(), Popular()
    sources = personal_sources(settings, weights, item_item)
    for source in (*sources, recent_popular, popular):
        source.fit(events, now)
        log.debug("source fitted", source=source.name, n_events=len(events))
    users = events.distinct_users()
    everybody = np.zeros(1, dtype=np.int32)
    return Lists(
        events=events,
        personal=combine(sources, users, settings.personal_length),
        similar=item_item.similar,
        popular=recent_popular.candidates(everybody, settings.popular_length),
        baselines={
            source.name: source.candidates(everybody, settings.popular_length)
            for source in (popular, recent_popular)
        },
        history_length=weights.history_length,
    )


def personal_sources(
    settings: Hyperparameters, weights: BlendWeights, item_item: ItemItem
) -> list[CandidateSource]:
    """The sources of a user's stored list; a new one is added here, and to `PERSONAL_SHARES`."""
    als = Als(
        weights,
        factors=settings.als_factors,
        iterations=settings.als_iterations,
        regularization=settings.als_regularization,
        alpha=settings.als_alpha,
        seed=settings.seed,
        threads=settings.threads,
    )
    return [OwnItems(weights), item_item, als]


def combine(sources: Sequence[CandidateSource], users: IntArray, per_user: int) -> Candidates:
    """One list a user out of all sources: scores relative to each source's best, weighted, added up."""
    found = [(PERSONAL_SHARES[source.name], source.candidates(users, per_user)) for source in sources]
    everyone = np.concatenate([candidates.users for _, candidates in found])
    items = np.concatenate([candidates.items for _, candidates in found])
    scores = np.concatenate([share * _relative_to_best(candidates) for share, candidates in found])
    n_items = int(items.max(initial=0)) + 1
    pairs, rows = np.unique(everyone.astype(np.int64) * n_items + items, return_inverse=True)
    totals = np.bincount(rows, weights=scores, minlength=len(pairs)).astype(np.float32)
    pair_users, pair_items = np.divmod(pairs, n_items)
    return best_per_user(pair_users.astype(np.int32), pair_items.astype(np.int32), totals, per_user)


def _relative_to_best(candidates: Candidates) -> npt.NDArray[np.float32]:
    if not len(candidates):
        return candidates.scores
    starts = np.flatnonzero(candidates.ranks() == 0)
    lengths = np.diff(np.r_[starts, len(candidates)])
    best = np.maximum(np.repeat(candidates.scores[starts], lengths), np.finfo(np.float32).tiny)
    return np.clip(candidates.scores / best, 0, 1)


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
