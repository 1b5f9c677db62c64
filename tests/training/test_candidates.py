import numpy as np
import pytest

from contract.blending import BlendWeights, blend, merge_histories
from contract.events import ADD_TO_CART, PURCHASE, VIEW
from tests.training.shops import DAY, START, interactions, two_camps
from training.candidates import Candidates, CandidateSource
from training.candidates.als import Als
from training.candidates.item_item import ItemItem
from training.candidates.own_items import OwnItems
from training.candidates.popular import Popular, RecentPopular
from training.interactions import Interactions
from training.recipe import build_lists
from training.settings import Hyperparameters

WEIGHTS = BlendWeights()


def sources() -> list[CandidateSource]:
    als = Als(WEIGHTS, factors=2, iterations=20, regularization=0.01, alpha=1.0, seed=0, threads=1)
    return [OwnItems(WEIGHTS), ItemItem(WEIGHTS, neighbours=5, history=100), als, Popular(), RecentPopular()]


def by_user(events: Interactions, found: Candidates) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for user, item in zip(found.users, found.items, strict=True):
        lists.setdefault(events.user_ids[user], []).append(events.item_ids[item])
    return lists


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.name)
class TestEverySource:
    def test_keeps_to_the_number_asked_and_orders_by_user_and_score(self, source: CandidateSource) -> None:
        events = interactions(two_camps())
        source.fit(events, START + DAY)
        found = source.candidates(events.distinct_users(), 3)
        assert len(found)
        assert found.ranks().max() <= 2
        assert np.all(np.diff(found.users) >= 0)
        same_user = np.diff(found.users) == 0
        assert np.all(np.diff(found.scores)[same_user] <= 0)
        assert np.all(np.isfinite(found.scores))

    def test_proposes_no_item_twice_to_the_same_user(self, source: CandidateSource) -> None:
        events = interactions(two_camps())
        source.fit(events, START + DAY)
        found = source.candidates(events.distinct_users(), 6)
        pairs = list(zip(found.users.tolist(), found.items.tolist(), strict=True))
        assert len(pairs) == len(set(pairs))

    def test_gives_the_same_twice(self, source: CandidateSource) -> None:
        events = interactions(two_camps())
        answers = []
        for _ in range(2):
            source.fit(events, START + DAY)
            answers.append(source.candidates(events.distinct_users(), 6))
        assert answers[0].items.tolist() == answers[1].items.tolist()

    def test_copes_with_a_single_event(self, source: CandidateSource) -> None:
        events = interactions([("u", "i", PURCHASE, 0)])
        source.fit(events, START + 1)
        assert source.candidates(events.distinct_users(), 10).items.tolist() in ([], [0])


@pytest.mark.parametrize("name", ["item_item", "als"])
def test_what_a_camp_turns_to_is_proposed_to_its_people(name: str) -> None:
    events = interactions(two_camps())
    (source,) = [each for each in sources() if each.name == name]
    source.fit(events, START + DAY)
    for user, items in by_user(events, source.candidates(events.distinct_users(), 3)).items():
        camp = "ab"[int(user[-2:]) % 2]
        assert {item[0] for item in items} == {camp}
        assert len(items) == 3  # also the one that this person has never seen


def test_popular_counts_carts_and_purchases_and_breaks_ties_by_views_then_id() -> None:
    rows = [("u1", "bought", PURCHASE, 0), ("u2", "bought", ADD_TO_CART, 1), ("u1", "once", PURCHASE, 2)]
    rows += [
        ("u1", "viewed-a", VIEW, 3),
        ("u1", "viewed-b", VIEW, 4),
        ("u2", "viewed-b", VIEW, 5),
        ("u3", "also", VIEW, 6),
    ]
    events = interactions(rows)
    source = Popular()
    source.fit(events, START + DAY)
    assert [events.item_ids[item] for item in source.items] == [
        "bought",
        "once",
        "viewed-b",
        "also",
        "viewed-a",
    ]


def test_recent_popular_prefers_what_is_bought_by_now() -> None:
    old = [(f"u{n}", "old", PURCHASE, n) for n in range(12)]
    new = [(f"v{n}", "new", PURCHASE, 60 * DAY + n) for n in range(8)]
    events = interactions(old + new)
    source = RecentPopular()
    source.fit(events, START + 61 * DAY)
    assert events.item_ids[source.items[0]] == "new"


def test_own_strengths_are_those_that_the_blend_computes() -> None:
    rows = [
        ("u", "a", VIEW, 0),
        ("u", "b", ADD_TO_CART, DAY),
        ("u", "a", VIEW, 3 * DAY),
        ("u", "c", "wishlist", 4 * DAY),
    ]
    events = interactions(rows)
    now = START + 5 * DAY
    source = OwnItems(WEIGHTS)
    source.fit(events, now)
    found = source.candidates(events.distinct_users(), 10)
    lists = build_lists(events, now=now, settings=Hyperparameters(als_factors=2), weights=WEIGHTS)
    blended = blend(
        history=merge_histories(lists.history_of("u"), length=50),
        personal=[],
        similar={},
        popular=[],
        weights=WEIGHTS,
        now=now,
        limit=10,
    )
    assert [events.item_ids[item] for item in found.items] == [item.item_id for item in blended]
    assert found.scores.tolist() == pytest.approx([item.score for item in blended])
