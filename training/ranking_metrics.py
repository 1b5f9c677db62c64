"""Metrics of lists' first k items, with binary relevance: a value a row, a row being a list and its truth.

A list of fewer than k is judged as if what is missing were wrong. All values equal those of ranx but average
precision, which is divided by what k places can hold, min(k, |truth|), and in ranx by |truth|: here a perfect
list is worth 1 however long the truth is.

Items of a list are distinct, as all lists of this product are.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from training.interactions import BoolArray

K: Final = 10
DEPTH: Final = 20
"""How far down a list is looked, to tell what another K would have shown."""

DoubleArray = npt.NDArray[np.float64]
IntegerArray = npt.NDArray[np.integer]


def precision(hits: BoolArray, truths: IntegerArray) -> DoubleArray:  # noqa: ARG001 - as all metrics
    """Hits / k."""
    values: DoubleArray = hits.mean(axis=1)
    return values


def recall(hits: BoolArray, truths: IntegerArray) -> DoubleArray:
    """Hits / |truth|."""
    values: DoubleArray = hits.sum(axis=1) / truths
    return values


def ndcg(hits: BoolArray, truths: IntegerArray) -> DoubleArray:
    """Gains discounted by log2(rank + 1), over those of the best list of k (Järvelin, Kekäläinen, 2002)."""
    discounts = 1 / np.log2(np.arange(hits.shape[1]) + 2)
    ideal = np.r_[0.0, np.cumsum(discounts)]
    # Not by a matrix product, whose sums depend on the machine's threads.
    gains = np.where(hits, discounts, 0.0).sum(axis=1)
    values: DoubleArray = gains / ideal[np.minimum(hits.shape[1], truths)]
    return values


def average_precision(hits: BoolArray, truths: IntegerArray) -> DoubleArray:
    """Precision at each hit's rank, added up, / min(k, |truth|)."""
    at_rank = np.cumsum(hits, axis=1) / (np.arange(hits.shape[1]) + 1)
    values: DoubleArray = np.where(hits, at_rank, 0.0).sum(axis=1) / np.minimum(hits.shape[1], truths)
    return values


def hit_rate(hits: BoolArray, truths: IntegerArray) -> DoubleArray:  # noqa: ARG001 - as all metrics
    """Whether there is a hit."""
    values: DoubleArray = (hits.sum(axis=1) > 0).astype(np.float64)
    return values


ListMetric = Callable[[BoolArray, IntegerArray], DoubleArray]
"""From `hits`, n × k, and how many items are right in each of the n lists, at least 1, to n values."""

LIST_METRICS: Final[dict[str, ListMetric]] = {
    "precision": precision,
    "recall": recall,
    "ndcg": ndcg,
    "map": average_precision,
    "hit_rate": hit_rate,
}
"""What every list is judged by; a new metric is a function that is added here."""

METRICS: Final = tuple(f"{name}@{K}" for name in LIST_METRICS)


def hits_of(shown: Sequence[str], truth: Collection[str], k: int = K) -> list[bool]:
    """For each of the first k ranks whether the item there is in the truth; never fewer than k."""
    hits = [item in truth for item in shown[:k]]
    return hits + [False] * (k - len(hits))


def row_values(hits: BoolArray, truths: IntegerArray, k: int = K) -> dict[str, DoubleArray]:
    """The metrics at k of n rows: `hits` is n × at least k, `truths` how many items are right in each.

    Raises ValueError where there is no truth in a row: nothing can be judged by it.
    """
    if np.any(truths < 1):
        raise ValueError("a row without truth cannot be judged")
    return {f"{name}@{k}": metric(hits[:, :k], truths) for name, metric in LIST_METRICS.items()}


def coverage(shown: Collection[str], known: Collection[str]) -> float | None:
    """The share of the known items that were shown to anyone; None where none is known."""
    return len(set(shown) & set(known)) / len(known) if known else None


def novelty(shown: Mapping[str, int], users_by_item: Mapping[str, int], users: int) -> float | None:
    """How little known is what was shown: the mean of −log2(share of the users who know the item).

    `shown` is how often each item was, `users` how many there were before. An item that none of them knew
    counts as if less than one did: 1 / (users + 1). None where nothing was shown. (Vargas and Castells,
    2011, their "mean self-information".)
    """
    times = sum(shown.values())
    if not times:
        return None
    # Sorted, so that the sum is the same in whatever order the items came.
    items = sorted(shown)
    known_by = np.array([users_by_item.get(item, 0) for item in items], dtype=np.float64)
    share = np.where(known_by > 0, known_by / max(users, 1), 1 / (users + 1))
    weights = np.array([shown[item] for item in items], dtype=np.float64)
    return max(0.0, float(np.sum(weights * -np.log2(share)) / times))
