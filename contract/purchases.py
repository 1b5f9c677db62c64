"""Which bought items answers leave out: a pure function, the same for API and backtest.

Coffee is bought again, a sofa isn't. The training reads off the shop's data which of the two a shop is
like, and which of its categories are like the other; the manifest tells the API.
"""

from collections.abc import Iterable, Mapping

from contract.blending import purchased_items
from contract.events import Event


def excluded_purchases(
    history: Iterable[Event],
    *,
    default: bool,
    by_category: Mapping[str, bool],
    category_of: Mapping[str, str | None],
) -> set[str]:
    """The items of `history` that were bought and that answers are to leave out.

    An item goes by what `by_category` says of its category. Where that says nothing, or where the
    item's category isn't known, it goes by `default`: whether bought items are left out.
    """
    if not by_category:
        return purchased_items(history) if default else set()
    return {
        item
        for item in purchased_items(history)
        if _by_category(category_of.get(item), by_category, default=default)
    }


def _by_category(category: str | None, by_category: Mapping[str, bool], *, default: bool) -> bool:
    return default if category is None else by_category.get(category, default)
