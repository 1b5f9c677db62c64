"""Whether this shop's people buy the same thing again, so that bought items are worth showing."""

import numpy as np
import numpy.typing as npt

from contract.events import PURCHASE
from training.interactions import BoolArray, Interactions, LongArray

WORTH_SHOWING = 0.02
"""Share of carts and purchases that return to a bought item, above which bought items stay in answers.

About what a slot at the end of a list of ten is worth when it shows something else.
"""
MINIMUM_TARGETS = 50
AN_HOUR = 3_600_000


def repurchase_share(events: Interactions) -> float | None:
    """Of the carts and purchases by people who had bought before: the share that hits a bought item.

    What follows the purchase within the hour belongs to it and doesn't count. None where there are too
    few to tell.
    """
    targets = events.where(events.is_target)
    is_purchase = np.array([name == PURCHASE for name in targets.event_type_names])[targets.event_types]
    first_by_user = _first(targets.users[is_purchase], targets.timestamps[is_purchase])
    pairs = targets.users.astype(np.int64) * max(1, len(targets.item_ids)) + targets.items
    first_by_pair = _first(pairs[is_purchase], targets.timestamps[is_purchase])
    after_user = _an_hour_after(targets.users, targets.timestamps, first_by_user)
    after_pair = _an_hour_after(pairs, targets.timestamps, first_by_pair)
    if after_user.sum() < MINIMUM_TARGETS:
        return None
    return float(after_pair.sum() / after_user.sum())


def is_repurchase_worth_showing(events: Interactions) -> bool:
    """Whether answers should keep what the visitor has bought; where too little is known, they should."""
    share = repurchase_share(events)
    return share is None or share >= WORTH_SHOWING


def _first(keys: npt.NDArray[np.integer], timestamps: LongArray) -> tuple[npt.NDArray[np.integer], LongArray]:
    """The distinct keys, and the first moment of each; rows come oldest first."""
    distinct, rows = np.unique(keys, return_index=True)
    return distinct, timestamps[rows]


def _an_hour_after(
    keys: npt.NDArray[np.integer], timestamps: LongArray, first: tuple[npt.NDArray[np.integer], LongArray]
) -> BoolArray:
    """Which rows come an hour or more after the first moment of their key."""
    distinct, moments = first
    if not len(distinct):
        return np.zeros(len(keys), dtype=np.bool_)
    places = np.searchsorted(distinct, keys).clip(max=len(distinct) - 1)
    late: BoolArray = (distinct[places] == keys) & (timestamps >= moments[places] + AN_HOUR)
    return late
