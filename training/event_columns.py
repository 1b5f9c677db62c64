"""Which column of a source is which of ours, and which of its event names means which kind."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from contract.events import ADD_TO_CART, EVENT_COLUMNS, PURCHASE, VIEW
from training.errors import BadInputError

USUAL_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "user_id": ("userid", "user", "visitorid", "visitor", "customerid", "customer"),
    "item_id": ("itemid", "item", "productid", "product", "sku", "articleid"),
    "event_type": (
        "eventtype", "event", "eventname", "action", "actiontype", "behavior", "behaviour",
        "behaviortype", "behaviourtype", "type",
    ),
    "timestamp": (
        "timestamp", "eventtimestamp", "time", "eventtime", "ts", "unix", "unixtime", "createdat",
        "datetime",
    ),
}  # fmt: skip
"""The usual names of each of our columns: lower case, without what separates words."""

USUAL_EVENT_TYPES: Final[dict[str, tuple[str, ...]]] = {
    VIEW: (
        "view", "views", "pageview", "pageviews", "pv", "detailview", "productview", "itemview",
        "viewitem", "viewproduct", "click", "clicks",
    ),
    ADD_TO_CART: ("addtocart", "cart", "carts", "addtobasket", "basket"),
    PURCHASE: (
        "purchase", "purchases", "transaction", "transactions", "buy", "buys", "bought", "order",
        "orders",
    ),
}  # fmt: skip
"""The usual names of each kind of event, written the same way."""

_SEPARATORS = re.compile(r"[\s_.\-]+")
_KINDS = {name: kind for kind, names in USUAL_EVENT_TYPES.items() for name in names}


def choose_columns(where: str, found: Sequence[str], explicit: Mapping[str, str]) -> dict[str, str]:
    """For each of our columns the name of theirs, out of those `found` in the file `where`.

    `explicit` leads from theirs to ours and wins over usual names. Raises BadInputError where a column
    is missing, or where more than one could be meant.
    """
    chosen = {ours: theirs for theirs, ours in explicit.items()}
    for theirs in explicit:
        if theirs not in found:
            raise BadInputError(f"{where}: has no column {theirs!r}; it has {_listed(found)}")
        if found.count(theirs) > 1:
            raise BadInputError(f"{where}: has more than one column {theirs!r}; rename one of them")
    for ours in EVENT_COLUMNS:
        if ours not in chosen:
            candidates = [
                name for name in found if name not in explicit and _plain(name) in USUAL_COLUMNS[ours]
            ]
            chosen[ours] = _only(where, ours, candidates, found)
    return {ours: chosen[ours] for ours in EVENT_COLUMNS}


def kind_of(name: str, explicit: Mapping[str, str]) -> str:
    """The kind of event that `name` means: the explicit one, else the usual one, else `name` itself."""
    return explicit.get(name) or _KINDS.get(_plain(name), name)


def _only(where: str, ours: str, candidates: Sequence[str], found: Sequence[str]) -> str:
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise BadInputError(
            f"{where}: more than one column could be {ours}: {_listed(candidates)}; "
            f"choose with --column '{candidates[0]}={ours}'"
        )
    raise BadInputError(
        f"{where}: no column for {ours}. Found: {_listed(found)}. Expected {ours} or a usual name of it "
        f"({', '.join(USUAL_COLUMNS[ours])}; capitals, '_' and '-' don't matter); "
        f"say which one it is with --column 'THEIRS={ours}'"
    )


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", name.lower())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names) or "no columns"
