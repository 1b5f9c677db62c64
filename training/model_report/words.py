"""What the names of models, metrics, sources, features and parts mean, for people.

A name that isn't known here is told as it is.
"""

from collections.abc import Mapping
from typing import Final

from contract.events import ADD_TO_CART, PURCHASE, VIEW

MODELS: Final = {
    "served": "the new version",
    "recipe": "the new version's recipe",
    "champion": "the version that is live",
    "popular": "what is popular",
    "recent_popular": "what is popular by now",
    "item_item": "similar items alone",
}
"""Short enough for a plot."""

MODELS_IN_FULL: Final = {
    "served": "what would be served",
    "recipe": "what it makes of the events up to the live version's cut-off, and of nothing later",
    "champion": "its stored lists",
    "popular": "everybody is shown what was bought most ever",
    "recent_popular": "everybody is shown what is bought by now",
    "item_item": "items like those that the visitor turned to, and nothing else of what would be served",
}

PROTOCOLS: Final = {"session": "on a shop page", "batch": "in a mailing"}

PROTOCOLS_IN_FULL: Final = {
    "session": "Protocol “session”: what the visitor did up to their first cart or purchase is known.",
    "batch": "Protocol “batch”: nothing that happened in the days that are judged is known.",
}

METRICS: Final = {
    "precision": "of the items shown, the share that was carted or bought",
    "recall": "of what was carted or bought, the share that was shown",
    "ndcg": "as recall, and the higher up the list, the more it counts",
    "map": "average precision: how high up the list the right items are",
    "hit_rate": "visitors who were shown at least one right item",
}

SOURCES: Final = {
    "own": "what the visitor turned to themselves",
    "similar": "items like those that they turned to",
    "session_knn": "what similar visits went on to",
    "als": "what suits their taste as a whole (factors)",
    "recent_popular": "what is bought by now",
    "popular": "what was bought most ever",
    "category": "what is bought by now in their categories",
    "new_items": "what is new in their categories",
}

PARTS: Final = {
    "own": "the visitor turned to the item lately",
    "similar": "it is like what they turned to lately",
    "personal": "the training ranked it for them",
    "popular": "everyone buys it",
}

MEASURES: Final = {
    "people": "the same people turn to both items",
    "visits": "the same visits turn to both items",
}

RANKERS: Final = {
    "prior": "fixed weights of the sources' scores: nothing could be learnt yet",
    "linear": "a weighted sum of what is known of visitor and item",
    "boosted": "decision trees, each mending what those before it got wrong",
}

DID: Final = {VIEW: "viewed", ADD_TO_CART: "put into the cart", PURCHASE: "bought"}
"""What a visitor did to an item, by the kind of event."""

FEATURES: Final = {
    "n_sources": "how many sources propose the item",
    "pair_strength_2d": "how much they turned to the item in the last days",
    "pair_strength_14d": "how much they turned to the item in the last weeks",
    "pair_strength_90d": "how much they turned to the item in the last months",
    "pair_days": "on how many days they turned to the item",
    "pair_age": "days since they last turned to the item",
    "pair_first_age": "days since they first turned to the item",
    "pair_recency_rank": "how many other items they turned to since",
    "pair_target_age": "days since they carted or bought the item",
    "pair_target_days": "on how many days they carted or bought the item",
    "pair_after_target": "days that they still turned to it after carting or buying it",
    "pair_due": "whether it is time to buy it again",
    "item_events_7d": "events of the item in the last 7 days",
    "item_events_28d": "events of the item in the last 28 days",
    "item_targets_7d": "carts and purchases of the item in the last 7 days",
    "item_targets_28d": "carts and purchases of the item in the last 28 days",
    "item_events": "events of the item ever",
    "item_targets": "carts and purchases of the item ever",
    "item_conversion": "share of its people who carted or bought the item",
    "item_again": "share of its buyers who came back for the item",
    "item_age": "days since the item was first seen",
    "user_events": "how much the visitor did",
    "user_items": "how many items they turned to",
    "user_targets": "how often they carted or bought",
    "user_days": "on how many days they were there",
    "user_age": "days since they were last there",
    "user_first_age": "days since they were first there",
    "user_target_share": "share of their items that they carted or bought",
    "user_again_share": "share of those that they came back for",
}

_PAIR: Final = "pair_"
_OF_SOURCES: Final = {"_score": "how strongly it is proposed as", "_rank": "its place among"}


def told(name: str, words: Mapping[str, str]) -> str:
    """The words for a name; the name itself where there are none."""
    return words.get(name, name)


def feature_told(name: str) -> str:
    """What a feature of the ranker is."""
    if name in FEATURES:
        return FEATURES[name]
    for ending, words in _OF_SOURCES.items():
        if name.endswith(ending):
            source = name.removesuffix(ending)
            return f"{words} “{told(source, SOURCES)}”"
    if name.startswith(_PAIR):
        return f"how often they did “{name.removeprefix(_PAIR)}” to the item"
    return name


def deed_told(event_type: str) -> str:
    """What a visitor did, with the kind's own name where it is the shop's."""
    return DID.get(event_type, f"did “{event_type}” to")
