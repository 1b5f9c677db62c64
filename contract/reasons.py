"""Why an item is in an answer, in words for machines: a pure function beside `contract.blending.blend`.

| Reason | The item is there, because |
|---|---|
| `looked_at` | the visitor turned to it lately |
| `often_returned_to` | they did so more than once |
| `carted`, `bought` | they did that |
| `viewed_similar:ITEM`, `carted_similar:ITEM`, `bought_similar:ITEM` | it is similar to an item of theirs |
| `similar:ITEM` | the same, of an item that they did something else with, or on that item's page |
| `trained_for_user` | the training put it into their list |
| `bought_with:ITEM` | it goes into one basket with it |
| `popular`, `popular_in:CATEGORY` | everybody buys it by now |
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from contract.blending import BlendedItem, BlendWeights, ScoredItem, recent_items
from contract.events import ADD_TO_CART, PURCHASE, VIEW, Event

TRAINED: Final = "trained_for_user"
_DID: Final = {VIEW: "looked_at", ADD_TO_CART: "carted", PURCHASE: "bought"}
_DID_TO_SIMILAR: Final = {VIEW: "viewed_similar", ADD_TO_CART: "carted_similar", PURCHASE: "bought_similar"}
_MOST_TELLING: Final = (PURCHASE, ADD_TO_CART, VIEW)


def popular_reason(category: str | None) -> str:
    """Of what everybody buys, in a category or in the whole shop."""
    return "popular" if category is None else f"popular_in:{category}"


def reasons_of(
    answer: Sequence[BlendedItem],
    *,
    history: Sequence[Event],
    similar: Mapping[str, Sequence[ScoredItem]],
    personal: Collection[str],
    weights: BlendWeights,
    category: str | None = None,
) -> list[list[str]]:
    """The reasons of each item of a blended answer, the strongest first; never none.

    `history` is newest first, as the blend had it; `personal` are the items of the stored list; `category` is
    the one that was asked for.
    """
    times = Counter(event.item_id for event in history)
    kinds = _most_telling_kinds(history)
    wanted = {item.item_id for item in answer} - times.keys()
    nearest = _nearest(wanted, similar, recent_items(history, weights))
    found = []
    for item in answer:
        reasons = []
        if item.item_id in kinds:
            reasons.append(_DID.get(kinds[item.item_id], "looked_at"))
            if times[item.item_id] > 1:
                reasons.insert(0, "often_returned_to")
        if item.item_id in nearest:
            other = nearest[item.item_id]
            reasons.append(f"{_DID_TO_SIMILAR.get(kinds[other], 'similar')}:{other}")
        if item.item_id in personal:
            reasons.append(TRAINED)
        if item.source == "personal" and TRAINED in reasons:
            reasons.sort(key=lambda reason: reason != TRAINED)
        found.append(reasons or [popular_reason(category)])
    return found


def _most_telling_kinds(history: Sequence[Event]) -> dict[str, str]:
    """Of each item the kind of event that tells most; the newest one, where none is known."""
    kinds: dict[str, set[str]] = {}
    newest: dict[str, str] = {}
    for event in history:
        kinds.setdefault(event.item_id, set()).add(event.event_type)
        newest.setdefault(event.item_id, event.event_type)
    return {
        item: next((kind for kind in _MOST_TELLING if kind in kinds[item]), newest[item]) for item in kinds
    }


def _nearest(
    wanted: Collection[str], similar: Mapping[str, Sequence[ScoredItem]], recent: Sequence[str]
) -> dict[str, str]:
    """Of each wanted item the one of the visitor's that it is most similar to."""
    best: dict[str, tuple[float, str]] = {}
    for item in recent if wanted else ():
        for other, similarity in similar.get(item, ()):
            if other in wanted and (other not in best or similarity > best[other][0]):
                best[other] = (similarity, item)
    return {other: item for other, (_, item) in best.items()}
