"""Candidates with all that features are made of."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.candidates.pool import Pool
from training.features.aggregates import SECONDS_A_DAY, Aggregates
from training.interactions import FloatArray, Interactions, LongArray, rank_within
from training.moments import MILLISECONDS_A_DAY

Floats = npt.NDArray[np.floating]

MEMORIES_DAYS = (2.0, 14.0, 90.0)
"""Half-lives of the decayed strengths of a pair."""
NEVER_DAYS = 1000.0
"""The age of what never happened."""


@dataclass(frozen=True)
class Known:
    """All that features are made of; everything in it happened before `aggregates.now`."""

    events: Interactions
    aggregates: Aggregates
    strengths: dict[float, FloatArray]
    """By half-life in days: a pair's events, each counted by its age; rows as `aggregates.pair_keys`."""
    recency_ranks: LongArray
    """Of a pair among the pairs of its user, 0 for the latest; rows as `aggregates.pair_keys`."""


@dataclass(frozen=True)
class Rows:
    """Candidates, with the place of each pair among the known ones."""

    pool: Pool
    known: Known
    places: LongArray
    """Into `aggregates.pair_keys`; meaningless where not `is_own`."""
    is_own: npt.NDArray[np.bool_]

    def pair(self, name: str, missing: float) -> Floats:
        """A column of the pairs, `missing` for pairs without an event."""
        return self.own(self.known.aggregates.pairs[name], missing)

    def own(self, values: npt.NDArray[np.generic], missing: float) -> Floats:
        """Values of pairs, `missing` for pairs without an event."""
        if not len(values):
            return np.full(len(self.pool), missing, dtype=np.float32)
        return np.where(self.is_own, values[self.places], missing).astype(np.float32)

    def item(self, name: str) -> Floats:
        """A column of the items."""
        return self.known.aggregates.items[name][self.pool.items].astype(np.float32)

    def user(self, name: str) -> Floats:
        """A column of the users."""
        return self.known.aggregates.users[name][self.pool.users].astype(np.float32)


def known(events: Interactions, aggregates: Aggregates) -> Known:
    """Add to the counts what takes sums of floats, in an order that never changes."""
    n_items = len(events.item_ids)
    places = np.searchsorted(aggregates.pair_keys, events.users.astype(np.int64) * n_items + events.items)
    ages = (aggregates.now - events.timestamps) / MILLISECONDS_A_DAY
    n_pairs = len(aggregates.pair_keys)
    strengths = {
        half_life: np.bincount(places, 0.5 ** (ages / half_life), minlength=n_pairs).astype(np.float32)
        for half_life in MEMORIES_DAYS
    }
    users = aggregates.pair_keys // max(n_items, 1)
    order = np.lexsort((aggregates.pairs["last_age"], users))
    ranks = np.empty(n_pairs, dtype=np.int64)
    ranks[order] = rank_within(users[order])
    return Known(events, aggregates, strengths, ranks)


def rows_of(pool: Pool, known: Known) -> Rows:
    """Find each candidate among the known pairs."""
    keys = known.aggregates.pair_keys
    places = np.searchsorted(keys, pool.keys).clip(max=max(len(keys) - 1, 0))
    is_own = keys[places] == pool.keys if len(keys) else np.zeros(len(pool), dtype=np.bool_)
    return Rows(pool, known, places, is_own)


def in_days(ages: Floats) -> Floats:
    """Ages in seconds as days; `NEVER_DAYS` for one below 0, of what never happened."""
    return np.where(ages >= 0, ages / SECONDS_A_DAY, NEVER_DAYS).astype(np.float32)
