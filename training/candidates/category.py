"""What is bought by now in the categories that a user turned to lately: items that they may not know yet."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import scipy.sparse as sp

from training.candidates import Candidates, best_per_user, no_candidates
from training.candidates.own_items import own_strengths
from training.candidates.pool import relative_to_best
from training.candidates.similar_items import as_matrix
from training.interactions import IntArray, Interactions
from training.popular_by_category import popular_by_category
from training.shop_items import ShopItems

CATEGORIES_A_USER: Final = 5
"""Those that a user turned to most; with the items of each they bound the memory."""
SHARE_OF_PARENT: Final = 0.25
"""What an item's own category gives on to the one above it."""
USERS_AT_ONCE: Final = 4096


class CategorySource:
    """Items popular by now within the user's categories, by how much the user turned to these."""

    name = "category"

    def __init__(self, event_weights: Mapping[str, float], items: ShopItems, *, per_category: int) -> None:
        self.event_weights = event_weights
        self.items = items
        self.per_category = per_category
        self._tastes: sp.csr_array | None = None
        self._lists: sp.csr_array | None = None

    def fit(self, events: Interactions, now: int) -> None:
        """Rank the available items of each category, and each user's categories."""
        popular = popular_by_category(
            events,
            self.items,
            now=now,
            available=~self.items.unavailable_at(events, now),
            length=self.per_category,
        )
        n_categories = len(self.items.category_ids)
        tastes = category_tastes(events, self.items, now=now, event_weights=self.event_weights)
        self._tastes = as_matrix([tastes], (len(events.user_ids), n_categories))
        relative = Candidates(popular.users, popular.items, relative_to_best(popular))
        self._lists = as_matrix([relative], (n_categories, len(self.items)))

    def candidates(self, users: IntArray, per_user: int) -> Candidates:
        """Each category's items by their share of its best one's score, times the user's taste."""
        if self._tastes is None or self._lists is None:
            return no_candidates()
        return from_lists(self._tastes, self._lists, users, per_user)


def category_tastes(
    events: Interactions, items: ShopItems, *, now: int, event_weights: Mapping[str, float]
) -> Candidates:
    """(user, category, strength), at most `CATEGORIES_A_USER` a user, where `Candidates` says item.

    An item lends its strength among the user's own to its category and a part of it to those above.
    """
    own = own_strengths(events, now, event_weights)
    lineage = items.lineage(items.categories[own.items])
    n_categories = max(1, len(items.category_ids))
    keys = own.users[lineage.rows].astype(np.int64) * n_categories + lineage.categories
    pairs, rows = np.unique(keys, return_inverse=True)
    lent = own.scores[lineage.rows] * SHARE_OF_PARENT ** lineage.levels.astype(np.float64)
    strengths = np.bincount(rows, weights=lent, minlength=len(pairs))
    users, categories = np.divmod(pairs[strengths > 0], n_categories)
    return best_per_user(
        users.astype(np.int32),
        categories.astype(np.int32),
        strengths[strengths > 0].astype(np.float32),
        CATEGORIES_A_USER,
    )


def from_lists(tastes: sp.csr_array, lists: sp.csr_array, users: IntArray, per_user: int) -> Candidates:
    """The items of each category's list, weighed by the user's taste for the category, added up.

    `tastes` is users × categories, `lists` is categories × items.
    """
    found = [no_candidates()]
    for start in range(0, len(users), USERS_AT_ONCE):
        batch = users[start : start + USERS_AT_ONCE]
        scores = (tastes[batch] @ lists).tocoo()
        rows, items = scores.coords
        found.append(best_per_user(batch[rows], items.astype(np.int32), scores.data, per_user))
    return Candidates(
        np.concatenate([each.users for each in found]),
        np.concatenate([each.items for each in found]),
        np.concatenate([each.scores for each in found]),
    )
