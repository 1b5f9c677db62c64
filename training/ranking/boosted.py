"""Boosted trees that tell what comes true from what doesn't.

CatBoost, Prokhorenkova et al., NeurIPS 2018, with the logistic loss over single candidates: it needs no pairs
within a list, and what it gives are log-odds.
"""

import base64
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from catboost import CatBoost, Pool

from training.interactions import FloatArray
from training.ranking import Scores
from training.ranking.examples import Examples, stacked
from training.settings import Hyperparameters

MOST_ROWS = 300_000
"""Rows that the trees learn from; of more, all that came true and an even part of the rest."""
MOST_ROWS_OF_CURVE = 100_000
"""Rows that a curve of unseen examples is told by."""
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

    def contributions(self, matrix: FloatArray) -> Scores:
        """SHAP values (Lundberg and Lee: A unified approach to interpreting model predictions, 2017)."""
        values: Scores = self._model.get_feature_importance(Pool(matrix), type="ShapValues")
        return values[:, :-1]  # the last column is what all scores have in common

    def importance(self) -> dict[str, float]:
        """By feature, how much the score moves with it; they add up to 100."""
        values: Any = self._model.get_feature_importance(type="PredictionValuesChange")
        return dict(zip(self.names, map(float, values), strict=True))

    def learning_curve(self) -> list[float]:
        """Logistic loss after each tree, of what it learnt from."""
        return [float(loss) for loss in self._model.get_evals_result()["learn"]["Logloss"]]

    def curve_on(self, parts: Sequence[Examples]) -> list[float]:
        """The same of other examples, some of which came true; of an even part where they are many."""
        matrix, came_true, _ = stacked(parts)
        rows = _evenly(came_true, MOST_ROWS_OF_CURVE)
        signs = np.where(came_true[rows], 1.0, -1.0)
        # CatBoost's own `eval_metrics` leaves files in the working directory.
        stages = self._model.staged_predict(
            matrix[rows], prediction_type="RawFormulaVal", thread_count=THREADS
        )
        return [float(np.logaddexp(0.0, -signs * scores).mean()) for scores in stages]

    def document(self) -> dict[str, Any]:
        """The trees in CatBoost's own format, as base64."""
        with tempfile.TemporaryDirectory(prefix="ranker-") as folder:
            file = Path(folder) / "ranker.cbm"
            self._model.save_model(str(file))
            trees = base64.b64encode(file.read_bytes()).decode()
        return {"ranker": self.name, "names": list(self.names), "trees": trees}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "BoostedRanker":
        """The ranker that gave `document`."""
        model = CatBoost()
        model.load_model(blob=base64.b64decode(document["trees"]))
        return cls(model, tuple(document["names"]))


def _evenly(came_true: np.ndarray, most: int = MOST_ROWS) -> np.ndarray:
    """Places of all that came true, and of every so-manieth of the rest."""
    rest = np.flatnonzero(~came_true)
    step = max(1, -(-len(came_true) // most))
    return np.sort(np.concatenate([np.flatnonzero(came_true), rest[::step]]))
