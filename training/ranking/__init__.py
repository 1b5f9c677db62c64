"""Ranking a user's candidates by their features.

A ranker learns from examples and gives scores of which, within a user, only the order counts.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from training.interactions import FloatArray

Scores = npt.NDArray[np.float64]


class Ranker(Protocol):
    """Something that orders candidates."""

    @property
    def name(self) -> str:
        """Of the kind of ranker."""

    def scores(self, matrix: FloatArray) -> Scores:
        """One score a row of a matrix of candidates × features; the higher the better."""
