"""Ranking a user's candidates by their features.

A ranker learns from examples and gives scores of which, within a user, only the order counts.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from training.interactions import FloatArray

Scores = npt.NDArray[np.float64]


class Ranker(Protocol):
    """Something that orders candidates."""

    @property
    def name(self) -> str:
        """Of the kind of ranker."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features."""

    def scores(self, matrix: FloatArray) -> Scores:
        """One score a row of a matrix of candidates × features; the higher the better."""

    def contributions(self, matrix: FloatArray) -> Scores:
        """Candidates × features: what each adds to the candidate's score."""

    def importance(self) -> dict[str, float]:
        """By feature, how much scores move with it; they add up to 100."""

    def document(self) -> dict[str, Any]:
        """All of it as JSON has it, for `training.ranking.stored`."""


def in_percent(names: tuple[str, ...], values: Scores) -> dict[str, float]:
    """Sizes by name, so that they add up to 100; all 0 where there is none."""
    sizes = np.abs(values)
    total = float(sizes.sum()) or 1.0
    return dict(zip(names, (100 * sizes / total).tolist(), strict=True))
