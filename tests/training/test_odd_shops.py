"""Shops that are odd: a sensible answer or a clear error, never a crash, a NaN or a list that is silently empty."""

import math
from collections.abc import Callable

import pytest

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from tests.training.shops import DAY, START, Row, interactions, random_shop
from training.backtest import Asked, backtest
from training.errors import TooLittleDataError
from training.interactions import Interactions
from training.lists import Lists
from training.recipe import fit_served
from training.served import Served
from training.settings import Hyperparameters

QUICK = Hyperparameters(
    als_factors=4, als_iterations=2, evaluation_days=5, fit_windows=2, threads=1, ranker="linear"
)


def learn(events: Interactions, now: int) -> Served[Lists]:
    return fit_served(events, now=now, settings=QUICK)


def everything(rows: list[Row]) -> Served[Lists]:
    events = interactions(rows)
    return learn(events, int(events.timestamps[-1]) + 1)


def regular(kinds: dict[str, str] | None = None) -> list[Row]:
    renamed = kinds or {}
    return [
        (user, item, renamed.get(kind, kind), moment)
        for user, item, kind, moment in random_shop(5, users=40, items=15, events=600)
    ]


def only(*kinds: str) -> list[Row]:
    return [row for row in regular() if row[2] in kinds]


def robot() -> list[Row]:
    return regular() + [("robot", f"item-{n % 15:03}", VIEW, n * 30_000) for n in range(100_000)]


def seen_by_all() -> list[Row]:
    return regular() + [(f"user-{n:03}", "everywhere", VIEW, n * 1000) for n in range(40)]


def odd_ids() -> list[Row]:
    users = ["1", "01", "1.0", "a b", "it's", '"quoted"', "🦊", "ü", "x,y;\n", "\\", "NULL", "nan"]
    items = ["0", "00", "-1", "1e3", "a b", "it's", '"', "🛒", "é", "e\u0301", "%s", "{}"]
    names = {f"user-{n:03}": name for n, name in enumerate(users)}
    goods = {f"item-{n:03}": name for n, name in enumerate(items)}
    return [(names.get(user, user), goods.get(item, item), kind, at) for user, item, kind, at in regular()]


SHOPS: dict[str, Callable[[], list[Row]]] = {
    "one user": lambda: [row for row in regular() if row[0] == "user-000"],
    "one item": lambda: [row for row in regular() if row[1] == "item-003"],
    "one event": lambda: [("u", "i", PURCHASE, 0)],
    "one view": lambda: [("u", "i", VIEW, 0)],
    "a robot": robot,
    "an item that everyone sees": seen_by_all,
    "odd ids": odd_ids,
    "events twice": lambda: regular() * 2,
    "all at one moment": lambda: [(user, item, kind, 0) for user, item, kind, _ in regular()],
    "no target": lambda: only(VIEW, "wish"),
    "views and purchases": lambda: only(VIEW, PURCHASE),
    "purchases": lambda: only(PURCHASE),
    "favourites and wish lists": lambda: regular({"wish": "wishlist", ADD_TO_CART: "favorite"}),
    "a few hours": lambda: [(user, item, kind, at // 400) for user, item, kind, at in regular()],
}


@pytest.mark.parametrize("name", SHOPS)
def test_everybody_gets_a_list(name: str) -> None:
    rows = SHOPS[name]()
    served = everything(rows)
    users, items = {row[0] for row in rows}, {row[1] for row in rows}
    now = served.until
    assert served.lists.popular_items
    for user in sorted(users):
        personal = served.lists.personal_of(user)
        assert personal
        assert all(math.isfinite(score) for _, score in personal)
        answer = served.answer(user, [], now=now, limit=10)
        assert len(answer) == len(set(answer))
        assert set(answer) <= items
        if not served.exclude_purchased:
            assert len(answer) == min(10, len(items))
    assert served.answer("a stranger", [], now=now, limit=10)
    for item in items:
        assert served.lists.similar_to(item)[0][0] == item
    assert all(math.isfinite(score) for score in served.lists.similar.scores)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in SHOPS
        if name not in {"one event", "one view", "all at one moment", "no target", "one item"}
    ],
)
@pytest.mark.parametrize("protocol", ["batch", "session"])
def test_every_figure_of_a_backtest_is_a_number(name: str, protocol: str) -> None:
    events = interactions(SHOPS[name]())
    asked = Asked(protocol=protocol, days=8, windows=2, models=("served", "popular"))  # type: ignore[arg-type]
    document = backtest(events, asked, learn=learn)
    served = document["models"]["served"]
    assert served["users"] > 0

    def numbers(value: object) -> list[float]:
        if isinstance(value, dict):
            return [number for each in value.values() for number in numbers(each)]
        return [float(value)] if isinstance(value, int | float) else []

    assert numbers(document["models"])
    assert all(math.isfinite(number) for number in numbers(document["models"]))


@pytest.mark.parametrize("name", ["one event", "all at one moment"])
def test_what_spans_no_time_cannot_be_judged(name: str) -> None:
    with pytest.raises(TooLittleDataError, match="too few to hold out a window"):
        backtest(interactions(SHOPS[name]()), Asked(protocol="batch"), learn=learn)


def test_without_a_target_nothing_can_be_judged() -> None:
    with pytest.raises(TooLittleDataError, match="nobody has add_to_cart or purchase.*--targets"):
        backtest(interactions(only(VIEW, "wish")), Asked(protocol="batch", days=8), learn=learn)


def test_people_of_whom_nothing_is_known_get_what_is_popular() -> None:
    rows = [row for row in regular() if row[3] < 27 * DAY]
    rows += [(f"new-{n}", f"item-{n % 15:03}", PURCHASE, 35 * DAY + n) for n in range(30)]
    events = interactions(rows)
    document = backtest(
        events, Asked(protocol="batch", days=7, windows=1, models=("served", "recent_popular")), learn=learn
    )
    served, popular = document["models"]["served"], document["models"]["recent_popular"]
    assert served["users"] == 30
    assert served["recall@10"] == popular["recall@10"]


def test_events_of_nobody_leave_empty_lists() -> None:
    nothing = interactions([("u", "i", PURCHASE, 0)]).before(START)
    served = learn(nothing, START)
    assert served.lists.popular_items == []
    assert served.answer("u", [], now=START, limit=10) == []
    assert [table for table in served.lists.tables() if table.num_rows] == []
