"""Visits: a user's events with no gap of more than half an hour between one and the next."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from training.interactions import Interactions, LongArray, rank_within

GAP_MS = 30 * 60_000
LONGEST_VISIT = 100
"""Distinct items of a visit that count, the latest ones: what has more is a robot's."""


@dataclass(frozen=True)
class Visits:
    """All visits, by user and time."""

    matrix: sp.csr_array
    """Visits × items, 1 where the visit has the item."""
    ends: LongArray
    """The moment of each visit's last event, ms UTC."""


def visits_of(events: Interactions) -> Visits:
    """Cut each user's events into visits."""
    n_items = len(events.item_ids)
    order = np.argsort(events.users, kind="stable")
    users, items, moments = events.users[order], events.items[order], events.timestamps[order]
    if not len(order):
        nothing = np.empty(0, dtype=np.int64)
        empty = sp.coo_array((nothing.astype(np.float32), (nothing, nothing)), shape=(0, n_items))
        return Visits(empty.tocsr(), nothing)
    begins = np.r_[True, (users[1:] != users[:-1]) | (np.diff(moments) > GAP_MS)]
    numbers = np.cumsum(begins) - 1
    # Newest first within a visit, each item once.
    _, newest = np.unique(numbers[::-1] * n_items + items[::-1], return_index=True)
    kept = np.sort(len(numbers) - 1 - newest)[::-1]
    kept = kept[rank_within(numbers[kept]) < LONGEST_VISIT][::-1]
    ones = np.ones(len(kept), dtype=np.float32)
    shape = (int(numbers[-1]) + 1, n_items)
    return Visits(
        matrix=sp.coo_array((ones, (numbers[kept], items[kept])), shape=shape).tocsr(),
        ends=moments[np.r_[np.flatnonzero(begins)[1:] - 1, len(moments) - 1]],
    )
