"""What the user has turned to: in a shop the strongest hint of all."""

from collections.abc import Mapping

import numpy as np

from training.candidates import Candidates, best_per_user, no_candidates
from training.interactions import IntArray, Interactions, rank_within
from training.moments import MILLISECONDS_A_DAY

HALF_LIFE_DAYS = 30.0
RANK_DECAY = 0.99
"""Factor from each of a user's events to the next older one."""
MOST_ITEMS = 200
"""Of a user, the strongest; what has more is a robot's."""


class OwnItems:
    """A user's own items by the strength of their events."""

    name = "own"

    def __init__(self, event_weights: Mapping[str, float]) -> None:
        self.event_weights = event_weights
        self._strengths = no_candidates()

    def fit(self, events: Interactions, now: int) -> None:
        """Weigh and add up each user's events."""
        self._strengths = own_strengths(events, now, self.event_weights)

    def candidates(self, users: IntArray, per_user: int) -> Candidates:
        """The user's own items, strongest first."""
        strengths = self._strengths
        rows = np.isin(strengths.users, users) & (strengths.ranks() < per_user)
        return Candidates(strengths.users[rows], strengths.items[rows], strengths.scores[rows])


def own_strengths(events: Interactions, now: int, event_weights: Mapping[str, float]) -> Candidates:
    """Each user's items by their events: each counts by its kind, its age, and its rank among the user's."""
    if not len(events):
        return no_candidates()
    order = np.argsort(-events.users, kind="stable")[::-1]  # by user, within a user newest first
    ages = (now - events.timestamps[order]) / MILLISECONDS_A_DAY
    strengths = (
        events.weights(event_weights, 1.0)[order]
        * RANK_DECAY ** rank_within(events.users[order])
        * 0.5 ** (ages / HALF_LIFE_DAYS)
    )
    pairs = events.users[order].astype(np.int64) * len(events.item_ids) + events.items[order]
    distinct, rows = np.unique(pairs, return_inverse=True)
    users, items = np.divmod(distinct, len(events.item_ids))
    totals = np.bincount(rows, weights=strengths)
    return best_per_user(
        users.astype(np.int32), items.astype(np.int32), totals.astype(np.float32), MOST_ITEMS
    )
