"""What was carted and bought lately: within windows that end now, in the whole shop and in each category."""

import numpy as np

from contract.recommendations import TRENDING_WINDOWS
from training.candidates import Candidates, best_per_user
from training.interactions import BoolArray, Interactions
from training.moments import MILLISECONDS_A_DAY
from training.shop_items import ShopItems


def trending(
    events: Interactions, items: ShopItems, *, now: int, available: BoolArray, length: int
) -> dict[str, Candidates]:
    """At most `length` items for each category, by window of `contract.recommendations.TRENDING_WINDOWS`.

    Keyed, where `Candidates` says user, by 0 for the whole shop and by a category's number and 1 for that and
    all below it. A score is how often an item was carted or bought within the window; items that weren't are
    in no list. Only the `available` are shown, a flag an item. `events` are all older than `now`, ms UTC. A
    window that begins before they do holds all of them.
    """
    lineage = items.lineage(items.categories[: len(events.item_ids)])
    rows = np.r_[np.arange(len(events.item_ids)), lineage.rows]
    keys = np.r_[np.zeros(len(events.item_ids), np.int32), lineage.categories + 1].astype(np.int32)
    found = {}
    for window, days in TRENDING_WINDOWS.items():
        is_counted = events.is_target & (events.timestamps >= now - days * MILLISECONDS_A_DAY)
        counts = np.bincount(events.items[is_counted], minlength=len(events.item_ids))[rows]
        shown = (counts > 0) & available[rows]
        found[window] = best_per_user(
            keys[shown], rows[shown].astype(np.int32), counts[shown].astype(np.float32), length
        )
    return found
