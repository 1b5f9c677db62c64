"""What the user has turned to lately: in a shop the strongest hint of all."""

import numpy as np

from contract.blending import BlendWeights
from training.candidates import Candidates, best_per_user, no_candidates
from training.interactions import IntArray, Interactions, rank_within
from training.moments import MILLISECONDS_A_DAY


class OwnItems:
    """A user's own items by the strength of their events, as the blend weighs them."""

    name = "own"

    def __init__(self, weights: BlendWeights) -> None:
        self.weights = weights
        self._strengths = no_candidates()

    def fit(self, events: Interactions, now: int) -> None:
        """Weigh and add up each user's latest events."""
        self._strengths = own_strengths(events, now, self.weights)

    def candidates(self, users: IntArray, per_user: int) -> Candidates:
        """The user's own items, strongest first."""
        strengths = self._strengths
        rows = np.isin(strengths.users, users) & (strengths.ranks() < per_user)
        return Candidates(strengths.users[rows], strengths.items[rows], strengths.scores[rows])


def own_strengths(events: Interactions, now: int, weights: BlendWeights) -> Candidates:
    """What `contract.blending` adds up for a visitor's own items, for all users at once."""
    if not len(events):
        return no_candidates()
    order = np.argsort(-events.users, kind="stable")[::-1]  # by user, within a user newest first
    ranks = rank_within(events.users[order])
    latest = ranks < weights.history_length
    order, ranks = order[latest], ranks[latest]
    ages = (now - events.timestamps[order]) / MILLISECONDS_A_DAY
    strengths = (
        events.weights(weights.event_weights, weights.other_event_weight)[order]
        * weights.rank_decay**ranks
        * 0.5 ** (ages / weights.half_life_days)
    )
    pairs = events.users[order].astype(np.int64) * len(events.item_ids) + events.items[order]
    distinct, rows = np.unique(pairs, return_inverse=True)
    users, items = np.divmod(distinct, len(events.item_ids))
    totals = np.bincount(rows, weights=strengths)
    return best_per_user(
        users.astype(np.int32), items.astype(np.int32), totals.astype(np.float32), weights.history_length
    )
