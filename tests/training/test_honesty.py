"""Nothing that is learnt knows what comes later, nor how many threads learnt it."""

from dataclasses import replace

import numpy as np
import pytest

from contract.events import VIEW
from tests.training.catalogues import catalogue
from tests.training.shops import DAY, START, interactions, random_shop
from training.backtest import Asked, backtest
from training.catalogue import Catalogue
from training.evaluation import Answered
from training.interactions import Interactions
from training.lists import Lists
from training.recipe import fit_served
from training.served import Served
from training.settings import Hyperparameters

CUT = START + 30 * DAY
QUICK = Hyperparameters(
    als_factors=4, als_iterations=2, evaluation_days=5, fit_windows=2, threads=1, ranker="linear"
)
BOOSTED = QUICK.model_copy(update={"ranker": "boosted", "ranker_iterations": 20, "fit_windows": 3})
LATER_CATALOGUE = catalogue(
    {f"item-{number:03}": f"c{number % 3}" for number in range(45)},
    sold_out=("item-003", "item-004"),
    as_of_ms=START + 41 * DAY,
)


@pytest.fixture(scope="module")
def events() -> Interactions:
    return interactions(random_shop(4, users=150, events=9000))


def with_future_shuffled(events: Interactions) -> Interactions:
    """The events from the cut on happen to other people, with other items."""
    future = np.flatnonzero(events.timestamps >= CUT)
    random = np.random.default_rng(0)
    users, items, kinds = events.users.copy(), events.items.copy(), events.event_types.copy()
    users[future] = random.permutation(users[future])
    items[future] = random.permutation(items[future])
    kinds[future] = random.permutation(kinds[future])
    assert (items != events.items).any()
    assert (users != events.users).any()
    return replace(events, users=users, items=items, event_types=kinds)


def assert_same(one: Served[Lists], other: Served[Lists]) -> None:
    assert one.weights == other.weights
    assert one.notes == other.notes
    assert one.exclude_purchased == other.exclude_purchased
    assert one.exclude_purchased_by_category == other.exclude_purchased_by_category
    assert one.unavailable == other.unavailable
    for table, same in zip(one.lists.tables(), other.lists.tables(), strict=True):
        assert table.equals(same)


@pytest.mark.parametrize("shop", [None, LATER_CATALOGUE], ids=["no catalogue", "a later catalogue"])
def test_the_future_changes_nothing_that_is_learnt(events: Interactions, shop: Catalogue | None) -> None:
    one, other = (
        fit_served(each.before(CUT), now=CUT, settings=QUICK, catalogue=shop)
        for each in (events, with_future_shuffled(events))
    )
    assert one.notes["ranking"]["ranker"] != "prior"
    assert one.notes["blend"]["visitors"] > 20
    assert_same(one, other)


def test_the_future_changes_no_list_of_a_backtest(events: Interactions) -> None:
    def batch_lists(each: Interactions) -> dict[tuple[str, str, str], list[str]]:
        lists: dict[tuple[str, str, str], list[str]] = {}

        def keep(answered: Answered) -> None:
            lists[answered.model, answered.kind, answered.user_id] = answered.items

        def learn(known: Interactions, now: int) -> Served[Lists]:
            return fit_served(known, now=now, settings=QUICK, catalogue=LATER_CATALOGUE)

        days = (int(each.timestamps[-1]) + 1 - CUT) / DAY
        backtest(each, Asked(protocol="batch", days=days, windows=1), learn=learn, on_answer=keep)
        return lists

    one, other = batch_lists(events), batch_lists(with_future_shuffled(events))
    shared = one.keys() & other.keys()
    assert len(shared) > 200
    assert {key: one[key] for key in shared} == {key: other[key] for key in shared}


@pytest.mark.parametrize("settings", [QUICK, BOOSTED], ids=["linear", "boosted"])
def test_runs_and_threads_give_the_same(events: Interactions, settings: Hyperparameters) -> None:
    first, again, threaded = (
        fit_served(events.before(CUT), now=CUT, settings=settings.model_copy(update={"threads": threads}))
        for threads in (1, 1, 2)
    )
    if settings is BOOSTED:
        assert first.notes["ranking"]["ranker"] == "boosted"
    assert_same(first, again)
    assert_same(first, threaded)


def test_who_turns_up_later_leaves_no_gap_that_tells(events: Interactions) -> None:
    """Numbers of users and items depend on the known events alone."""
    newcomers = interactions([*random_shop(4, users=150, events=9000), ("aaa", "aaa", VIEW, 31 * DAY)])
    assert_same(
        fit_served(events.before(CUT), now=CUT, settings=QUICK),
        fit_served(newcomers.before(CUT), now=CUT, settings=QUICK),
    )
