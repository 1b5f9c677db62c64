"""What the catalogue says about a visitor's own items counts at once."""

import pytest

from contract.blending import BlendWeights
from tests.lambdas.callers import Api, event
from tests.lambdas.versions import HOUR, NOW_MS, execute, history, load_version

FEW = [("top", 1.0), ("next", 0.5)]
CATALOGUE = {"sofa": "furniture", "lamp": "furniture", "coffee": "food", "odd": None}


@pytest.fixture
def catalogue(database: str) -> None:
    for item, category in CATALOGUE.items():
        execute(database, "INSERT INTO items (item_id, category_id) VALUES (%s, %s)", item, category)


def sell_out(database: str, *items: str) -> None:
    execute(database, "UPDATE items SET available = false WHERE item_id = ANY (%s)", list(items))


@pytest.mark.usefixtures("catalogue")
def test_an_own_item_that_is_sold_out_is_not_shown_but_what_is_like_it_is(api: Api, database: str) -> None:
    load_version(
        database,
        "v",
        histories={"u": history(("sofa", "view"))},
        popular=FEW,
        similar={"sofa": [("bed", 0.9)], "coffee": [("cup", 0.8)]},
    )
    api.post_events(event("u", "coffee"))
    assert {"sofa", "coffee", "bed", "cup"} < set(api.recommendations("u").item_ids)
    sell_out(database, "sofa", "coffee")
    items = api.recommendations("u").item_ids
    assert {"bed", "cup"} < set(items)
    assert not {"sofa", "coffee"} & set(items)


@pytest.mark.usefixtures("catalogue")
def test_what_comes_back_into_stock_is_shown_again(api: Api, database: str) -> None:
    load_version(database, "v", histories={"u": history(("sofa", "view"))}, popular=FEW)
    sell_out(database, "sofa")
    assert "sofa" not in api.recommendations("u").item_ids
    execute(database, "UPDATE items SET available = true WHERE item_id = 'sofa'")
    assert "sofa" in api.recommendations("u").item_ids


@pytest.mark.usefixtures("catalogue")
def test_an_own_item_that_the_catalogue_does_not_have_is_shown(api: Api, database: str) -> None:
    load_version(database, "v", popular=FEW)
    api.post_events(event("u", "unlisted"))
    assert "unlisted" in api.recommendations("u").item_ids


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("default", "by_category", "left_out"),
    [
        (True, {"food": False}, {"sofa", "odd", "unlisted"}),
        (False, {"furniture": True}, {"sofa"}),
        (True, {}, {"sofa", "odd", "unlisted", "coffee"}),
        (False, {}, set()),
    ],
)
def test_bought_items_go_by_their_category_posted_and_stored_alike(
    api: Api,
    database: str,
    default: bool,
    by_category: dict[str, bool],
    left_out: set[str],
) -> None:
    load_version(
        database,
        "v",
        histories={"u": history(("sofa", "purchase"), ("coffee", "purchase"), ("lamp", "view"))},
        popular=FEW,
        exclude_purchased=default,
        exclude_purchased_by_category=by_category,
    )
    api.post_events(event("u", "odd", "purchase"), event("u", "unlisted", "purchase"))
    items = set(api.recommendations("u").item_ids)
    own = {"sofa", "coffee", "odd", "unlisted", "lamp"}
    assert own - items == left_out


@pytest.mark.usefixtures("catalogue")
def test_a_purchase_before_many_other_events_goes_by_its_category_too(api: Api, database: str) -> None:
    load_version(database, "v", popular=[("sofa", 1.0)], exclude_purchased_by_category={"furniture": True})
    api.post_events(event("u", "sofa", "purchase", timestamp=NOW_MS - 2 * HOUR))
    api.post_events(*(event("u", f"seen-{number}", timestamp=NOW_MS - number) for number in range(120)))
    assert "sofa" not in api.recommendations("u", 100).item_ids
    assert "sofa" in api.recommendations("another", 100).item_ids


def test_of_own_items_those_that_people_come_back_to_are_shown_first(api: Api, database: str) -> None:
    api.post_events(event("u", "old", timestamp=NOW_MS - HOUR), event("u", "new"))
    weights = BlendWeights(conversion=1.0, popular=0.0)
    for first, second in (("old", "new"), ("new", "old")):
        odds = {first: [(first, 0.9)], second: [(second, 0.1)]}
        load_version(database, f"{first} is loved", similar=odds, popular=FEW, blend_weights=weights)
        assert api.recommendations("u").item_ids == [first, second, "next", "top"]


def test_nothing_is_similar_to_itself(api: Api, database: str) -> None:
    load_version(
        database,
        "v",
        similar={"sofa": [("bed", 0.9), ("sofa", 0.8), ("lamp", 0.7)], "alone": [("alone", 0.5)]},
    )
    assert api.get("/v1/items/sofa/similar?limit=2").item_ids == ["bed", "lamp"]
    assert api.get("/v1/items/alone/similar").status == 404
