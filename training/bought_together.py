"""What goes into one basket: the lists of a cart's page.

The score of a companion is the geometric mean of P(companion | item) and P(item | companion) over baskets,
each with a constant in the denominator that keeps rare items down: the IS measure, or cosine (Tan, Kumar,
Srivastava: Selecting the right objective measure for association analysis, Information Systems 2004). By the
first alone all lists would begin with what everybody buys, by the second alone with chance finds.
"""

from typing import Final, NamedTuple, TypeVar

import ibis
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contract.events import PURCHASE
from training.candidates import Candidates, best_per_user, no_candidates
from training.interactions import BoolArray, IntArray, Interactions, LongArray, rank_within

BASKET_SECONDS: Final = 86_400
"""A basket is what one user buys within so long of its first item: few buy all they need in one order."""
LARGEST_BASKET: Final = 100
"""A basket of more items says nothing about what goes together; its pairs would be many."""
BASKETS_A_USER: Final = 50
"""The latest count: one user's habits are not the shop's."""
MINIMUM_SUPPORT: Final = 2
"""Baskets that a pair has to be in: once is chance."""
SHRINKAGE: Final = 3.0


Number = TypeVar("Number", np.int32, np.int64)


class Pairs(NamedTuple):
    """Two items each, `ones` < `others`, and the number of baskets that hold both."""

    ones: IntArray
    others: IntArray
    baskets: LongArray


def bought_together(events: Interactions, *, available: BoolArray, length: int) -> Candidates:
    """At most `length` companions for each item, keyed by item where `Candidates` says user.

    An item that was never bought with another goes by the carts as well as the purchases. Only the
    `available` are shown; `available` is a flag an item.
    """
    is_purchase = np.array([name == PURCHASE for name in events.event_type_names])[events.event_types]
    is_basket = is_purchase | events.is_target
    bought = _companions(events.where(is_purchase), available, length)
    if np.array_equal(is_basket, is_purchase):
        return bought
    carted = _companions(events.where(is_basket), available, length)
    instead = ~np.isin(carted.users, bought.users)
    return best_per_user(
        np.concatenate([bought.users, carted.users[instead]]),
        np.concatenate([bought.items, carted.items[instead]]),
        np.concatenate([bought.scores, carted.scores[instead]]),
        length,
    )


def _companions(events: Interactions, available: BoolArray, length: int) -> Candidates:
    baskets, items = baskets_of(events)
    if not len(baskets):
        return no_candidates()
    with_item = np.bincount(items, minlength=len(events.item_ids))
    pairs = pairs_of(baskets, items)
    scores = pairs.baskets / np.sqrt(
        (with_item[pairs.ones] + SHRINKAGE) * (with_item[pairs.others] + SHRINKAGE)
    )
    keys = np.concatenate([pairs.ones, pairs.others])
    companions = np.concatenate([pairs.others, pairs.ones])
    shown = available[companions]
    return best_per_user(keys[shown], companions[shown], np.tile(scores, 2)[shown].astype(np.float32), length)


def baskets_of(events: Interactions) -> tuple[IntArray, IntArray]:
    """The baskets that count, as their numbers and items: each item of a basket once, baskets in order."""
    order = np.argsort(events.users, kind="stable")  # by user, within a user oldest first
    users, items = events.users[order], events.items[order]
    is_first = _is_first_of_basket(users, events.timestamps[order])
    numbers = np.cumsum(is_first) - 1
    n_items = max(1, len(events.item_ids))
    lines = _distinct(np.sort(numbers.astype(np.int64) * n_items + items))
    baskets, items = np.divmod(lines, n_items)
    counts = (np.bincount(baskets) <= LARGEST_BASKET) & _is_late_of_user(users[is_first])
    kept = counts[baskets]
    return baskets[kept].astype(np.int32), items[kept].astype(np.int32)


def pairs_of(baskets: IntArray, items: IntArray) -> Pairs:
    """The pairs of items that at least `MINIMUM_SUPPORT` baskets hold."""
    lines = ibis.memtable(pa.table({"basket": baskets, "item": items}))
    others = lines.rename(other="item").select("basket", "other")
    pairs = (
        lines.join(others, ["basket", lines.item < others.other])
        .group_by("item", "other")
        .aggregate(baskets=ibis._.count())
        .filter(ibis._.baskets >= MINIMUM_SUPPORT)
        .order_by("item", "other")
    )
    connection = ibis.duckdb.connect()
    try:
        found = connection.to_pyarrow(pairs)
    finally:
        connection.disconnect()
    return Pairs(*(found[name].to_numpy() for name in ("item", "other", "baskets")))


def _distinct(ascending: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """As `numpy.unique`, which would hash what is in order already, and take ten times as long."""
    distinct: npt.NDArray[Number] = ascending[rank_within(ascending) == 0]
    return distinct


def _is_first_of_basket(users: IntArray, timestamps: LongArray) -> BoolArray:
    """Which lines, by user and time, begin a basket: step by step, for all users at once."""
    is_first = np.zeros(len(users), np.bool_)
    seconds = timestamps // 1000
    # One ascending number for user and time, with more than a basket's length between two users.
    stride = int(np.ptp(seconds)) + 2 * BASKET_SECONDS if len(users) else 0
    moments = users.astype(np.int64) * stride + seconds
    following = np.searchsorted(moments, moments + BASKET_SECONDS, side="right")
    current = np.flatnonzero(rank_within(users) == 0)
    while len(current):
        is_first[current] = True
        after = following[current]
        inside = after < len(users)
        current, after = current[inside], after[inside]
        current = after[users[after] == users[current]]
    return is_first


def _is_late_of_user(users: IntArray) -> BoolArray:
    """Which baskets are among the last of their user; `users` of all baskets, ascending."""
    from_the_end = rank_within(users[::-1])[::-1]
    late: BoolArray = from_the_end < BASKETS_A_USER
    return late
