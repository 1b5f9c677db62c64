"""The order of candidates where nothing can be learnt yet."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.interactions import FloatArray
from training.ranking import Scores, in_percent

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
        scores: Scores = matrix @ self._shares
        return scores

    def contributions(self, matrix: FloatArray) -> Scores:
        """Each source's part of the sum."""
        added: Scores = matrix * self._shares
        return added

    def importance(self) -> dict[str, float]:
        """The weights; they add up to 100."""
        return in_percent(self.names, self._shares)

    def document(self) -> dict[str, Any]:
        """The weights are the code's own."""
        return {"ranker": self.name, "names": list(self.names)}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "PriorRanker":
        """The ranker that gave `document`."""
        return cls(tuple(document["names"]))

    @property
    def _shares(self) -> Scores:
        return np.array([SHARES.get(name, 0.0) for name in self.names])
