"""Items that are new: by what the first people made of them, in the categories that the user turns to."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from training.candidates import Candidates, best_per_user, no_candidates
from training.candidates.category import category_tastes, from_lists
from training.candidates.similar_items import as_matrix
from training.interactions import BoolArray, IntArray, Interactions, LongArray
from training.moments import MILLISECONDS_A_DAY
from training.shop_items import ShopItems

NEW_DAYS: Final = 14.0
"""How long an item is new after its first event; where the events span less than twice that, half of it."""
SHARE_OF_EVERYTHING: Final = 0.1
"""What the whole shop's new items get beside those of the user's categories, which share 1."""
MOST_CHANCE: Final = 0.001
"""By how much of itself a score may be raised by chance, anew each day: of what nobody has seen there may
be very many, and a fixed order would only ever show the same."""

Floats = npt.NDArray[np.float64]

_NEVER: Final = np.iinfo(np.int64).max


class NewItems:
    """New items by how fast they gather interest, times the user's taste for their category.

    New is what had its first event lately, and what the catalogue has and no event yet.
    """

    name = "new_items"

    def __init__(self, event_weights: Mapping[str, float], items: ShopItems, *, per_category: int) -> None:
        self.event_weights = event_weights
        self.items = items
        self.per_category = per_category
        self._tastes: sp.csr_array | None = None
        self._lists: sp.csr_array | None = None

    def fit(self, events: Interactions, now: int) -> None:
        """Find the new items, and rank them in each category and over everything."""
        if not len(events):
            return
        first = _first_moments(events, len(self.items))
        new = np.flatnonzero(self._is_new(events, first, now))
        rates = self._rates(events, new, first, now)
        lineage = self.items.lineage(self.items.categories[new])
        everything = len(self.items.category_ids)
        listed = best_per_user(
            np.r_[lineage.categories, np.full(len(new), everything)].astype(np.int32),
            np.r_[new[lineage.rows], new].astype(np.int32),
            np.r_[rates[lineage.rows], rates].astype(np.float32),
            self.per_category,
        )
        self._lists = as_matrix([listed], (everything + 1, len(self.items)))
        self._tastes = self._shares(events, now)

    def candidates(self, users: IntArray, per_user: int) -> Candidates:
        """The new items of the user's categories, and after them those of the whole shop."""
        if self._tastes is None or self._lists is None:
            return no_candidates()
        return from_lists(self._tastes, self._lists, users, per_user)

    def _is_new(self, events: Interactions, first: LongArray, now: int) -> BoolArray:
        span = now - int(events.timestamps[0])
        since = now - min(NEW_DAYS * MILLISECONDS_A_DAY, span / 2)
        is_listed = np.arange(len(self.items)) >= self.items.n_known
        is_new: BoolArray = (first >= since) & ((first < _NEVER) | is_listed)
        return is_new & ~self.items.unavailable_at(events, now)

    def _rates(self, events: Interactions, new: LongArray, first: LongArray, now: int) -> Floats:
        """Interest a day of each new item, drawn to the mean of all; 1 at the most.

        How long an item without an event has been there nobody knows: it is taken to have been there in
        vain for half of `NEW_DAYS`.
        """
        interest = self._interest(events, new)
        is_seen = first[new] < _NEVER
        days = np.where(is_seen, (now - first[new]) / MILLISECONDS_A_DAY, NEW_DAYS / 2)
        mean = interest.sum() / (days[is_seen] + 1).sum() if interest.any() else 1.0
        rates = (interest + mean) / (days + 1)
        day = max(0, now // MILLISECONDS_A_DAY)
        chance = np.random.default_rng(day).random(len(new))
        rates *= 1 + MOST_CHANCE * chance
        relative: Floats = rates / rates.max(initial=np.finfo(float).tiny)
        return relative

    def _interest(self, events: Interactions, new: LongArray) -> Floats:
        """What each new item's events weigh, several of one user and kind once."""
        places = np.full(len(self.items), -1, np.int64)
        places[new] = np.arange(len(new))
        of_new = events.where(places[events.items] >= 0)
        keys = (places[of_new.items] * len(events.user_ids) + of_new.users) * len(
            events.event_type_names
        ) + of_new.event_types
        _, rows = np.unique(keys, return_index=True)
        weights = of_new.weights(self.event_weights, 1.0)[rows]
        return np.bincount(
            places[of_new.items[rows]], weights=np.maximum(weights, 0), minlength=len(new)
        ).astype(np.float64)

    def _shares(self, events: Interactions, now: int) -> sp.csr_array:
        """Users × categories, each user's tastes adding up to 1, and a last column for everything."""
        tastes = category_tastes(events, self.items, now=now, event_weights=self.event_weights)
        n_users = len(events.user_ids)
        totals = np.bincount(tastes.users, weights=tastes.scores, minlength=n_users)
        everyone = np.arange(n_users, dtype=np.int32)
        rows = Candidates(
            np.r_[tastes.users, everyone],
            np.r_[tastes.items, np.full(n_users, len(self.items.category_ids))].astype(np.int32),
            np.r_[tastes.scores / totals[tastes.users], np.full(n_users, SHARE_OF_EVERYTHING)].astype(
                np.float32
            ),
        )
        return as_matrix([rows], (n_users, len(self.items.category_ids) + 1))


def _first_moments(events: Interactions, n_items: int) -> LongArray:
    """The moment of each item's first event, ms UTC; `_NEVER` where it has none."""
    first = np.full(n_items, _NEVER, np.int64)
    np.minimum.at(first, events.items, events.timestamps)
    return first
