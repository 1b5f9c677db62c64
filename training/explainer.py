"""Explains the lists of users out of what the training ranked them by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import scipy.sparse as sp

from contract.blending import merge_histories
from contract.events import Event
from training.candidates.generator import Generator
from training.candidates.pool import UNRANKED, Pool
from training.explanation import Cause, ExplainedItem, ExplainedUser, FeatureShare
from training.interactions import IntArray
from training.lists import Lists
from training.ranking import Ranker
from training.ranking.examples import Featured
from training.shop_items import NOWHERE

FEATURES_TOLD: Final = 5
CAUSES_TOLD: Final = 2
_NOWHERE: Final = -1

_Described = tuple[dict[str, int], tuple[FeatureShare, ...]]
_NOTHING: Final[_Described] = ({}, ())


@dataclass(frozen=True)
class Explainer:
    """What the training ranked by, at its moment."""

    stage: Featured
    ranker: Ranker
    measures: Mapping[str, float]
    """The share of each measure in the similar lists."""
    per_source: int
    history_length: int

    def explain(self, user_id: str, item_ids: Sequence[str], live: Sequence[Event] = ()) -> ExplainedUser:
        """Why these items, best first; `live` are events that the training didn't know, newest first."""
        user = self._user_numbers.get(user_id)
        history = merge_histories(live, self._history(user), length=self.history_length)
        described = self._described(user, [self._item_numbers.get(item, _NOWHERE) for item in item_ids])
        return ExplainedUser(
            user_id,
            tuple(history),
            tuple(
                ExplainedItem(item, sources, features, self._causes(item, history))
                for item, (sources, features) in zip(item_ids, described, strict=True)
            ),
        )

    def _described(self, user: int | None, items: Sequence[int]) -> list[_Described]:
        """Of each item who proposed it, and what moved its score; nothing of one that nobody proposed."""
        if user is None:
            return [_NOTHING] * len(items)
        pool, names, matrix = self.stage.candidates(np.array([user], dtype=np.int32), self.per_source)
        rows = {item: row for row, item in enumerate(pool.items.tolist())}
        proposed = [item for item in items if item in rows]
        added = self.ranker.contributions(matrix[[rows[item] for item in proposed]]) if proposed else ()
        shares = dict(zip(proposed, added, strict=True))
        return [
            (_places(pool, rows[item]), _largest(names, matrix[rows[item]], shares[item]))
            if item in rows
            else _NOTHING
            for item in items
        ]

    @property
    def _generator(self) -> Generator:
        return self.stage.generator

    @cached_property
    def _user_numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self._generator.events.user_ids.tolist())}

    @cached_property
    def _item_numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self._generator.items.item_ids.tolist())}

    def _history(self, user: int | None) -> list[Event]:
        """The user's latest events that the training knew, newest first."""
        events = self._generator.events
        rows = np.flatnonzero(events.users == (_NOWHERE if user is None else user))[::-1]
        return Lists.events_of(events, rows[: self.history_length])

    def _causes(self, item_id: str, history: Sequence[Event]) -> tuple[Cause, ...]:
        """The user's own events with the item; else those with similar ones; else those in its category."""
        same = [Cause(event, "same_item", 1.0) for event in history if event.item_id == item_id]
        if same:
            return tuple(same[:CAUSES_TOLD])
        item = self._item_numbers.get(item_id)
        latest: dict[int, Event] = {}
        for event in history:
            if (other := self._item_numbers.get(event.item_id)) is not None:
                latest.setdefault(other, event)
        if item is None or not latest:
            return ()
        return self._similar(item, latest) or self._alike(item, latest)

    def _similar(self, item: int, latest: Mapping[int, Event]) -> tuple[Cause, ...]:
        strengths = self._similarity(np.array(list(latest), dtype=np.int32), item)
        best = np.argsort(-strengths, kind="stable")[:CAUSES_TOLD]
        events = list(latest.values())
        return tuple(
            Cause(events[place], "similar_item", float(strengths[place]))
            for place in best
            if strengths[place] > 0
        )

    def _alike(self, item: int, latest: Mapping[int, Event]) -> tuple[Cause, ...]:
        categories = self._generator.items.categories
        if categories[item] == NOWHERE:
            return ()
        alike = [event for other, event in latest.items() if categories[other] == categories[item]]
        return tuple(Cause(event, "same_category", 1.0) for event in alike[:CAUSES_TOLD])

    def _similarity(self, items: IntArray, other: int) -> np.ndarray:
        """Of each of `items` to the other one, as the stored lists have it."""
        by_measure = self._generator.similarities.by_measure
        total = sum(max(share, 0.0) for share in self.measures.values()) or 1.0
        parts = [
            max(self.measures[name], 0.0) / total * _column(matrix[items], other)
            for name, matrix in by_measure.items()
        ]
        return np.asarray(np.sum(parts, axis=0))


def _places(pool: Pool, row: int) -> dict[str, int]:
    """By source that proposed the candidate, its place there, from 1."""
    return {name: int(ranks[row]) + 1 for name, ranks in pool.ranks.items() if ranks[row] < UNRANKED}


def _column(rows: sp.csr_array, column: int) -> np.ndarray:
    return np.asarray(rows[:, [column]].toarray(), dtype=np.float64)[:, 0]


def _largest(names: Sequence[str], values: np.ndarray, added: np.ndarray) -> tuple[FeatureShare, ...]:
    order = np.argsort(-np.abs(added), kind="stable")[:FEATURES_TOLD]
    return tuple(
        FeatureShare(names[place], float(values[place]), float(added[place]))
        for place in order
        if added[place]
    )
