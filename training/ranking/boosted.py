"""Boosted trees that tell what comes true from what doesn't.

CatBoost, Prokhorenkova et al., NeurIPS 2018, with the logistic loss over single candidates: it needs no pairs
within a list, and what it gives are log-odds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from catboost import CatBoost, Pool

from training.interactions import FloatArray
from training.ranking import Scores
from training.ranking.examples import Examples, stacked
from training.settings import Hyperparameters

MOST_ROWS = 300_000
"""Rows that the trees learn from; of more, all that came true and an even part of the rest."""
BORDERS = 32
"""Into which each feature's values are sorted; fewer make the trees quicker."""
THREADS = 4
"""How the trees come out depends on the number of threads, so it is the same everywhere."""


class BoostedRanker:
    """CatBoost over the features."""

    name = "boosted"

    def __init__(self, model: CatBoost, names: tuple[str, ...]) -> None:
        self._model = model
        self.names = names

    @classmethod
    def fit(cls, parts: Sequence[Examples], settings: Hyperparameters) -> "BoostedRanker":
        """Learn from examples, some of which came true and some didn't."""
        matrix, came_true, _ = stacked(parts)
        rows = _evenly(came_true)
        model = CatBoost(
            {
                "loss_function": "Logloss",
                "iterations": settings.ranker_iterations,
                "depth": settings.ranker_depth,
                "learning_rate": settings.ranker_learning_rate,
                "border_count": BORDERS,
                "random_seed": settings.seed,
                "thread_count": THREADS,
                "allow_writing_files": False,
                "verbose": False,
            }
        )
        names = parts[0].names
        model.fit(Pool(matrix[rows], came_true[rows].astype(np.int8), feature_names=list(names)))
        return cls(model, names)

    def scores(self, matrix: FloatArray) -> Scores:
        """Log-odds that the candidate comes true."""
        scores: Scores = self._model.predict(matrix, prediction_type="RawFormulaVal")
        return scores

    def importance(self) -> dict[str, float]:
        """By feature, how much the score moves with it; they add up to 100."""
        values: Any = self._model.get_feature_importance(type="PredictionValuesChange")
        return dict(zip(self.names, map(float, values), strict=True))


def _evenly(came_true: np.ndarray) -> np.ndarray:
    """Places of all that came true, and of every so-manieth of the rest."""
    rest = np.flatnonzero(~came_true)
    step = max(1, -(-len(came_true) // MOST_ROWS))
    return np.sort(np.concatenate([np.flatnonzero(came_true), rest[::step]]))
