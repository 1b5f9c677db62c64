"""A weighted sum of the features, fitted so that what came true was the likeliest choice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.interactions import FloatArray
from training.ranking import Scores, in_percent
from training.ranking.examples import Examples, stacked
from training.ranking.softmax import Doubles, fit_softmax

L2 = 3.0
MOST_ROWS_FITTED = 100_000
"""Rows that the fit looks at; of more, the first groups."""


@dataclass(frozen=True)
class LinearRanker:
    """Weights of standardised features."""

    names: tuple[str, ...]
    means: Doubles
    deviations: Doubles
    weights: Doubles
    name: str = "linear"

    @classmethod
    def fit(cls, parts: Sequence[Examples]) -> "LinearRanker":
        """Learn from examples, at least one of which came true."""
        matrix, came_true, groups = stacked(parts)
        if len(groups) > MOST_ROWS_FITTED:
            within = groups <= groups[MOST_ROWS_FITTED]
            matrix, came_true, groups = matrix[within], came_true[within], groups[within]
        means = matrix.mean(axis=0, dtype=np.float64)
        deviations = matrix.std(axis=0, dtype=np.float64)
        deviations[deviations < 1e-6] = np.inf
        features = (matrix - means) / deviations
        hits = np.bincount(groups, weights=came_true)
        weights, _ = fit_softmax(features, came_true / hits[groups], groups, l2=L2)
        return cls(parts[0].names, means, deviations, weights)

    def scores(self, matrix: FloatArray) -> Scores:
        """The weighted sum."""
        scale = self.weights / self.deviations
        scores: Scores = matrix @ scale - self.means @ scale
        return scores

    def contributions(self, matrix: FloatArray) -> Scores:
        """What each feature adds beside the mean of what was learnt from."""
        added: Scores = (matrix - self.means) / self.deviations * self.weights
        return added

    def importance(self) -> dict[str, float]:
        """Of a feature, the size of its weight per standard deviation; they add up to 100."""
        return in_percent(self.names, np.where(np.isinf(self.deviations), 0.0, self.weights))

    def document(self) -> dict[str, Any]:
        """A feature that never varied has no deviation."""
        varied = ~np.isinf(self.deviations)
        return {
            "ranker": self.name,
            "names": list(self.names),
            "means": self.means.tolist(),
            "deviations": np.where(varied, self.deviations, 0.0).tolist(),
            "weights": self.weights.tolist(),
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "LinearRanker":
        """The ranker that gave `document`."""
        deviations = np.array(document["deviations"])
        return cls(
            names=tuple(document["names"]),
            means=np.array(document["means"]),
            deviations=np.where(deviations > 0, deviations, np.inf),
            weights=np.array(document["weights"]),
        )
