"""Candidates from what the shop says about its items."""

import numpy as np
import pytest

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from tests.training.catalogues import catalogue
from tests.training.shops import DAY, START, Row, interactions
from training.candidates import Candidates, CandidateSource
from training.candidates.category import CategorySource, category_tastes
from training.candidates.new_items import NewItems
from training.candidates.own_items import HALF_LIFE_DAYS
from training.candidates.popular import RecentPopular
from training.catalogue import Catalogue
from training.interactions import Interactions
from training.popular_by_category import popular_by_category
from training.shop_items import ShopItems

WEIGHTS = {VIEW: 1.0, ADD_TO_CART: 3.0, PURCHASE: 1.0}
NOW = START + 41 * DAY

CATEGORIES: dict[str, str | None] = {
    "pan": "cooking", "wok": "cooking", "pot": "cooking", "knife": "kitchen", "sofa": "furniture",
    "bed": "furniture", "desk": "furniture", "toy": None,
}  # fmt: skip
TREE: dict[str, str | None] = {"cooking": "kitchen", "kitchen": None, "furniture": None}

ROWS: list[Row] = [
    *((f"p{n}", "pan", PURCHASE, 30 * DAY + n) for n in range(9)),
    *((f"w{n}", "wok", PURCHASE, 30 * DAY + n) for n in range(5)),
    *((f"o{n}", "pot", PURCHASE, n) for n in range(9)),
    *((f"k{n}", "knife", PURCHASE, 30 * DAY + n) for n in range(7)),
    *((f"s{n}", "sofa", PURCHASE, 30 * DAY + n) for n in range(3)),
    *((f"b{n}", "bed", VIEW, 30 * DAY + n) for n in range(3)),
    *((f"y{n}", "toy", PURCHASE, 30 * DAY + n) for n in range(20)),
    ("cook", "wok", VIEW, 40 * DAY),
    ("sleeper", "bed", VIEW, 40 * DAY),
    ("child", "toy", VIEW, 40 * DAY),
]  # fmt: skip


def shop(content: Catalogue | None = None, rows: list[Row] = ROWS) -> tuple[Interactions, ShopItems]:
    events = interactions(rows)
    return events, ShopItems.of(events, content or catalogue(CATEGORIES, tree=TREE), now=NOW)


def sources(items: ShopItems) -> list[CandidateSource]:
    return [CategorySource(WEIGHTS, items, per_category=50), NewItems(WEIGHTS, items, per_category=50)]


def proposed(source: CandidateSource, events: Interactions, items: ShopItems, user: str) -> list[str]:
    source.fit(events, NOW)
    (number,) = np.flatnonzero(events.user_ids == user)
    found = source.candidates(np.array([number], np.int32), 20)
    return [str(name) for name in items.item_ids[found.items]]


def by_key(items: ShopItems, lists: Candidates) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, item in zip(lists.users, lists.items, strict=True):
        found.setdefault(items.category_ids[key], []).append(items.item_ids[item])
    return found


@pytest.mark.parametrize("place", [0, 1], ids=["category", "new_items"])
class TestEverySource:
    def test_keeps_to_the_number_asked_and_orders_by_user_and_score(self, place: int) -> None:
        events, items = shop()
        source = sources(items)[place]
        source.fit(events, NOW)
        found = source.candidates(events.distinct_users(), 2)
        assert len(found)
        assert found.ranks().max() == 1
        assert np.all(np.diff(found.users) >= 0)
        assert np.all(np.diff(found.scores)[np.diff(found.users) == 0] <= 0)
        assert np.all(np.isfinite(found.scores))
        pairs = list(zip(found.users.tolist(), found.items.tolist(), strict=True))
        assert len(pairs) == len(set(pairs))

    def test_gives_the_same_twice(self, place: int) -> None:
        events, items = shop()
        answers = []
        for source in (sources(items)[place], sources(items)[place]):
            source.fit(events, NOW)
            answers.append(source.candidates(events.distinct_users(), 5))
        assert answers[0].items.tolist() == answers[1].items.tolist()
        assert answers[0].scores.tolist() == answers[1].scores.tolist()

    def test_proposes_nothing_that_is_sold_out(self, place: int) -> None:
        events, items = shop(catalogue(CATEGORIES, tree=TREE, sold_out=("pan", "desk", "knife")))
        source = sources(items)[place]
        source.fit(events, NOW)
        found = source.candidates(events.distinct_users(), 50)
        assert not {"pan", "desk", "knife"} & set(items.item_ids[found.items])

    def test_copes_with_nothing(self, place: int) -> None:
        events = interactions([("u", "i", PURCHASE, 0)])
        items = ShopItems.of(events, None, now=START + 1)
        source = sources(items)[place]
        assert len(source.candidates(np.zeros(1, np.int32), 5)) == 0
        source.fit(events, START + 1)
        assert source.candidates(events.distinct_users(), 5).items.tolist() in ([], [0])
        assert len(source.candidates(np.empty(0, np.int32), 5)) == 0

    def test_gives_the_same_however_many_users_come_at_once(
        self, place: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        events, items = shop()
        source = sources(items)[place]
        source.fit(events, NOW)
        at_once = source.candidates(events.distinct_users(), 4)
        monkeypatch.setattr("training.candidates.category.USERS_AT_ONCE", 3)
        in_parts = source.candidates(events.distinct_users(), 4)
        assert at_once.users.tolist() == in_parts.users.tolist()
        assert at_once.items.tolist() == in_parts.items.tolist()


def test_each_category_has_what_is_bought_by_now_in_it_and_below_it() -> None:
    events, items = shop()
    everything = np.ones(len(items), np.bool_)
    lists = by_key(items, popular_by_category(events, items, now=NOW, available=everything, length=10))
    assert lists == {
        "cooking": ["pan", "wok", "pot"],
        "kitchen": ["pan", "knife", "wok", "pot"],
        "furniture": ["sofa", "bed"],
    }
    without_pan = everything & (items.item_ids != "pan")
    lists = by_key(items, popular_by_category(events, items, now=NOW, available=without_pan, length=1))
    assert lists == {"cooking": ["wok"], "kitchen": ["knife"], "furniture": ["sofa"]}


def test_scores_of_a_category_are_those_of_a_shop_that_sells_nothing_else() -> None:
    events, items = shop()
    lists = popular_by_category(events, items, now=NOW, available=np.ones(len(items), np.bool_), length=10)
    of_furniture = np.isin(events.item_ids[events.items], ["sofa", "bed"])
    alone = RecentPopular()
    alone.fit(events.where(of_furniture), NOW)
    rows = lists.users == np.flatnonzero(items.category_ids == "furniture")[0]
    assert lists.items[rows].tolist() == alone.items.tolist()
    assert lists.scores[rows].tolist() == pytest.approx(alone.scores.tolist())


def test_a_user_is_shown_what_is_popular_where_they_looked() -> None:
    events, items = shop()
    source = CategorySource(WEIGHTS, items, per_category=50)
    assert proposed(source, events, items, "cook") == ["pan", "wok", "pot", "knife"]
    assert proposed(source, events, items, "sleeper") == ["sofa", "bed"]
    assert proposed(source, events, items, "child") == []


def test_a_taste_is_the_strength_of_own_items_and_a_part_of_it_above() -> None:
    events, items = shop()
    tastes = category_tastes(events, items, now=NOW, event_weights=WEIGHTS)
    (cook,) = np.flatnonzero(events.user_ids == "cook")
    rows = tastes.users == cook
    assert [items.category_ids[category] for category in tastes.items[rows]] == ["cooking", "kitchen"]
    strength = 0.5 ** (1 / HALF_LIFE_DAYS)
    assert tastes.scores[rows].tolist() == pytest.approx([strength, strength / 4])


def test_new_is_what_came_lately_or_has_no_event_yet_liked_categories_first() -> None:
    rows: list[Row] = [*ROWS, ("x", "fork", VIEW, 35 * DAY)]
    rows += [(f"f{n}", "chair", VIEW, 35 * DAY) for n in range(5)]
    categories = {**CATEGORIES, "fork": "cooking", "chair": "furniture"}
    events, items = shop(catalogue(categories, tree=TREE), rows)
    source = NewItems(WEIGHTS, items, per_category=50)
    cook, sleeper = (proposed(source, events, items, user) for user in ("cook", "sleeper"))
    recently = {"pan", "wok", "knife", "sofa", "bed", "toy", "fork", "chair"}
    assert set(cook) == recently | {"desk"}
    assert cook.index("fork") < cook.index("chair")
    assert sleeper.index("chair") < sleeper.index("fork")
    assert sleeper.index("chair") < sleeper.index("desk"), "people like the one, nobody has seen the other"


def test_without_a_catalogue_new_items_go_by_the_interest_in_them() -> None:
    rows: list[Row] = [("u", f"old {n}", VIEW, n) for n in range(5)]
    rows += [(f"v{n}", "new and liked", VIEW, 35 * DAY) for n in range(5)]
    rows += [("v1", "new", VIEW, 35 * DAY), ("v1", "new", VIEW, 36 * DAY)]
    events = interactions(rows)
    items = ShopItems.of(events, None, now=NOW)
    source = NewItems(WEIGHTS, items, per_category=50)
    assert proposed(source, events, items, "u") == ["new and liked", "new"]


def test_in_a_backtest_nothing_is_proposed_that_was_yet_to_come() -> None:
    later = catalogue(CATEGORIES, tree=TREE, as_of_ms=NOW + DAY)
    events, items = shop(later)
    for source in sources(items):
        assert "desk" not in proposed(source, events, items, "sleeper")


def test_items_of_which_nothing_is_known_take_turns() -> None:
    unseen: dict[str, str | None] = {f"unseen {n}": "furniture" for n in range(50)}
    events, items = shop(catalogue({**CATEGORIES, **unseen}, tree=TREE))
    first = []
    for day in range(3):
        source = NewItems(WEIGHTS, items, per_category=5)
        source.fit(events, NOW + 20 * DAY + day * DAY)
        (sleeper,) = np.flatnonzero(events.user_ids == "sleeper")
        found = source.candidates(np.array([sleeper], np.int32), 5)
        first.append(frozenset(items.item_ids[found.items]))
    assert len(set(first)) == 3


def test_a_part_of_the_events_whose_numbers_name_later_items_tells_nothing_of_them() -> None:
    rows: list[Row] = [*ROWS, ("sleeper", "desk", PURCHASE, 45 * DAY)]
    content = catalogue(CATEGORIES, tree=TREE, as_of_ms=NOW + 10 * DAY)
    part = interactions(rows).before(NOW)
    items = ShopItems.of(part, content, now=NOW)
    assert "desk" in items.item_ids
    for source in sources(items):
        assert "desk" not in proposed(source, part, items, "sleeper")
