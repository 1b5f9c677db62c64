"""Which column of a source is which of ours, and which of its event names means which kind."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from contract.events import ADD_TO_CART, EVENT_COLUMNS, PURCHASE, VIEW, event_type_problem
from training.errors import BadInputError
from training.importing.batches import Kind

CATALOGUE_COLUMNS: Final = ("item_id", "category_id", "available", "parent_id")
"""Three of an item, and what stands above a category."""

NAMEABLE_COLUMNS: Final = tuple(dict.fromkeys(EVENT_COLUMNS + CATALOGUE_COLUMNS))
"""Those that `--column` can name."""

KINDS: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(("user_id", "item_id", "event_type", "category_id", "parent_id"), "text"),
    **dict.fromkeys(("property", "value"), "text"),
    "timestamp": "time",
    "available": "flag",
}
"""What each of our columns has to hold."""

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
    "category_id": ("categoryid", "category", "productcategory", "categoryl1"),
    "available": ("available", "isavailable", "instock", "isinstock"),
    "parent_id": ("parentid", "parent", "parentcategoryid", "parentcategory"),
    "property": ("property",),
    "value": ("value",),
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
_REMEDIES = {
    "event_type": ". Amazon Personalize takes interactions without an EVENT_TYPE, but nothing tells a view "
    "from a purchase then: add the column, with one value in all rows where all are of one kind"
}
_KINDS = {name: kind for kind, names in USUAL_EVENT_TYPES.items() for name in names}


def choose_columns(
    where: str,
    found: Sequence[str],
    explicit: Mapping[str, str],
    needed: Sequence[str] = EVENT_COLUMNS,
    optional: Sequence[str] = (),
) -> dict[str, str]:
    """For each of our columns the name of theirs, out of those `found` in the file `where`.

    `explicit` leads from theirs to ours and wins over usual names, as far as the file has such columns.
    Raises BadInputError where a needed column is missing, or where more than one could be meant.
    """
    chosen = {}
    for ours in (*needed, *optional):
        candidates = names_of(ours, found, explicit)
        if candidates or ours in needed:
            chosen[ours] = _only(where, ours, candidates, found)
    return chosen


def names_of(ours: str, found: Sequence[str], explicit: Mapping[str, str]) -> list[str]:
    """Which of the names `found` could be one of our columns: the explicit one, else usual ones."""
    named = [name for name in found if explicit.get(name) == ours]
    return named or [name for name in found if name not in explicit and plain(name) in USUAL_COLUMNS[ours]]


def check_explicit(columns: Mapping[str, str], event_types: Mapping[str, str]) -> None:
    """Raise BadInputError where what `--column` and `--event-type` say can't be."""
    for ours in columns.values():
        if ours not in NAMEABLE_COLUMNS:
            raise BadInputError(f"there is no column {ours!r}; ours are {', '.join(NAMEABLE_COLUMNS)}")
    for ours in event_types.values():
        if problem := event_type_problem(ours):
            raise BadInputError(f"the event type {ours!r} {problem}")


def check_found(files: Mapping[str, Sequence[str]], columns: Mapping[str, str]) -> None:
    """Raise BadInputError where a column that `--column` names is in none of the files.

    `files` leads from where each lies to the names of its columns.
    """
    for theirs in columns:
        if not any(theirs in found for found in files.values()):
            where, found = next(iter(files.items()))
            others = f" (nor has any of the other {len(files) - 1:,} files)" if len(files) > 1 else ""
            raise BadInputError(f"{where}: has no column {theirs!r}; it has {_listed(found)}{others}")


def kind_of(name: str, explicit: Mapping[str, str]) -> str:
    """The kind of event that `name` means: the explicit one, else the usual one, else `name` itself."""
    return explicit.get(name) or _KINDS.get(plain(name), name)


def plain(name: str) -> str:
    """A name as USUAL_COLUMNS and USUAL_EVENT_TYPES write it."""
    return _SEPARATORS.sub("", name.lower())


def _only(where: str, ours: str, candidates: Sequence[str], found: Sequence[str]) -> str:
    if len(candidates) == 1:
        return candidates[0]
    if len(set(candidates)) == 1:
        raise BadInputError(f"{where}: has more than one column {candidates[0]!r}; rename one of them")
    if candidates:
        raise BadInputError(
            f"{where}: more than one column could be {ours}: {_listed(candidates)}; "
            f"choose one of them with --column '{candidates[0]}={ours}'"
        )
    raise BadInputError(
        f"{where}: no column for {ours}. Found: {_listed(found)}. Expected {ours} or a usual name of it "
        f"({', '.join(USUAL_COLUMNS[ours])}; capitals, '_' and '-' don't matter); "
        f"say which one it is with --column 'THEIRS={ours}'{_REMEDIES.get(ours, '')}"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names) or "no columns"
