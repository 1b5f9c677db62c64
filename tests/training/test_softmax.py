"""The fit of choices: its calculus, and weights that are known."""

import numpy as np
import pytest

from training.ranking.softmax import Doubles, _Choices, fit_softmax


def choices(weights: Doubles, n_groups: int, seed: int) -> tuple[Doubles, Doubles, Doubles]:
    """Features, shares and groups of people who choose one of 2 to 9 rows, as likely as the weights make it."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), random.integers(2, 10, n_groups))
    features = random.normal(size=(len(groups), len(weights)))
    appeal = features @ weights + random.gumbel(size=len(groups))
    best = np.full(n_groups, -np.inf)
    np.maximum.at(best, groups, appeal)
    return features, (appeal == best[groups]).astype(np.float64), groups


def test_the_weights_that_people_choose_by_are_found() -> None:
    known = np.array([2.0, -1.0, 0.5, 0.0])
    weights, loss = fit_softmax(*choices(known, 8000, seed=0), l2=1.0)
    assert weights == pytest.approx(known, abs=0.1)
    assert 0 < loss < np.log(9)


def test_gradient_and_curvature_are_those_of_the_loss() -> None:
    features, shares, groups = choices(np.array([1.0, -2.0, 0.3]), 40, seed=1)
    prior = np.array([0.5, 0.0, -1.0])
    found = _Choices(features, shares, groups, 0.7, prior)
    at, step = np.array([0.2, -0.4, 1.1]), 1e-5
    _, gradient = found.loss_and_gradient(at)
    for place, unit in enumerate(np.eye(3)):
        (above, slope_above), (below, slope_below) = (
            found.loss_and_gradient(at + sign * step * unit) for sign in (1, -1)
        )
        assert gradient[place] == pytest.approx((above - below) / (2 * step), abs=1e-7)
        assert found.curvature(at)[place] == pytest.approx((slope_above - slope_below) / (2 * step), abs=1e-7)


def test_weights_below_nothing_are_left_out_and_the_others_fitted_anew() -> None:
    features, shares, groups = choices(np.array([1.0, -2.0, 0.3]), 500, seed=2)
    weights, loss = fit_softmax(
        features, shares, groups, l2=1.0, never_negative=np.array([True, True, False])
    )
    alone, alone_loss = fit_softmax(features[:, [0, 2]], shares, groups, l2=1.0)
    assert weights[1] == 0
    assert weights[[0, 2]] == pytest.approx(alone, abs=1e-5)
    assert loss == pytest.approx(alone_loss)


def test_few_groups_stay_near_where_the_fit_begins() -> None:
    prior = np.array([3.0, 1.0])
    features, shares, groups = choices(np.array([-3.0, -1.0]), 5, seed=3)
    held, _ = fit_softmax(features, shares, groups, l2=1e6, prior=prior)
    free, _ = fit_softmax(features, shares, groups, l2=0.1, prior=prior)
    assert held == pytest.approx(prior, abs=1e-3)
    assert np.abs(free - prior).max() > 0.1


def test_huge_scores_overflow_nowhere() -> None:
    features, shares, groups = choices(np.array([1.0, 0.0]), 50, seed=4)
    weights, loss = fit_softmax(features * 1e4, shares, groups, l2=1.0)
    assert np.isfinite(weights).all()
    assert np.isfinite(loss)
