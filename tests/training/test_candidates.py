"""Candidate sources by their protocol, and what each of them is for."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from tests.training.shops import DAY, START, interactions, two_camps
from training.candidates import Candidates, CandidateSource, best_per_user
from training.candidates.als import Als
from training.candidates.own_items import HALF_LIFE_DAYS, RANK_DECAY, OwnItems, own_strengths
from training.candidates.popular import Popular, RecentPopular
from training.candidates.session_knn import SessionKnn
from training.candidates.similar_items import SimilarSource, similarities
from training.interactions import Interactions

WEIGHTS = {VIEW: 0.1, ADD_TO_CART: 1.0, PURCHASE: 1.0}
NOW = START + DAY


def als(_: Interactions, threads: int) -> CandidateSource:
    return Als(WEIGHTS, factors=2, iterations=20, regularization=0.01, alpha=20.0, seed=0, threads=threads)


def similar(events: Interactions, _: int) -> CandidateSource:
    measures = similarities(events, neighbours=5, history=100)
    return SimilarSource(measures, own_strengths(events, NOW, WEIGHTS), len(events.user_ids))


SOURCES: dict[str, Callable[[Interactions, int], CandidateSource]] = {
    "own": lambda _events, _threads: OwnItems(WEIGHTS),
    "similar": similar,
    "session_knn": lambda _events, _threads: SessionKnn(),
    "als": als,
    "popular": lambda _events, _threads: Popular(),
    "recent_popular": lambda _events, _threads: RecentPopular(),
}


def proposed(name: str, events: Interactions, per_user: int, *, threads: int = 1) -> Candidates:
    source = SOURCES[name](events, threads)
    assert source.name == name
    source.fit(events, NOW)
    return source.candidates(events.distinct_users(), per_user)


def by_user(events: Interactions, found: Candidates) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for user, item in zip(found.users, found.items, strict=True):
        lists.setdefault(events.user_ids[user], []).append(events.item_ids[item])
    return lists


@pytest.mark.parametrize("name", SOURCES)
class TestEverySource:
    def test_keeps_to_the_number_asked_and_orders_by_user_and_score(self, name: str) -> None:
        found = proposed(name, interactions(two_camps()), 3)
        assert len(found)
        assert found.ranks().max() <= 2
        assert np.all(np.diff(found.users) >= 0)
        same_user = np.diff(found.users) == 0
        assert np.all(np.diff(found.scores)[same_user] <= 0)
        assert np.all(np.isfinite(found.scores))
        assert (found.users.dtype, found.items.dtype, found.scores.dtype) == (np.int32, np.int32, np.float32)

    def test_proposes_no_item_twice_to_the_same_user(self, name: str) -> None:
        found = proposed(name, interactions(two_camps()), 6)
        pairs = list(zip(found.users.tolist(), found.items.tolist(), strict=True))
        assert len(pairs) == len(set(pairs))

    def test_gives_the_same_twice_and_with_any_number_of_threads(self, name: str) -> None:
        events = interactions(two_camps())
        first, again, threaded = (proposed(name, events, 6, threads=threads) for threads in (1, 1, 2))
        for other in (again, threaded):
            assert first.users.tolist() == other.users.tolist()
            assert first.items.tolist() == other.items.tolist()
            assert first.scores.tolist() == other.scores.tolist()

    def test_tells_some_users_what_it_tells_them_among_all(self, name: str) -> None:
        events = interactions(two_camps())
        source = SOURCES[name](events, 1)
        source.fit(events, NOW)
        everyone = by_user(events, source.candidates(events.distinct_users(), 4))
        some = by_user(events, source.candidates(np.array([3, 8], np.int32), 4))
        assert some == {events.user_ids[user]: everyone[events.user_ids[user]] for user in (3, 8)}
        assert len(source.candidates(np.empty(0, np.int32), 4)) == 0

    def test_copes_with_a_single_event(self, name: str) -> None:
        assert proposed(name, interactions([("u", "i", PURCHASE, 0)]), 10).items.tolist() in ([], [0])

    def test_copes_with_nothing(self, name: str) -> None:
        nothing = interactions([("u", "i", PURCHASE, 0)]).before(START)
        assert len(proposed(name, nothing, 10)) == 0
        assert len(proposed(name, nothing.compact(), 10)) == 0


@pytest.mark.parametrize("name", ["similar", "session_knn", "als"])
def test_what_a_camp_turns_to_is_proposed_to_its_people(name: str) -> None:
    events = interactions(two_camps())
    for user, items in by_user(events, proposed(name, events, 3)).items():
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
    source.fit(events, NOW)
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


def test_own_strengths_count_events_by_kind_rank_and_age() -> None:
    rows = [("u", "a", VIEW, 0), ("u", "b", ADD_TO_CART, DAY), ("u", "a", "wishlist", 3 * DAY)]
    events = interactions(rows)
    found = own_strengths(events, START + 3 * DAY, WEIGHTS)

    def counted(weight: float, rank: int, days: float) -> float:
        return weight * RANK_DECAY**rank * 0.5 ** (days / HALF_LIFE_DAYS)

    assert dict(zip(events.item_ids[found.items], found.scores, strict=True)) == pytest.approx(
        {"a": counted(1.0, 0, 0) + counted(WEIGHTS[VIEW], 2, 3), "b": counted(1.0, 1, 2)}
    )


scores = st.one_of(st.floats(width=32, allow_nan=False), st.sampled_from([0.0, -0.0, 1.0, 2.0]))
rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), scores), max_size=60)


@given(rows=rows, per_user=st.integers(1, 5))
def test_the_best_of_each_user_are_those_of_a_plain_sort(
    rows: list[tuple[int, int, float]], per_user: int
) -> None:
    distinct = {(user, item): score for user, item, score in rows}
    expected = []
    for user in range(5):
        ranked = sorted((-score, item) for (of, item), score in distinct.items() if of == user)
        expected += [(user, item, -score) for score, item in ranked[:per_user]]
    found = best_per_user(
        np.array([user for user, _ in distinct], np.int32),
        np.array([item for _, item in distinct], np.int32),
        np.array(list(distinct.values()), np.float32),
        per_user,
    )
    assert (
        list(zip(found.users.tolist(), found.items.tolist(), found.scores.tolist(), strict=True)) == expected
    )
