"""What visits like the user's latest steps went on to.

VMIS-kNN, Kersbergen, Sprangers, Schelter: Serenade, SIGMOD 2022, after Ludewig, Jannach: Evaluation of
session-based recommendation algorithms, UMUAI 2018: an index of the latest visits of each item, a query whose
later items weigh more, and the votes of the nearest visits.
"""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from training.candidates import Candidates, best_per_user, no_candidates
from training.candidates.similar_items import as_matrix
from training.candidates.visits import visits_of
from training.interactions import IntArray, Interactions, rank_within

QUERY_ITEMS = 10
"""The user's latest distinct items that are looked up."""
INDEXED_VISITS = 200
"""Of each item, the latest ones."""
NEIGHBOURS = 100
USERS_AT_ONCE = 1024


class SessionKnn:
    """Items of the visits that share the most with the user's latest items."""

    name = "session_knn"

    def __init__(self) -> None:
        self._query: sp.csr_array | None = None
        self._index: sp.csr_array | None = None
        self._visits: sp.csr_array | None = None

    def fit(self, events: Interactions, now: int) -> None:  # noqa: ARG002 - the protocol's
        """Index the latest visits of each item; remember each user's latest items."""
        visits = visits_of(events)
        self._visits = visits.matrix
        self._index = _latest_visits(visits.matrix, np.argsort(visits.ends, kind="stable"))
        latest = events.latest_distinct(QUERY_ITEMS)
        order = np.argsort(-latest.users, kind="stable")[::-1]
        weights = 1 - rank_within(latest.users[order]) / QUERY_ITEMS
        shape = (len(events.user_ids), len(events.item_ids))
        self._query = sp.coo_array(
            (weights.astype(np.float32), (latest.users[order], latest.items[order])), shape=shape
        ).tocsr()

    def candidates(self, users: IntArray, per_user: int) -> Candidates:
        """What the nearest visits hold, the user's own items included."""
        if self._query is None or self._index is None or self._visits is None or not len(users):
            return no_candidates()
        found = []
        for start in range(0, len(users), USERS_AT_ONCE):
            some = users[start : start + USERS_AT_ONCE]
            likeness = (self._query[some] @ self._index).tocoo()
            rows, visits = likeness.coords
            nearest = best_per_user(rows.astype(np.int32), visits.astype(np.int32), likeness.data, NEIGHBOURS)
            votes = (as_matrix([nearest], likeness.shape) @ self._visits).tocoo()
            rows, items = votes.coords
            found.append(best_per_user(some[rows], items.astype(np.int32), votes.data, per_user))
        return Candidates(
            np.concatenate([each.users for each in found]),
            np.concatenate([each.items for each in found]),
            np.concatenate([each.scores for each in found]),
        )


def _latest_visits(visits: sp.csr_array, by_time: npt.NDArray[np.integer]) -> sp.csr_array:
    """Items × visits: of each item the `INDEXED_VISITS` latest."""
    age = np.empty(len(by_time), dtype=np.int64)
    age[by_time] = np.arange(len(by_time))[::-1]
    rows, items = visits.tocoo().coords
    order = np.lexsort((age[rows], items))
    kept = order[rank_within(items[order]) < INDEXED_VISITS]
    ones = np.ones(len(kept), dtype=np.float32)
    return sp.coo_array((ones, (items[kept], rows[kept])), shape=visits.shape[::-1]).tocsr()
