"""What everybody buys by now within each category, and within all that lies below it."""

import numpy as np

from training.candidates import Candidates, best_per_user
from training.candidates.popular import HALF_LIVES_DAYS, remembered
from training.interactions import BoolArray, Interactions
from training.shop_items import ShopItems


def popular_by_category(
    events: Interactions, items: ShopItems, *, now: int, available: BoolArray, length: int
) -> Candidates:
    """At most `length` items for each category, keyed by category where `Candidates` says user.

    Scores are those that `RecentPopular` would give in a shop of the category's items alone: each memory
    votes with the square root of an item's share in the category. Only the `available` are shown, a flag
    an item. `events` are all older than `now`, ms UTC.
    """
    lineage = items.lineage(items.categories[: len(events.item_ids)])
    votes = np.zeros(len(lineage.rows))
    for half_life in HALF_LIVES_DAYS:
        scores = remembered(events, now, half_life)[lineage.rows]
        totals = np.bincount(lineage.categories, weights=scores)
        votes += np.sqrt(scores / np.maximum(totals[lineage.categories], np.finfo(float).tiny))
    shown = (votes > 0) & available[lineage.rows]
    return best_per_user(
        lineage.categories[shown],
        lineage.rows[shown].astype(np.int32),
        votes[shown].astype(np.float32),
        length,
    )
