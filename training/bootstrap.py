"""How sure a mean is: intervals by bootstrap over users, and what many comparisons at once leave of it.

A user's rows of all windows belong together, so users are drawn and bring all their rows with them (cluster
bootstrap; Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). Intervals are
those of the percentiles (there, section 5.3.1), at 95 %. Of one user alone there is nothing to draw: low and
high are the value then, and only the number of users tells that this is no certainty.

Users whose rows add up to the same are drawn as one group, by the multinomial distribution of the groups'
sizes. That is the same distribution, at the cost of the distinct users alone, and most users look alike:
nothing of theirs was found.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DRAWS = 2_000
CONFIDENCE = 0.95
CELLS_AT_ONCE = 4_000_000
"""Of the matrix of draws × groups: 32 MB."""

FEW_COLUMNS = 8
"""From more on, rows are told apart by their bytes."""

Values = npt.NDArray[np.floating]
Users = npt.NDArray[np.integer]
DoubleArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate, and where 95 of 100 such samples of users would have put it."""

    value: float
    low: float
    high: float


class UndefinedRatioError(ValueError):
    """What is divided by is zero, in the sample or in too many of its draws."""


def mean_interval(values: Values, users: Users, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The mean of `values`, one a row; `users` (of the same length) are the numbers of the rows' users.

    This and the functions below raise ValueError where there is no row, where the arrays differ in length,
    or where a value isn't finite. The same values and seed give the same interval.
    """
    drawn = _drawn_means(users, values, draws=draws, seed=seed)
    return _percentiles(float(np.mean(values)), drawn[:, 0])


def mean_intervals(
    columns: Sequence[Values], users: Users, *, draws: int = DRAWS, seed: int = 0
) -> list[Interval]:
    """The mean of each of many columns, all of the same rows and over the same draws.

    Far cheaper than one after the other where there are many. The draws are others than those of
    `mean_interval`, so the ends differ by what is left to chance.
    """
    values = [float(np.mean(column)) for column in columns]
    drawn = _drawn_means(users, *columns, draws=draws, seed=seed) if columns else np.empty((draws, 0))
    return [_percentiles(value, means) for value, means in zip(values, drawn.T, strict=True)]


def paired_difference(
    ours: Values, theirs: Values, users: Users, *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """mean(ours) − mean(theirs), both of the same rows."""
    difference = _difference(ours, theirs)
    return mean_interval(difference, users, draws=draws, seed=seed)


def unpaired_difference(
    ours: Values, our_users: Users, theirs: Values, their_users: Users, *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """mean(ours) − mean(theirs) of two samples of users, each drawn by itself."""
    drawn = _drawn_means(our_users, ours, draws=draws, seed=seed)
    others = _drawn_means(their_users, theirs, draws=draws, seed=seed + 1)
    return _percentiles(float(np.mean(ours) - np.mean(theirs)), drawn[:, 0] - others[:, 0])


def paired_ratio(
    ours: Values, theirs: Values, users: Users, *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """mean(ours) / mean(theirs), both of the same rows and, in each draw, of the same users.

    A draw in which `theirs` is zero counts as larger than every other, whatever `ours` is. Raises
    UndefinedRatioError where so many are that `high` would be one of them, or where `theirs` is zero in all
    rows; neither infinity nor NaN is ever returned.
    """
    drawn = _drawn_means(users, ours, theirs, draws=draws, seed=seed)
    denominator = float(np.mean(theirs))
    if denominator == 0:
        raise UndefinedRatioError("there is no ratio to a mean of zero")
    ratios = np.full(draws, np.inf)
    np.divide(drawn[:, 0], drawn[:, 1], out=ratios, where=drawn[:, 1] != 0)
    interval = _percentiles(float(np.mean(ours)) / denominator, ratios)
    if not np.isfinite(interval.high):
        raise UndefinedRatioError(
            f"there is no ratio to a mean that is zero in {np.mean(drawn[:, 1] == 0):.1%} of the draws: "
            f"too few of {len(np.unique(users)):,} users count"
        )
    return interval


def p_value_greater(
    ours: Values, theirs: Values, users: Users, *, draws: int = DRAWS, seed: int = 0
) -> float:
    """How little speaks for mean(ours) > mean(theirs), one-sided: the share of draws where it isn't greater.

    Never zero: the sample itself counts as one more draw (Davison and Hinkley, section 4.2.1), so the
    least is 1 / (draws + 1).
    """
    drawn = _drawn_means(users, _difference(ours, theirs), draws=draws, seed=seed)
    return float((1 + np.sum(drawn <= 0)) / (1 + draws))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P-values adjusted for there being several (Holm, 1979), under their names and in their order.

    One below 0.05 is significant at a level of 5 % for all of them together.
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for position, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - position) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def _difference(ours: Values, theirs: Values) -> DoubleArray:
    _check_same_length(ours, theirs)
    return np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)


def _drawn_means(users: Users, *columns: Values, draws: int, seed: int) -> DoubleArray:
    """Draws × columns: the mean of each column in each draw."""
    sums, sizes = _groups(users, columns)
    means = [
        # No matrix product: its sums depend on how many threads the linear algebra takes.
        np.einsum("dg,gc->dc", counts, sums[:, 1:]) / np.einsum("dg,g->d", counts, sums[:, 0])[:, None]
        for counts in _drawn_counts(sizes, draws=draws, seed=seed)
    ]
    return np.concatenate(means)


def _groups(users: Users, columns: tuple[Values, ...]) -> tuple[DoubleArray, npt.NDArray[np.int64]]:
    """Of each group of users who look alike: rows and sums of the columns of one of them, and how many."""
    for column in columns:
        _check_same_length(column, users)
        if not np.isfinite(column).all():
            raise ValueError("a value is not a finite number")
    if not len(users):
        raise ValueError("there is no row to take a mean of")
    _, numbers, rows = np.unique(users, return_inverse=True, return_counts=True)
    of_users = [rows.astype(np.float64), *(np.bincount(numbers, weights=column) for column in columns)]
    if len(of_users) <= FEW_COLUMNS:
        return np.unique(np.column_stack(of_users), axis=0, return_counts=True)
    return _distinct_rows(np.column_stack(of_users))


def _distinct_rows(matrix: DoubleArray) -> tuple[DoubleArray, npt.NDArray[np.int64]]:
    """What np.unique gives, in another order: bytes are compared far quicker than number after number."""
    matrix = np.ascontiguousarray(matrix + 0.0)  # 0.0 and −0.0 differ in their bytes
    as_bytes = matrix.view(np.dtype((np.void, matrix.itemsize * matrix.shape[1])))[:, 0]
    _, first, sizes = np.unique(as_bytes, return_index=True, return_counts=True)
    return matrix[first], sizes


def _drawn_counts(sizes: npt.NDArray[np.int64], *, draws: int, seed: int) -> Iterator[DoubleArray]:
    """How often each group comes in a draw of as many users as there are: draws × groups, in blocks."""
    random = np.random.default_rng(seed)
    n_users = int(sizes.sum())
    at_once = max(1, CELLS_AT_ONCE // len(sizes))
    for first in range(0, draws, at_once):
        size = min(at_once, draws - first)
        yield random.multinomial(n_users, sizes / n_users, size=size).astype(np.float64)


def _percentiles(value: float, drawn: DoubleArray) -> Interval:
    """The interval between draws themselves: nothing is interpolated, so an infinite one harms no other."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], method="inverted_cdf")
    return Interval(value, float(low), float(high))


def _check_same_length(left: npt.NDArray[np.generic], right: npt.NDArray[np.generic]) -> None:
    if left.shape != right.shape or left.ndim != 1:
        raise ValueError(f"expected one value a row, found arrays of {left.shape} and {right.shape}")
