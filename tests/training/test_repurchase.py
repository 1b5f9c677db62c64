from dataclasses import replace

from contract.events import ADD_TO_CART, PURCHASE
from tests.training.catalogues import catalogue
from tests.training.shops import DAY, START, Row, interactions
from training.repurchase import (
    exclude_purchased_by_category,
    is_repurchase_worth_showing,
    repurchase_share,
)
from training.shop_items import ShopItems


def test_a_shop_whose_people_buy_the_same_again_shows_bought_items() -> None:
    rows: list[Row] = [
        (f"u{n}", "coffee", PURCHASE, month * 30 * DAY) for n in range(40) for month in range(4)
    ]
    assert repurchase_share(interactions(rows)) == 1.0
    assert is_repurchase_worth_showing(interactions(rows))


def test_a_shop_whose_people_never_do_leaves_them_out() -> None:
    rows: list[Row] = [(f"u{n}", f"sofa-{k}", PURCHASE, k * 30 * DAY) for n in range(40) for k in range(4)]
    assert repurchase_share(interactions(rows)) == 0.0
    assert not is_repurchase_worth_showing(interactions(rows))


def test_what_follows_within_the_hour_belongs_to_the_purchase() -> None:
    rows: list[Row] = [(f"u{n}", "sofa", PURCHASE, k * 1000) for n in range(40) for k in range(3)]
    rows += [(f"u{n}", "lamp", PURCHASE, DAY) for n in range(60)]
    assert repurchase_share(interactions(rows)) is None  # 40 later targets are too few to tell


def test_where_too_little_is_known_bought_items_stay() -> None:
    assert is_repurchase_worth_showing(interactions([("u", "i", PURCHASE, 0)]))


FOOD_AND_FURNITURE = {"coffee": "food", **{f"sofa-{k}": "furniture" for k in range(4)}}


def coffee_and_sofas(coffee_people: int, sofa_people: int) -> list[Row]:
    coffee: list[Row] = [
        (f"c{n}", "coffee", PURCHASE, month * 30 * DAY) for n in range(coffee_people) for month in range(4)
    ]
    sofas: list[Row] = [
        (f"s{n}", f"sofa-{k}", PURCHASE, k * 30 * DAY) for n in range(sofa_people) for k in range(4)
    ]
    return coffee + sofas


def by_category(
    rows: list[Row], categories: dict[str, str], tree: dict[str, str | None] | None = None
) -> dict[str, bool]:
    events = interactions(rows)
    items = ShopItems.of(events, catalogue({**categories}, tree=tree), now=START + 400 * DAY)
    return exclude_purchased_by_category(events, items)


def test_in_a_shop_of_both_the_category_decides() -> None:
    few_sofas, many_sofas = coffee_and_sofas(400, 200), coffee_and_sofas(20, 2000)
    assert is_repurchase_worth_showing(interactions(few_sofas))
    assert by_category(few_sofas, FOOD_AND_FURNITURE) == {"furniture": True}
    assert not is_repurchase_worth_showing(interactions(many_sofas))
    assert by_category(many_sofas, FOOD_AND_FURNITURE) == {"food": False}


def test_a_category_of_which_little_is_known_goes_by_the_shop() -> None:
    assert by_category(coffee_and_sofas(400, 10), FOOD_AND_FURNITURE) == {}
    assert by_category(coffee_and_sofas(10, 2000), FOOD_AND_FURNITURE) == {}


def test_a_category_of_which_little_is_known_goes_by_the_one_above_it() -> None:
    categories = {**FOOD_AND_FURNITURE, "beans": "beans", "unsold": "tea"}
    tree: dict[str, str | None] = {"food": None, "beans": "food", "tea": "food", "furniture": None}
    rows = [*coffee_and_sofas(20, 2000), ("x", "beans", PURCHASE, 0)]
    assert by_category(rows, categories, tree) == {"food": False, "beans": False, "tea": False}


def test_a_shop_of_which_too_little_is_known_has_no_categories_either() -> None:
    assert by_category(coffee_and_sofas(5, 5), FOOD_AND_FURNITURE) == {}


def test_other_targets_do_not_hide_what_was_bought() -> None:
    rows: list[Row] = [(f"u{n}", "coffee", PURCHASE, 0) for n in range(60)]
    rows += [(f"u{n}", "coffee", ADD_TO_CART, 30 * DAY) for n in range(60)]
    carts_only = replace(interactions(rows), targets=(ADD_TO_CART,))
    assert repurchase_share(carts_only) == 1.0
