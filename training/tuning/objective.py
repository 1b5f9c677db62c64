"""What a search maximizes, and how surely one thing measured is better than another.

The score of a row is the mean over the protocols of NDCG@10, each over what the settings to start from reach
there in the mean: these score 1, and neither protocol outweighs the other by its scale.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from training.bootstrap import Interval, p_value_greater, paired_difference
from training.interactions import BoolArray, IntArray
from training.judged import PROTOCOLS, Protocol
from training.ranking_metrics import DoubleArray
from training.tuning.measurements import Measured

OBJECTIVE = "ndcg@10"
TOLD_METRICS = ("ndcg@10", "recall@10", "precision@10")


@dataclass(frozen=True)
class Halves:
    """Two halves of the users: one chooses the settings, the other, which the search never sees, confirms.

    What is best of many on the very users that chose it is partly luck (the winner's curse).
    """

    choosing: IntArray
    confirming: IntArray

    @classmethod
    def of(cls, users: IntArray, seed: int) -> "Halves":
        """Distinct users, halved at random."""
        shuffled = np.random.default_rng(seed).permutation(users)
        middle = (len(users) + 1) // 2
        return cls(np.sort(shuffled[:middle]), np.sort(shuffled[middle:]))

    def chosen_by(self, measured: Measured) -> Measured:
        """The rows of the users who choose."""
        return measured.where(_of(measured, self.choosing))

    def confirmed_by(self, measured: Measured) -> Measured:
        """The rows of the users who confirm."""
        return measured.where(_of(measured, self.confirming))


def _of(measured: Measured, users: IntArray) -> BoolArray:
    return np.isin(measured.users, users)


def scores(measured: Measured, start: Measured) -> DoubleArray:
    """One score a row; `start` tells the scale of each protocol.

    Where the settings to start from find nothing, there is no scale, and NDCG counts as it is.
    """
    relative = [
        measured.values[protocol][OBJECTIVE] / (start.values[protocol][OBJECTIVE].mean() or 1.0)
        for protocol in PROTOCOLS
    ]
    mean: DoubleArray = np.mean(relative, axis=0)
    return mean


@dataclass(frozen=True)
class Comparison:
    """Settings against those to start from, on the same rows, which are at least one."""

    tuned: Measured
    start: Measured
    seed: int

    @cached_property
    def score(self) -> Interval:
        """Of the scores' difference: 0.02 is 2 % better than the start in the mean of the protocols."""
        return self._difference(scores(self.tuned, self.start), scores(self.start, self.start))

    @cached_property
    def p_value(self) -> float:
        """How little speaks for a higher score."""
        return p_value_greater(
            scores(self.tuned, self.start), scores(self.start, self.start), self.start.users, seed=self.seed
        )

    @cached_property
    def metrics(self) -> Mapping[Protocol, Mapping[str, tuple[float, float, Interval]]]:
        """By protocol and metric: of the start, of what was tuned, and their difference."""
        return {
            protocol: {name: self._of_metric(protocol, name) for name in TOLD_METRICS}
            for protocol in PROTOCOLS
        }

    @property
    def surely_worse(self) -> list[Protocol]:
        """The protocols whose NDCG@10 is lower by more than noise."""
        return [protocol for protocol, metrics in self.metrics.items() if metrics[OBJECTIVE][2].high < 0]

    def _of_metric(self, protocol: Protocol, name: str) -> tuple[float, float, Interval]:
        tuned, start = self.tuned.values[protocol][name], self.start.values[protocol][name]
        return float(start.mean()), float(tuned.mean()), self._difference(tuned, start)

    def _difference(self, ours: DoubleArray, theirs: DoubleArray) -> Interval:
        return paired_difference(ours, theirs, self.start.users, seed=self.seed)
