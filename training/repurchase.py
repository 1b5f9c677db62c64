"""Whether this shop's people buy the same thing again, so that bought items are worth showing.

Decided for the shop and for the categories that are unlike it: coffee is bought again, a sofa isn't.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from contract.events import PURCHASE
from training.interactions import BoolArray, IntArray, Interactions, LongArray
from training.shop_items import NOWHERE, ShopItems

WORTH_SHOWING = 0.02
"""Share of carts and purchases that return to a bought item, above which bought items stay in answers.

About what a slot at the end of a list of ten is worth when it shows something else.
"""
MINIMUM_TARGETS = 50
"""With fewer carts and purchases nothing is told of a shop; a category goes by the one above it, then."""
PRIOR_TARGETS = 10
"""With so many of the category above, or of the shop, a category's own are mixed."""
AN_HOUR = 3_600_000

Shares = npt.NDArray[np.float64]


class _Returns(NamedTuple):
    """By group of items: carts and purchases by people who had bought of the group before."""

    targets: LongArray
    returned: LongArray
    """How many of them hit the very item that was bought."""


def repurchase_share(events: Interactions) -> float | None:
    """Of the carts and purchases by people who had bought before: the share that hits a bought item.

    What follows the purchase within the hour belongs to it and doesn't count. None where there are too
    few to tell.
    """
    everything = _returns(events, np.arange(len(events)), np.zeros(len(events), np.int32), n_groups=1)
    if everything.targets[0] < MINIMUM_TARGETS:
        return None
    return float(everything.returned[0] / everything.targets[0])


def is_repurchase_worth_showing(events: Interactions) -> bool:
    """Whether answers should keep what the visitor has bought; where too little is known, they should."""
    share = repurchase_share(events)
    return share is None or share >= WORTH_SHOWING


def exclude_purchased_by_category(events: Interactions, items: ShopItems) -> dict[str, bool]:
    """Whether answers leave out what the visitor has bought, for categories unlike the shop, by id.

    Within a category the same share is looked at, over all that lies below it: carts and purchases
    there, by people who had bought there. It is mixed with that of the category above.
    """
    share = repurchase_share(events)
    if share is None or not len(items.category_ids):
        return {}
    lineage = items.lineage(items.categories[events.items])
    oldest_first = np.argsort(lineage.rows, kind="stable")
    rows, categories = lineage.rows[oldest_first], lineage.categories[oldest_first]
    returns = _returns(events, rows, categories, n_groups=len(items.category_ids))
    is_excluded = _mixed_shares(returns, items, share) < WORTH_SHOWING
    unlike = np.flatnonzero(is_excluded != (share < WORTH_SHOWING))
    return {items.category_ids[category]: bool(is_excluded[category]) for category in unlike}


def _returns(events: Interactions, rows: LongArray, groups: IntArray, *, n_groups: int) -> _Returns:
    """Of the events in `rows`, oldest first, each in its group."""
    is_purchase = np.array([name == PURCHASE for name in events.event_type_names], np.bool_)[
        events.event_types
    ]
    wanted = (events.is_target | is_purchase)[rows]
    rows, groups = rows[wanted], groups[wanted]
    bought, timestamps = is_purchase[rows], events.timestamps[rows]
    users = events.users[rows].astype(np.int64)
    visits, pairs = users * n_groups + groups, users * max(1, len(events.item_ids)) + events.items[rows]
    is_target = events.is_target[rows]
    is_later = is_target & _an_hour_after(visits, timestamps, _first(visits[bought], timestamps[bought]))
    is_return = is_target & _an_hour_after(pairs, timestamps, _first(pairs[bought], timestamps[bought]))
    return _Returns(
        np.bincount(groups[is_later], minlength=n_groups),
        np.bincount(groups[is_return], minlength=n_groups),
    )


def _mixed_shares(returns: _Returns, items: ShopItems, shop: float) -> Shares:
    """Of each category, those above before those below."""
    shares = np.full(len(items.category_ids), shop)
    for categories in items.category_levels():
        parents = items.parents[categories]
        above = np.where(parents == NOWHERE, shop, shares[parents])
        targets, returned = returns.targets[categories], returns.returned[categories]
        mixed = (returned + PRIOR_TARGETS * above) / (targets + PRIOR_TARGETS)
        shares[categories] = np.where(targets >= MINIMUM_TARGETS, mixed, above)
    return shares


def _first(keys: LongArray, timestamps: LongArray) -> tuple[LongArray, LongArray]:
    """The distinct keys, and the first moment of each; rows come oldest first."""
    distinct, rows = np.unique(keys, return_index=True)
    return distinct, timestamps[rows]


def _an_hour_after(keys: LongArray, timestamps: LongArray, first: tuple[LongArray, LongArray]) -> BoolArray:
    """Which rows come an hour or more after the first moment of their key."""
    distinct, moments = first
    if not len(distinct):
        return np.zeros(len(keys), dtype=np.bool_)
    places = np.searchsorted(distinct, keys).clip(max=len(distinct) - 1)
    late: BoolArray = (distinct[places] == keys) & (timestamps >= moments[places] + AN_HOUR)
    return late
