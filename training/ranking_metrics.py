"""Metrics of lists of ten, with binary relevance: one value a row, a row being one list and its truth.

Of a list its first ten items count; a shorter one is judged as if what is missing were wrong. All values
equal those of ranx but average precision, which is divided by what ten places can hold, min(10, |truth|), and
in ranx by |truth|: here a perfect list is worth 1 however long the truth is.

Items of a list are distinct, as all lists of this product are.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from training.interactions import BoolArray

K: Final = 10
METRICS: Final = (f"precision@{K}", f"recall@{K}", f"ndcg@{K}", f"map@{K}", f"hit_rate@{K}")

DoubleArray = npt.NDArray[np.float64]

_RANKS: Final = np.arange(1, K + 1)
_DISCOUNTS: Final = 1 / np.log2(_RANKS + 1)
_IDEAL_GAINS: Final = np.r_[0.0, np.cumsum(_DISCOUNTS)]


def hits_of(shown: Sequence[str], truth: Collection[str]) -> list[bool]:
    """For each of the first ten ranks whether the item there is in the truth; never fewer than ten."""
    hits = [item in truth for item in shown[:K]]
    return hits + [False] * (K - len(hits))


def row_values(hits: BoolArray, truths: npt.NDArray[np.integer]) -> dict[str, DoubleArray]:
    """The metrics, under `METRICS`, of n rows: `hits` is n × ten, `truths` how many items are right in each.

    - precision: hits / 10
    - recall: hits / |truth|
    - NDCG: gains discounted by log2(rank + 1), over those of the best list of at most ten (Järvelin and
      Kekäläinen, 2002)
    - MAP: precision at each hit's rank, added up, / min(10, |truth|)
    - hit rate: whether there is a hit

    Raises ValueError where there is no truth in a row: nothing can be judged by it.
    """
    if np.any(truths < 1):
        raise ValueError("a row without truth cannot be judged")
    found = hits.sum(axis=1)
    possible = np.minimum(K, truths)
    precision_at = np.cumsum(hits, axis=1) / _RANKS
    values = (
        found / K,
        found / truths,
        # Not by a matrix product, whose sums depend on the machine's threads.
        np.where(hits, _DISCOUNTS, 0.0).sum(axis=1) / _IDEAL_GAINS[possible],
        np.where(hits, precision_at, 0.0).sum(axis=1) / possible,
        (found > 0).astype(np.float64),
    )
    return dict(zip(METRICS, values, strict=True))


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
