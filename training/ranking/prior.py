"""The order of candidates where nothing can be learnt yet."""

from dataclasses import dataclass

import numpy as np

from training.interactions import FloatArray
from training.ranking import Scores

SHARES = {
    "own_score": 1.0,
    "similar_score": 0.5,
    "session_knn_score": 0.3,
    "als_score": 0.1,
    "category_score": 0.1,
    "recent_popular_score": 0.1,
    "new_items_score": 0.05,
}
"""What each source's best item adds."""


@dataclass(frozen=True)
class PriorRanker:
    """The sources' scores, weighted as they mostly deserve it."""

    names: tuple[str, ...]
    name: str = "prior"

    def scores(self, matrix: FloatArray) -> Scores:
        """The weighted sum."""
        shares = np.array([SHARES.get(name, 0.0) for name in self.names])
        scores: Scores = matrix @ shares
        return scores
