"""Items that the same people, and the same visits, turn to.

Two measures, because each finds what the other misses:

- `people`: how likely somebody with the one item also has the other. Deshpande, Karypis: Item-based top-N
  recommendation algorithms, ACM TOIS 2004 (the similarity based on conditional probability).
- `visits`: the cosine of the two items' visits, a visit being a user's events with no gap of more than half
  an hour, and the longer it was, the less it says: it counts by one over the root of its length. Summed over
  a history it is session-kNN without the choice of neighbours: Ludewig, Jannach: Evaluation of session-based
  recommendation algorithms, UMUAI 2018.

A constant in the denominators keeps pairs of rare items down.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from training.candidates import Candidates, best_per_user, no_candidates
from training.candidates.visits import visits_of
from training.interactions import FloatArray, IntArray, Interactions

SHRINKAGE = 3.0
ITEMS_AT_ONCE = 2048
"""Rows of items × items that are held at a time: bounds the memory."""

USUAL_SHARES = {"people": 0.15, "visits": 0.85}
"""Of the measures in the similar lists, before a shop's own visitors taught better."""
MEASURES = tuple(USUAL_SHARES)


@dataclass(frozen=True)
class Similarities:
    """For each measure a matrix of items × items with at most `neighbours` entries a row, no diagonal."""

    by_measure: dict[str, sp.csr_array]

    def mixture(self, weights: Mapping[str, float]) -> sp.csr_array:
        """The mean of the measures by weights, of which those below 0 count as 0; scores below 1."""
        shares = {name: max(weights[name], 0.0) for name in self.by_measure}
        total = sum(shares.values()) or 1.0
        people, visits = (self.by_measure[name] * np.float32(shares[name] / total) for name in MEASURES)
        mixed: sp.csr_array = people + visits
        return mixed


def similarities(events: Interactions, *, neighbours: int, history: int) -> Similarities:
    """Both measures over each user's latest `history` distinct items: a robot counts no more than a fan."""
    latest = events.latest_distinct(history)
    by_people = latest.matrix(np.ones(len(latest), dtype=np.float32))
    return Similarities(
        {
            "people": _by_people(by_people, neighbours),
            "visits": _by_visits(visits_of(events).matrix, neighbours),
        }
    )


def _by_people(people: sp.csr_array, neighbours: int) -> sp.csr_array:
    sizes = np.diff(people.T.tocsr().indptr).astype(np.float32) + np.float32(SHRINKAGE)
    return _nearest(people, people, np.float32(1) / sizes, np.ones_like(sizes), neighbours)


def _by_visits(visits: sp.csr_array, neighbours: int) -> sp.csr_array:
    sizes = np.diff(visits.T.tocsr().indptr).astype(np.float32) + np.float32(SHRINKAGE)
    lengths = np.maximum(np.diff(visits.indptr), 1).astype(np.float32)
    weighted = sp.diags_array(1 / np.sqrt(lengths)).tocsr() @ visits
    roots = 1 / np.sqrt(sizes)
    return _nearest(visits, weighted.astype(np.float32), roots, roots, neighbours)


def _nearest(
    groups: sp.csr_array, weighted: sp.csr_array, of_item: FloatArray, of_other: FloatArray, count: int
) -> sp.csr_array:
    """The best `count` neighbours of each item, by what they share of `groups` × items.

    A group counts by its row of `weighted`; the sum is multiplied by a factor of each of the two items.
    """
    by_item = groups.T.tocsr()
    n_items = by_item.shape[0]
    found = []
    for start in range(0, n_items, ITEMS_AT_ONCE):
        rows, others, together = _entries(by_item[start : start + ITEMS_AT_ONCE] @ weighted)
        items = rows + np.int32(start)
        different = items != others
        items, others = items[different], others[different]
        scores = together[different] * of_item[items] * of_other[others]
        found.append(best_per_user(items, others, scores, count))
    return as_matrix(found, (n_items, n_items))


def as_matrix(found: list[Candidates], shape: tuple[int, int]) -> sp.csr_array:
    """Rows (user, item, score) as a sparse matrix."""
    users: IntArray = np.concatenate([no_candidates().users, *(each.users for each in found)])
    items: IntArray = np.concatenate([no_candidates().items, *(each.items for each in found)])
    scores: FloatArray = np.concatenate([no_candidates().scores, *(each.scores for each in found)])
    return sp.coo_array((scores, (users, items)), shape=shape).tocsr()


class SimilarSource:
    """Neighbours of all that the user turned to, by the strength of it."""

    name = "similar"

    def __init__(self, measures: Similarities, own: Candidates, n_users: int) -> None:
        self._measures = measures
        self._own = own
        self._n_users = n_users
        self._strengths: sp.csr_array | None = None
        self._similar: sp.csr_array | None = None

    def fit(self, events: Interactions, now: int) -> None:  # noqa: ARG002 - the measures are fitted already
        """Put the measures together."""
        n_items = len(events.item_ids)
        self._strengths = as_matrix([self._own], (self._n_users, n_items))
        self._similar = self._measures.mixture(USUAL_SHARES)

    def candidates(self, users: IntArray, per_user: int) -> Candidates:
        """The nearest items; own ones are among them where others of the user's lead to them."""
        if self._strengths is None or self._similar is None:
            return no_candidates()
        found = [no_candidates()]
        for start in range(0, len(users), ITEMS_AT_ONCE):
            some = users[start : start + ITEMS_AT_ONCE]
            rows, items, scores = _entries(self._strengths[some] @ self._similar)
            found.append(best_per_user(some[rows], items, scores, per_user))
        return Candidates(
            np.concatenate([each.users for each in found]),
            np.concatenate([each.items for each in found]),
            np.concatenate([each.scores for each in found]),
        )


def _entries(matrix: sp.csr_array) -> tuple[IntArray, IntArray, FloatArray]:
    """Rows, columns and values."""
    entries = matrix.tocoo()
    rows, columns = entries.coords
    return rows.astype(np.int32), columns.astype(np.int32), entries.data
