"""What was carted and bought within windows that end at the training's moment."""

import numpy as np

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from contract.recommendations import ListKind, trending_key
from tests.training.catalogues import catalogue
from tests.training.shops import DAY, START, Row, interactions
from training.candidates import Candidates
from training.interactions import Interactions
from training.shop_items import ShopItems
from training.trending import trending

NOW = START + 41 * DAY
TREE: dict[str, str | None] = {"cooking": "kitchen", "kitchen": None, "furniture": None}
CATEGORIES: dict[str, str | None] = {"pan": "cooking", "knife": "kitchen", "sofa": "furniture", "toy": None}

ROWS: list[Row] = [
    ("a", "pan", PURCHASE, 40 * DAY + 1),
    ("b", "pan", ADD_TO_CART, 40 * DAY + 2),
    ("c", "toy", PURCHASE, 40 * DAY + 3),
    ("d", "sofa", VIEW, 40 * DAY + 4),
    *((f"k{n}", "knife", PURCHASE, 35 * DAY + n) for n in range(3)),
    *((f"s{n}", "sofa", PURCHASE, 15 * DAY + n) for n in range(9)),
    *((f"p{n}", "pan", PURCHASE, n) for n in range(99)),
]


def shop() -> tuple[Interactions, ShopItems]:
    events = interactions(ROWS)
    return events, ShopItems.of(events, catalogue(CATEGORIES, tree=TREE), now=NOW)


def named(items: ShopItems, lists: Candidates) -> dict[str, list[tuple[str, float]]]:
    names = ["", *items.category_ids]
    found: dict[str, list[tuple[str, float]]] = {}
    for key, item, score in zip(lists.users, lists.items, lists.scores, strict=True):
        found.setdefault(names[key], []).append((items.item_ids[item], float(score)))
    return found


def test_each_window_counts_what_was_carted_and_bought_in_it() -> None:
    events, items = shop()
    lists = trending(events, items, now=NOW, available=np.ones(len(items), np.bool_), length=10)
    assert named(items, lists["1d"]) == {
        "": [("pan", 2.0), ("toy", 1.0)],
        "cooking": [("pan", 2.0)],
        "kitchen": [("pan", 2.0)],
    }
    assert named(items, lists["7d"])["kitchen"] == [("knife", 3.0), ("pan", 2.0)]
    assert named(items, lists["30d"])[""] == [("sofa", 9.0), ("knife", 3.0), ("pan", 2.0), ("toy", 1.0)]


def test_only_what_is_to_be_had_is_listed_and_no_more_than_asked_for() -> None:
    events, items = shop()
    without_sofa = items.item_ids != "sofa"
    lists = trending(events, items, now=NOW, available=without_sofa, length=2)
    assert named(items, lists["30d"]) == {
        "": [("knife", 3.0), ("pan", 2.0)],
        "cooking": [("pan", 2.0)],
        "kitchen": [("knife", 3.0), ("pan", 2.0)],
    }


def test_a_shop_without_a_catalogue_has_the_lists_of_the_whole_shop() -> None:
    events = interactions(ROWS)
    items = ShopItems.of(events, None, now=NOW)
    lists = trending(events, items, now=NOW, available=np.ones(len(items), np.bool_), length=10)
    assert all(set(named(items, each)) == {""} for each in lists.values())


def test_keys_of_windows_and_categories_are_told_apart() -> None:
    assert trending_key("7d") == "7d:"
    assert trending_key("7d", "1d:x") == "7d:1d:x"
    assert ListKind.TRENDING == "trending"
