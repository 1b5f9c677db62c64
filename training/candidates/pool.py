"""All sources' candidates in one table: what each of them thinks of a user and an item."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.candidates import Candidates
from training.interactions import BoolArray, FloatArray, IntArray, LongArray, distinct

UNRANKED = 1000.0
"""The rank of an item that a source does not propose."""


@dataclass(frozen=True)
class Pool:
    """n distinct pairs of user and item, by user, then item."""

    keys: LongArray
    """user × number of items + item, ascending."""
    users: IntArray
    items: IntArray
    scores: dict[str, FloatArray]
    """By source: its score over its best score for that user; 0 where it does not propose the item."""
    ranks: dict[str, FloatArray]
    """By source: 0 for its best item; `UNRANKED` where it does not propose the item."""

    def __len__(self) -> int:
        return len(self.keys)

    def only(self, rows: BoolArray) -> "Pool":
        """Some of the pairs, by a mask."""
        return Pool(
            self.keys[rows],
            self.users[rows],
            self.items[rows],
            {name: values[rows] for name, values in self.scores.items()},
            {name: values[rows] for name, values in self.ranks.items()},
        )


def pool(found: Mapping[str, Candidates], n_items: int) -> Pool:
    """Put the candidates of sources together, by the sources' names."""
    n_items = max(n_items, 1)
    keys_of = {name: each.users.astype(np.int64) * n_items + each.items for name, each in found.items()}
    keys = distinct(np.concatenate([np.empty(0, np.int64), *keys_of.values()]))
    scores, ranks = {}, {}
    for name, each in found.items():
        rows = np.searchsorted(keys, keys_of[name])
        scores[name] = np.zeros(len(keys), dtype=np.float32)
        scores[name][rows] = relative_to_best(each)
        ranks[name] = np.full(len(keys), UNRANKED, dtype=np.float32)
        ranks[name][rows] = each.ranks()
    users, items = np.divmod(keys, n_items)
    return Pool(keys, users.astype(np.int32), items.astype(np.int32), scores, ranks)


def relative_to_best(candidates: Candidates) -> FloatArray:
    """Scores over the best score of the same user, within 0 and 1."""
    if not len(candidates):
        return candidates.scores
    starts = np.flatnonzero(candidates.ranks() == 0)
    lengths = np.diff(np.r_[starts, len(candidates)])
    best = np.maximum(np.repeat(candidates.scores[starts], lengths), np.finfo(np.float32).tiny)
    return np.clip(candidates.scores / best, 0, 1).astype(np.float32)
