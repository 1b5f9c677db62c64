"""Alternating least squares on implicit feedback.

Hu, Koren, Volinsky: Collaborative filtering for implicit feedback datasets, ICDM 2008.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
import threadpoolctl
from implicit.cpu.als import AlternatingLeastSquares

from training.candidates import Candidates, best_per_user, no_candidates
from training.interactions import IntArray, Interactions

BATCH_USERS = 4096
"""Users scored at once: bounds the memory of users × items."""


class Als:
    """Items near the user in the space of factors."""

    name = "als"

    def __init__(
        self,
        event_weights: Mapping[str, float],
        *,
        factors: int,
        iterations: int,
        regularization: float,
        alpha: float,
        seed: int,
        threads: int,
    ) -> None:
        self.event_weights = event_weights
        self.parameters = {
            "factors": factors,
            "iterations": iterations,
            "regularization": regularization,
            "alpha": alpha,
            "random_state": seed,
            "num_threads": threads,
        }
        self._model: Any = None
        self._user_items: sp.csr_matrix | None = None

    def fit(self, events: Interactions, now: int) -> None:  # noqa: ARG002 - the protocol's
        """Confidence by the sum of a pair's event weights, damped: a hundred views are no hundred carts."""
        kinds = events.weights(self.event_weights, 1.0)
        matrix = sp.csr_matrix(events.matrix(kinds))
        matrix.data = np.log1p(np.maximum(matrix.data, 0))
        matrix.eliminate_zeros()
        if not matrix.nnz:
            return
        self._user_items = matrix
        # A new model each time: one that is fitted again goes on from vectors of the old shape.
        with _one_blas_thread():
            self._model = AlternatingLeastSquares(**self.parameters)
            self._model.fit(matrix, show_progress=False)

    def candidates(self, users: IntArray, per_user: int) -> Candidates:
        """The nearest items, own ones included."""
        if self._user_items is None:
            return no_candidates()
        per_user = min(per_user, self._user_items.shape[1])
        found = [
            self._batch(self._user_items, users[start : start + BATCH_USERS], per_user)
            for start in range(0, len(users), BATCH_USERS)
        ]
        if not found:
            return no_candidates()
        return Candidates(
            np.concatenate([each.users for each in found]),
            np.concatenate([each.items for each in found]),
            np.concatenate([each.scores for each in found]),
        )

    def _batch(self, user_items: sp.csr_matrix, users: IntArray, per_user: int) -> Candidates:
        with _one_blas_thread():
            items, scores = self._model.recommend(
                users, user_items[users], N=per_user, filter_already_liked_items=False
            )
        everyone = np.repeat(users, per_user)
        known = (items.ravel() >= 0) & (scores.ravel() > 0)
        return best_per_user(
            everyone[known], items.ravel()[known].astype(np.int32), scores.ravel()[known], per_user
        )


def _one_blas_thread() -> threadpoolctl.threadpool_limits:
    """Implicit starts threads of its own; a second pool within each of them would only fight it."""
    return threadpoolctl.threadpool_limits(1, "blas")
