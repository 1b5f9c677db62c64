"""The blend: what holds for every answer, and a few whose right order is known."""

import math
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.blending import (
    MILLISECONDS_A_DAY,
    BlendedItem,
    BlendWeights,
    BlendWeightsError,
    blend,
    has_news,
    merge_histories,
    purchased_items,
    rank_score,
    recent_items,
)
from contract.events import ADD_TO_CART, PURCHASE, VIEW, Event

NOW = 1_769_860_800_000
WEIGHTS = BlendWeights()
NOTHING = BlendWeights(
    own=0, latest=0, conversion=0, similar=0, personal=0, personal_own=0, popular=0, event_weights={},
    other_event_weight=0,
)  # fmt: skip
"""Weights for a test to set one of."""

items = st.sampled_from([f"item-{number}" for number in range(12)])
events = st.builds(
    Event,
    items,
    st.sampled_from([VIEW, ADD_TO_CART, PURCHASE, "wish"]),
    st.integers(NOW - 10**10, NOW + 10**6),
)
histories = st.lists(events, max_size=30).map(lambda each: sorted(each, key=lambda event: -event.timestamp))
lists = st.lists(st.tuples(items, st.floats(0, 1)), max_size=12, unique_by=lambda each: each[0])
weights = st.builds(
    BlendWeights,
    own=st.floats(-10, 10),
    latest=st.floats(-10, 10),
    conversion=st.floats(-10, 10),
    similar=st.floats(0, 10),
    personal=st.floats(0, 10),
    personal_own=st.floats(-10, 10),
    popular=st.floats(0, 10),
    event_weights=st.dictionaries(st.sampled_from([VIEW, ADD_TO_CART, PURCHASE]), st.floats(-10, 10)),
    other_event_weight=st.floats(-10, 10),
    rank_decay=st.floats(0.1, 1),
    half_life_days=st.floats(0.01, 1000),
    recent_items=st.integers(0, 20),
    history_length=st.integers(0, 50),
)
inputs = st.fixed_dictionaries(
    {
        "history": histories,
        "personal": lists,
        "similar": st.dictionaries(items, lists, max_size=6),
        "popular": lists,
        "weights": weights,
        "has_news": st.booleans(),
    }
)


@given(given_inputs=inputs, limit=st.integers(1, 15), exclude=st.frozensets(items, max_size=6))
def test_every_answer_is_ordered_without_duplicates_and_without_what_is_excluded(
    given_inputs: dict[str, Any], limit: int, exclude: frozenset[str]
) -> None:
    answer = blend(**given_inputs, now=NOW, limit=limit, exclude=exclude)
    ids = [item.item_id for item in answer]
    assert len(ids) == len(set(ids)) <= limit
    assert exclude.isdisjoint(ids)
    for one, other in pairwise(answer):
        assert (-one.score, one.item_id) < (-other.score, other.item_id)


@given(given_inputs=inputs, limit=st.integers(1, 15), exclude=st.frozensets(items, max_size=6))
def test_an_answer_is_full_when_there_are_enough_candidates(
    given_inputs: dict[str, Any], limit: int, exclude: frozenset[str]
) -> None:
    candidates = {item for name in ("personal", "popular") for item, _ in given_inputs[name]}
    if given_inputs["has_news"] or not given_inputs["personal"]:
        history = given_inputs["history"][: given_inputs["weights"].history_length]
        candidates |= {event.item_id for event in history}
        for item in recent_items(history, given_inputs["weights"]):
            candidates |= {other for other, _ in given_inputs["similar"].get(item, [])}
    answer = blend(**given_inputs, now=NOW, limit=limit, exclude=exclude)
    assert len(answer) == min(limit, len(candidates - exclude))


@given(given_inputs=inputs, limit=st.integers(1, 14))
def test_a_longer_answer_begins_with_the_shorter_one(given_inputs: dict[str, Any], limit: int) -> None:
    longer = blend(**given_inputs, now=NOW, limit=limit + 1)
    assert blend(**given_inputs, now=NOW, limit=limit) == longer[:limit]


@given(one=histories, other=histories, length=st.integers(0, 60))
def test_merged_histories_are_newest_first_and_hold_no_event_twice(
    one: list[Event], other: list[Event], length: int
) -> None:
    merged = merge_histories(one, other, length=length)
    assert all(before.timestamp >= after.timestamp for before, after in pairwise(merged))
    assert len(merged) == len(set(merged)) == min(length, len({*one, *other}))
    assert merge_histories(merged, one, other, length=length) == merged


@given(given_inputs=inputs, exclude=st.frozensets(items, max_size=6))
def test_what_is_excluded_leaves_the_order_of_the_others(
    given_inputs: dict[str, Any], exclude: frozenset[str]
) -> None:
    everything = ids(blend(**given_inputs, now=NOW, limit=100))
    without = ids(blend(**given_inputs, now=NOW, limit=100, exclude=exclude))
    assert without == [item for item in everything if item not in exclude]


def test_ties_go_by_item_id() -> None:
    answer = answered(
        similar={"c": [("z", 0.5), ("b", 0.5)]},
        history=[Event("c", VIEW, NOW)],
        weights=replace(NOTHING, similar=1),
    )
    assert ids(answer) == ["b", "z", "c"]


class TestIdleVisitor:
    """Who did nothing that the lists don't know gets what was ranked for them."""

    history = (Event("seen", PURCHASE, NOW - 1),)
    similar: dict[str, list[tuple[str, float]]] = {"seen": [("like-seen", 1.0)]}  # noqa: RUF012

    def answer(self, **given: Any) -> list[BlendedItem]:
        usual: dict[str, Any] = {
            "history": self.history,
            "similar": self.similar,
            "personal": [("p1", 0.1), ("both", 0.05)],
            "popular": [("both", 9.0), ("top", 8.0), ("next", 7.0)],
            "has_news": False,
            "weights": replace(WEIGHTS, own=100),
        }
        return answered(**usual | given)

    def test_gets_the_stored_list_then_what_is_popular(self) -> None:
        assert ids(self.answer()) == ["p1", "both", "top", "next"]
        assert [item.source for item in self.answer()] == ["personal", "personal", "popular", "popular"]

    def test_the_score_tells_the_place(self) -> None:
        assert [item.score for item in self.answer()] == [1, 1 / 2, 1 / 3, 1 / 4]

    def test_what_is_excluded_is_filled_up(self) -> None:
        full = self.answer(exclude={"p1", "top"}, limit=2)
        assert ids(full) == ["both", "next"]
        assert [item.score for item in full] == [1, 1 / 2]

    def test_a_user_without_a_stored_list_gets_what_their_history_tells(self) -> None:
        assert ids(self.answer(personal=[]))[0] == "seen"
        assert "like-seen" in ids(self.answer(personal=[]))

    def test_one_new_event_puts_the_parts_together(self) -> None:
        answer = self.answer(history=[Event("new", VIEW, NOW), *self.history], has_news=True)
        assert ids(answer)[0] == "new"
        assert set(ids(answer)) == {"new", "seen", "like-seen", "p1", "both", "top", "next"}


class TestScores:
    """Each part by hand, alone and added up."""

    def test_of_own_items(self) -> None:
        weights = replace(
            WEIGHTS, own=3, latest=2, event_weights={VIEW: 1, ADD_TO_CART: 5}, other_event_weight=0.5,
            rank_decay=0.5, half_life_days=10,
        )  # fmt: skip
        day = MILLISECONDS_A_DAY
        history = [
            Event("a", VIEW, NOW),
            Event("b", ADD_TO_CART, NOW - 10 * day),
            Event("a", "wish", NOW - 20 * day),
        ]
        assert scores(answered(history=history, weights=weights)) == pytest.approx(
            {"a": 3 + 2 / 1 + 1 * 1 * 1 + 0.5 * 0.25 * 0.25, "b": 3 + 2 / 2 + 5 * 0.5 * 0.5}
        )

    def test_of_the_odds_of_a_return(self) -> None:
        weights = replace(NOTHING, conversion=2)
        history = [Event(item, VIEW, NOW) for item in ("often", "average", "unknown", "never")]
        similar = {
            "often": [("x", 0.9), ("often", 0.8)],
            "average": [("average", 0.5)],
            "never": [("never", 0)],
        }
        found = scores(answered(history=history, similar=similar, weights=weights))
        assert found.pop("x") == 0
        assert found == pytest.approx(
            {"often": 2 * math.log(4), "average": 0, "unknown": 0, "never": 2 * math.log(1e-6)}, rel=1e-5
        )

    def test_of_similar_items(self) -> None:
        weights = replace(NOTHING, similar=2, rank_decay=0.5, half_life_days=1)
        history = [
            Event("a", VIEW, NOW),
            Event("b", PURCHASE, NOW - MILLISECONDS_A_DAY),
            Event("a", VIEW, NOW - 2 * MILLISECONDS_A_DAY),
        ]
        similar = {"a": [("a", 0.9), ("x", 0.5), ("b", 1.0)], "b": [("x", 0.25), ("y", 1.0)]}
        a, b = 1 + 0.25 * 0.25, 0.5 * 0.5
        assert scores(answered(history=history, similar=similar, weights=weights)) == pytest.approx(
            {"a": 0, "b": 0, "x": 2 * (0.5 * a + 0.25 * b), "y": 2 * b}
        )

    def test_of_the_personal_list_goes_by_rank_and_has_a_weight_of_its_own_for_own_items(self) -> None:
        weights = replace(NOTHING, personal=3, personal_own=5)
        answer = answered(
            history=[Event("b", VIEW, NOW)], personal=[("a", 0.1), ("b", 9), ("c", 0)], weights=weights
        )
        assert scores(answer) == pytest.approx({"a": 3, "b": 5 * rank_score(1), "c": 3 * rank_score(2)})

    def test_of_the_popular_list_goes_by_rank_and_leaves_own_items_out(self) -> None:
        weights = replace(NOTHING, popular=3)
        answer = answered(
            history=[Event("b", VIEW, NOW)], popular=[("a", 0.1), ("b", 9), ("c", 0)], weights=weights
        )
        assert scores(answer) == pytest.approx({"a": 3, "b": 0, "c": 3 * rank_score(2)})

    def test_parts_add_up(self) -> None:
        given: dict[str, Any] = {
            "history": [Event("own", ADD_TO_CART, NOW)],
            "similar": {"own": [("x", 0.5)]},
            "personal": [("own", 1.0), ("x", 0.5)],
            "popular": [("x", 1.0)],
        }
        assert scores(answered(**given)) == pytest.approx(
            {
                "own": (
                    WEIGHTS.own + WEIGHTS.latest + WEIGHTS.event_weights[ADD_TO_CART] + WEIGHTS.personal_own
                ),
                "x": 0.5 * WEIGHTS.similar + rank_score(1) * WEIGHTS.personal + WEIGHTS.popular,
            }
        )

    def test_of_a_rank_fall_from_one_to_nothing(self) -> None:
        assert rank_score(0) == 1
        assert rank_score(200) == rank_score(10_000) == 0
        assert all(rank_score(rank) > rank_score(rank + 1) for rank in range(200))

    def test_know_no_event_beyond_the_length_of_a_history(self) -> None:
        short = replace(WEIGHTS, history_length=1)
        history = [Event("a", VIEW, NOW), Event("b", VIEW, NOW)]
        answer = answered(history=history, similar={"b": [("x", 1.0)]}, weights=short)
        assert ids(answer) == ["a"]


def test_news_is_what_the_stored_history_lacks() -> None:
    stored = [Event("a", VIEW, NOW), Event("b", VIEW, NOW - 1)]
    assert not has_news([], stored)
    assert not has_news([], [])
    assert not has_news(stored[1:], stored)
    assert has_news([Event("a", VIEW, NOW + 1)], stored)
    assert has_news([Event("a", PURCHASE, NOW)], stored)


def test_of_events_at_one_moment_those_of_the_first_history_are_newer() -> None:
    merged = merge_histories([Event("posted", VIEW, NOW)], [Event("stored", VIEW, NOW)], length=2)
    assert [event.item_id for event in merged] == ["posted", "stored"]


def test_what_was_put_into_the_cart_counts_more_than_what_was_looked_at_later() -> None:
    history = [Event("viewed", VIEW, NOW), Event("in-cart", ADD_TO_CART, NOW)]
    answer = answered(history=history, weights=replace(WEIGHTS, latest=0))
    assert ids(answer) == ["in-cart", "viewed"]


def test_what_is_come_back_to_counts_more_than_what_was_seen_once() -> None:
    history = [Event("once", VIEW, NOW), Event("often", VIEW, NOW), Event("often", VIEW, NOW - 1)]
    answer = answered(history=history, weights=replace(WEIGHTS, latest=0))
    assert ids(answer) == ["often", "once"]


def test_what_the_visitor_turned_to_last_comes_first() -> None:
    history = [Event("last", VIEW, NOW), Event("before", VIEW, NOW)]
    answer = answered(history=history, weights=replace(NOTHING, latest=6))
    assert scores(answer) == {"last": 6, "before": 3}


def test_an_event_counts_half_after_a_half_life() -> None:
    weights = replace(NOTHING, event_weights={VIEW: 1.0}, half_life_days=2, rank_decay=1)
    history = [Event("new", VIEW, NOW), Event("old", VIEW, NOW - 2 * MILLISECONDS_A_DAY)]
    new, old = answered(history=history, weights=weights)
    assert old.score == pytest.approx(new.score / 2)


def test_an_event_in_the_future_counts_as_one_of_now() -> None:
    now = answered(history=[Event("a", VIEW, NOW)])
    assert answered(history=[Event("a", VIEW, NOW + MILLISECONDS_A_DAY)]) == now


def test_only_the_latest_distinct_items_lend_their_lists() -> None:
    history = [
        Event("a", VIEW, NOW),
        Event("a", VIEW, NOW - 1),
        Event("b", VIEW, NOW - 2),
        Event("c", VIEW, NOW - 3),
    ]
    few = replace(WEIGHTS, recent_items=2)
    assert recent_items(history, few) == ["a", "b"]
    similar = {name: [(f"like-{name}", 0.5)] for name in "abc"}
    answer = ids(answered(history=history, similar=similar, weights=few))
    assert set(answer) == {"a", "b", "c", "like-a", "like-b"}


def test_each_item_tells_the_part_that_gave_most_of_its_score() -> None:
    answer = answered(
        history=[Event("own", VIEW, NOW)],
        similar={"own": [("similar", 1.0)]},
        personal=[("personal", 1.0), ("similar", 0.5)],
        popular=[("popular", 1.0), ("personal", 0.5), ("own", 0.2)],
        weights=replace(WEIGHTS, own=10, similar=4, personal=4.5, personal_own=0.5, popular=4),
    )
    assert {item.item_id: item.source for item in answer} == {
        name: name for name in ("own", "similar", "personal", "popular")
    }


def test_of_nobody_nothing_is_known_but_what_is_popular() -> None:
    assert ids(answered(popular=[("b", 2.0), ("a", 1.0)])) == ["b", "a"]
    assert answered() == []


def test_bought_is_what_was_bought() -> None:
    history = [Event("a", VIEW, NOW), Event("b", PURCHASE, NOW), Event("b", VIEW, NOW)]
    assert purchased_items(history) == {"b"}


def test_weights_come_back_from_json_as_they_were() -> None:
    weights = BlendWeights(own=2, event_weights={"wish": 0.5})
    assert BlendWeights.from_document(asdict(weights)) == weights


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"own": None}, "None is not a number"),
        ({"own": True}, "True is not a number"),
        ({"own": "1"}, "'1' is not a number"),
        ({"event_weights": []}, "event_weights is not an object"),
        ({"event_weights": {"view": "1"}}, "'1' is not a number"),
        ({"own": float("nan")}, "nan is not a number"),
        ({"recent_items": 20.0}, "recent_items is 20.0, expected a whole number"),
        ({"history_length": -1}, "history_length is -1, expected a whole number"),
        ({"half_life_days": 0}, "half_life_days is 0, expected more than 0"),
        ({"rank_decay": 1.5}, "rank_decay is 1.5, expected above 0 and up to 1"),
        ({"rank_decay": 0}, "rank_decay is 0, expected above 0 and up to 1"),
        ({"own": 10**400}, "is not a number"),
    ],
)
def test_odd_weights_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BlendWeightsError, match=message):
        BlendWeights.from_document({**asdict(WEIGHTS), **change})


@pytest.mark.parametrize("document", [None, [], "own", {}, {"own": 1}])
def test_what_is_no_full_set_of_weights_is_refused(document: Any) -> None:
    with pytest.raises(BlendWeightsError):
        BlendWeights.from_document(document)


@pytest.mark.parametrize("name", [field.name for field in fields(BlendWeights)])
def test_a_weight_that_is_missing_is_named(name: str) -> None:
    document = asdict(WEIGHTS)
    del document[name]
    with pytest.raises(BlendWeightsError, match=f"^blend weights lack {name}$"):
        BlendWeights.from_document(document)


def test_a_weight_of_newer_code_is_passed_over() -> None:
    assert BlendWeights.from_document({**asdict(WEIGHTS), "newer": "anything"}) == WEIGHTS


def answered(**given: Any) -> list[BlendedItem]:
    usual: dict[str, Any] = {
        "history": [], "personal": [], "similar": {}, "popular": [], "weights": WEIGHTS, "has_news": True,
        "limit": 10,
    }  # fmt: skip
    return blend(**usual | given, now=NOW)


def ids(answer: Sequence[BlendedItem]) -> list[str]:
    return [item.item_id for item in answer]


def scores(answer: Sequence[BlendedItem]) -> dict[str, float]:
    return {item.item_id: item.score for item in answer}
