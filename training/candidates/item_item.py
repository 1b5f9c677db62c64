"""Items that the same people turn to: how likely somebody with the one also has the other.

Deshpande, Karypis: Item-based top-N recommendation algorithms, ACM TOIS 2004 (the similarity based on
conditional probability), with a constant in the denominator that keeps pairs of rare items down.
"""

import numpy as np
import scipy.sparse as sp

from contract.blending import BlendWeights
from training.candidates import Candidates, best_per_user, no_candidates
from training.candidates.own_items import own_strengths
from training.interactions import IntArray, Interactions

SHRINKAGE = 3.0
ITEMS_AT_ONCE = 2048
"""Rows of items × items that are held at a time: bounds the memory."""


class ItemItem:
    """Neighbours of what a user has; the neighbours are the stored similar lists, too."""

    name = "item_item"

    def __init__(self, weights: BlendWeights, *, neighbours: int, history: int) -> None:
        self.weights = weights
        self.neighbours = neighbours
        self.history = history
        self.similar = no_candidates()
        """Rows (item, similar item, probability), where `Candidates` says user and item."""
        self._neighbours: sp.csr_array | None = None
        self._strengths: sp.csr_array | None = None

    def fit(self, events: Interactions, now: int) -> None:
        """Count who has what once, over each user's latest items: a bot counts no more than a fan."""
        latest = events.latest_distinct(self.history)
        user_items = latest.matrix(np.ones(len(latest), dtype=np.float32))
        self.similar = _neighbours(user_items, self.neighbours)
        n_users, n_items = user_items.shape
        self._neighbours = _matrix(self.similar, (n_items, n_items))
        self._strengths = _matrix(own_strengths(events, now, self.weights), (n_users, n_items))

    def candidates(self, users: IntArray, per_user: int) -> Candidates:
        """The neighbours of all that the user turned to lately, by the strength of it."""
        if self._strengths is None or self._neighbours is None:
            return no_candidates()
        scores = (self._strengths[users] @ self._neighbours).tocoo()
        rows, items = scores.coords
        return best_per_user(users[rows], items.astype(np.int32), scores.data, per_user)


def _neighbours(user_items: sp.csr_array, count: int) -> Candidates:
    by_item = user_items.T.tocsr()
    people = np.diff(by_item.indptr)
    found = []
    for start in range(0, by_item.shape[0], ITEMS_AT_ONCE):
        pairs = (by_item[start : start + ITEMS_AT_ONCE] @ user_items).tocoo()
        rows, others = pairs.coords
        items = rows + start
        different = items != others
        probability = pairs.data / (people[items] + SHRINKAGE)
        found.append(
            best_per_user(
                items[different].astype(np.int32),
                others[different].astype(np.int32),
                probability[different].astype(np.float32),
                count,
            )
        )
    return Candidates(
        np.concatenate([each.users for each in found]),
        np.concatenate([each.items for each in found]),
        np.concatenate([each.scores for each in found]),
    )


def _matrix(rows: Candidates, shape: tuple[int, int]) -> sp.csr_array:
    return sp.coo_array((rows.scores, (rows.users, rows.items)), shape=shape).tocsr()
