"""The conditional logit: weights of features under which what was chosen was the likeliest to be.

McFadden: Conditional logit analysis of qualitative choice behavior, 1974; as a loss over lists it is
ListNet's top-one cross entropy (Cao et al., Learning to rank: from pairwise approach to listwise
approach, ICML 2007). Convex, so there is one answer, whatever the machine.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from training.interactions import BoolArray

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer]


def fit_softmax(
    features: Doubles,
    shares: Doubles,
    groups: Integers,
    *,
    l2: float,
    prior: Doubles | None = None,
    never_negative: BoolArray | None = None,
) -> tuple[Doubles, float]:
    """Weights of the features, and the loss that they leave (in nats a group).

    `features` are rows × features; `shares` say how much of its group's choice each row got, they add up
    to 1 in each group; `groups` ascend and hold at least one row each. `l2` pulls the weights to `prior`
    (0 where there is none) as one that so many groups would have to outweigh. Weights that come out below 0
    where they never may are left out, and the others fitted anew.
    """
    prior = np.zeros(features.shape[1]) if prior is None else prior
    weights = prior.copy()
    fitted = np.ones(len(weights), dtype=np.bool_)
    while True:
        choices = _Choices(np.ascontiguousarray(features[:, fitted]), shares, groups, l2, prior[fitted])
        found = minimize(
            choices.loss_and_gradient, weights[fitted], jac=True, hess=choices.curvature, method="trust-exact"
        )
        weights[fitted], weights[~fitted] = found.x, 0.0
        negative = fitted & (weights < 0) & (never_negative if never_negative is not None else False)
        if not negative.any():
            return weights, float(found.fun)
        fitted &= ~negative


class _Choices:
    """The loss, its gradient and its curvature."""

    def __init__(
        self, features: Doubles, shares: Doubles, groups: Integers, l2: float, prior: Doubles
    ) -> None:
        self._features = features
        self._shares = shares
        self._l2 = l2
        self._prior = prior
        self._starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
        self._lengths = np.diff(np.r_[self._starts, len(groups)])
        self._chosen = shares @ features

    def loss_and_gradient(self, weights: Doubles) -> tuple[float, Doubles]:
        likely, losses = self._likely(weights)
        off = weights - self._prior
        loss = losses.sum() - self._chosen @ weights + self._l2 / 2 * off @ off
        gradient = likely @ self._features - self._chosen + self._l2 * off
        return float(loss) / len(self._starts), gradient / len(self._starts)

    def curvature(self, weights: Doubles) -> Doubles:
        likely, _ = self._likely(weights)
        weighted = self._features * likely[:, None]
        means = np.add.reduceat(weighted, self._starts, axis=0)
        curvature: Doubles = self._features.T @ weighted - means.T @ means
        return (curvature + self._l2 * np.eye(len(weights))) / len(self._starts)

    def _likely(self, weights: Doubles) -> tuple[Doubles, Doubles]:
        """How likely each row is the choice of its group, and the logarithms of the groups' sums."""
        scores = self._features @ weights
        highest = np.maximum.reduceat(scores, self._starts)
        odds = np.exp(scores - np.repeat(highest, self._lengths))
        totals = np.add.reduceat(odds, self._starts)
        return odds / np.repeat(totals, self._lengths), np.log(totals) + highest
