"""What everybody buys: over all time, and by now."""

import numpy as np
import numpy.typing as npt

from training.candidates import Candidates
from training.interactions import FloatArray, IntArray, Interactions
from training.moments import MILLISECONDS_A_DAY

VIEW_SHARE = 1e-6
"""Of an event that is no target: it only orders items that nobody carts or buys."""

HALF_LIVES_DAYS = (7.0, 14.0, 28.0, 56.0, np.inf)
"""Memories of `RecentPopular`, from one that follows each fashion to one that forgets nothing."""


class Popular:
    """Items by their carts and purchases."""

    name = "popular"

    def __init__(self) -> None:
        self.items: IntArray = np.empty(0, np.int32)
        self.scores: FloatArray = np.empty(0, np.float32)

    def fit(self, events: Interactions, now: int) -> None:
        """Score items; ties are broken by views, then by item id."""
        scores = self.score(events, now)
        order = np.lexsort((np.arange(len(scores)), -scores))
        self.items = order[scores[order] > 0].astype(np.int32)
        self.scores = scores[self.items].astype(np.float32)

    def candidates(self, users: IntArray, per_user: int) -> Candidates:
        """The same items for every user."""
        items, scores = self.items[:per_user], self.scores[:per_user]
        return Candidates(
            np.repeat(users, len(items)), np.tile(items, len(users)), np.tile(scores, len(users))
        )

    def score(self, events: Interactions, now: int) -> npt.NDArray[np.float64]:
        """One score an item: how often it was carted or bought."""
        return remembered(events, now, np.inf)


class RecentPopular(Popular):
    """What is carted and bought by now.

    How fast a shop's fashions change is not known beforehand, and guessing it wrong costs much. So
    several memories vote, each with the square root of the share that an item has in it: an item that
    several of them know beats one that fills a single one.
    """

    name = "recent_popular"

    def score(self, events: Interactions, now: int) -> npt.NDArray[np.float64]:
        """The memories' votes, added up."""
        total = np.zeros(len(events.item_ids))
        for half_life in HALF_LIVES_DAYS:
            scores = remembered(events, now, half_life)
            total += np.sqrt(scores / max(scores.sum(), np.finfo(float).tiny))
        return total


def remembered(events: Interactions, now: int, half_life_days: float) -> npt.NDArray[np.float64]:
    """Each item's carts and purchases, those a half-life ago counting half."""
    ages = (now - events.timestamps) / MILLISECONDS_A_DAY
    weights = np.where(events.is_target, 1.0, VIEW_SHARE) * 0.5 ** (ages / half_life_days)
    totals = np.bincount(events.items, weights=weights, minlength=len(events.item_ids))
    return totals.astype(np.float64)
