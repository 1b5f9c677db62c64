"""What goes into one basket."""

import json
from pathlib import Path

import numpy as np
import psycopg
import pytest

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from contract.recommendations import EVERYTHING, ListKind
from contract.s3_layout import manifest_key
from tests.training.published import manifest, scored, table
from tests.training.shops import DAY, Row, interactions
from training import bought_together as module
from training.bought_together import LARGEST_BASKET, baskets_of, bought_together
from training.interactions import Interactions
from training.loader import load_version
from training.publish import publish_version, read_manifest
from training.storage import Folder

MINUTE = 60_000


def companions(rows: list[Row], *, sold_out: tuple[str, ...] = (), length: int = 10) -> dict[str, list[str]]:
    events = interactions(rows)
    available = ~np.isin(events.item_ids, sold_out)
    found = bought_together(events, available=available, length=length)
    lists: dict[str, list[str]] = {}
    for key, item in zip(found.users, found.items, strict=True):
        lists.setdefault(events.item_ids[key], []).append(events.item_ids[item])
    return lists


def basket(user: str, *items: str, day: int = 0, kind: str = PURCHASE) -> list[Row]:
    return [(user, item, kind, day * DAY + place * MINUTE) for place, item in enumerate(items)]


def baskets(events: Interactions) -> list[set[str]]:
    numbers, items = baskets_of(events)
    return [set(events.item_ids[items[numbers == number]]) for number in np.unique(numbers)]


def bags(count: int) -> list[Row]:
    """Everybody takes a bag, whatever else they buy."""
    rows: list[Row] = []
    for n in range(count):
        rows += basket(f"t{n}", "tent", "stove", "bag")
        rows += basket(f"b{n}", "bread", "butter", "bag")
        rows += basket(f"m{n}", "milk", "bag")
    return rows


def test_what_goes_with_one_item_comes_before_what_goes_with_all() -> None:
    lists = companions(bags(20))
    assert lists["tent"][0] == "stove"
    assert lists["bread"][0] == "butter"
    assert lists["milk"] == ["bag"]
    assert lists["tent"] == ["stove", "bag"]


def test_a_pair_that_was_bought_once_is_chance() -> None:
    rows = [*bags(20), *basket("x", "tent", "butter")]
    assert "butter" not in companions(rows)["tent"]
    assert "butter" in companions([*rows, *basket("y", "tent", "butter")])["tent"]


def test_in_a_very_small_shop_two_baskets_are_enough() -> None:
    rows = [*basket("u", "a", "b"), *basket("v", "a", "b")]
    assert companions(rows) == {"a": ["b"], "b": ["a"]}


def test_what_is_sold_out_has_companions_and_is_none() -> None:
    lists = companions(bags(20), sold_out=("stove",))
    assert "stove" not in lists["tent"]
    assert lists["stove"][0] == "tent"


def test_lists_are_cut_to_their_length() -> None:
    rows = [row for n in range(3) for row in basket(f"u{n}", *"abcdef")]
    assert {len(found) for found in companions(rows, length=2).values()} == {2}


def test_carts_tell_where_there_are_no_purchases() -> None:
    rows = [row for n in range(3) for row in basket(f"u{n}", "a", "b", kind=ADD_TO_CART)]
    assert companions(rows) == {"a": ["b"], "b": ["a"]}


def test_carts_tell_of_the_items_alone_that_were_never_bought_with_another() -> None:
    bought = [row for n in range(3) for row in basket(f"u{n}", "a", "b")]
    carted = [row for n in range(3) for row in basket(f"v{n}", "a", "c", kind=ADD_TO_CART)]
    lists = companions([*bought, *carted])
    assert lists["a"] == ["b"]
    assert lists["c"] == ["a"]


def test_views_do_not_tell() -> None:
    assert companions([row for n in range(3) for row in basket(f"u{n}", "a", "b", kind=VIEW)]) == {}
    assert companions([("u", "a", PURCHASE, 0)]) == {}


def test_a_basket_ends_a_day_after_its_first_item() -> None:
    rows: list[Row] = [("u", "first", PURCHASE, 0), ("u", "same day", PURCHASE, DAY)]
    rows += [("u", "next", PURCHASE, DAY + 1000), ("u", "with next", PURCHASE, 2 * DAY + 1000)]
    rows += [("v", "another's", PURCHASE, 500), ("u", "first", PURCHASE, 10)]
    assert baskets(interactions(rows)) == [{"first", "same day"}, {"next", "with next"}, {"another's"}]


def test_baskets_that_are_too_large_and_those_of_long_ago_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BASKETS_A_USER", 2)
    rows = [row for day in range(0, 8, 2) for row in basket("regular", f"on day {day}", day=day)]
    rows += basket("reseller", *(f"item {n:03}" for n in range(LARGEST_BASKET + 1)))
    rows += basket("some", *(f"item {n:03}" for n in range(LARGEST_BASKET)))
    found = baskets(interactions(rows))
    assert found[:2] == [{"on day 4"}, {"on day 6"}]
    assert [len(basket) for basket in found[2:]] == [LARGEST_BASKET]


def test_pairs_are_those_that_counting_by_hand_finds() -> None:
    rng = np.random.default_rng(3)
    rows: list[Row] = [
        (f"u{rng.integers(40)}", f"i{rng.integers(25):02}", PURCHASE, int(rng.integers(20)) * DAY // 2)
        for _ in range(1500)
    ]
    events = interactions(rows)
    by_hand: dict[tuple[str, str], int] = {}
    for held in baskets(events):
        for one in held:
            for other in held:
                if one < other:
                    by_hand[one, other] = by_hand.get((one, other), 0) + 1
    pairs = module.pairs_of(*baskets_of(events))
    names = events.item_ids
    found = dict(zip(zip(names[pairs.ones], names[pairs.others], strict=True), pairs.baskets, strict=True))
    assert found == {pair: count for pair, count in by_hand.items() if count >= 2}
    assert len(found) > 100


def test_lists_of_baskets_and_of_categories_are_published_and_loaded(database: str, tmp_path: Path) -> None:
    rows = [
        scored(ListKind.BOUGHT_TOGETHER, "tent", ["stove"]),
        scored(ListKind.POPULAR, "camping", ["tent", "stove"]),
        scored(ListKind.POPULAR, EVERYTHING, ["milk"]),
    ]
    publish_version(Folder(tmp_path), [table(rows)], manifest=manifest("v"))
    assert read_manifest(Folder(tmp_path), "v").counts[ListKind.BOUGHT_TOGETHER] == 1
    assert load_version(database, Folder(tmp_path), "v").lists["bought_together"] == 1
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT kind, key, item_ids FROM recommendations").fetchall()
    assert sorted(found) == sorted((row["kind"], row["key"], row["item_ids"]) for row in rows)


def test_a_version_of_before_there_were_such_lists_is_still_loaded(database: str, tmp_path: Path) -> None:
    out = Folder(tmp_path)
    rows = [scored(ListKind.POPULAR, EVERYTHING, ["milk"])]
    earlier = json.loads(publish_version(out, [table(rows)], manifest=manifest("v")).to_json())
    del earlier["counts"]["bought_together"], earlier["exclude_purchased_by_category"]
    out.write(manifest_key("v"), json.dumps(earlier).encode())
    assert load_version(database, out, "v").lists == {**dict.fromkeys(ListKind, 0), "popular": 1}
