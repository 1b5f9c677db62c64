"""Which bought items are left out."""

import pytest

from contract.events import ADD_TO_CART, PURCHASE, VIEW, Event
from contract.purchases import excluded_purchases

HISTORY = [
    Event("sofa", PURCHASE, 5),
    Event("coffee", PURCHASE, 4),
    Event("odd", PURCHASE, 3),
    Event("unlisted", PURCHASE, 2),
    Event("lamp", ADD_TO_CART, 1),
    Event("tea", VIEW, 0),
]
CATEGORY_OF = {"sofa": "furniture", "coffee": "food", "odd": None, "lamp": "furniture", "tea": "food"}


@pytest.mark.parametrize(
    ("default", "by_category", "left_out"),
    [
        (False, {}, set()),
        (True, {}, {"sofa", "coffee", "odd", "unlisted"}),
        (True, {"food": False}, {"sofa", "odd", "unlisted"}),
        (False, {"furniture": True}, {"sofa"}),
        (False, {"food": False, "furniture": True}, {"sofa"}),
        (True, {"toys": False}, {"sofa", "coffee", "odd", "unlisted"}),
    ],
)
def test_a_bought_item_goes_by_its_category_and_else_by_the_shop(
    default: bool, by_category: dict[str, bool], left_out: set[str]
) -> None:
    excluded = excluded_purchases(HISTORY, default=default, by_category=by_category, category_of=CATEGORY_OF)
    assert excluded == left_out


@pytest.mark.parametrize("default", [True, False])
def test_without_a_catalogue_every_item_goes_by_the_shop(default: bool) -> None:
    excluded = excluded_purchases(HISTORY, default=default, by_category={"food": False}, category_of={})
    assert excluded == ({"sofa", "coffee", "odd", "unlisted"} if default else set())
