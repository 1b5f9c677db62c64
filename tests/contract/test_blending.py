"""The blend: what holds for every answer, and a few whose right order is known."""

from collections.abc import Sequence
from dataclasses import asdict, replace
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
    merge_histories,
    purchased_items,
    recent_items,
)
from contract.events import ADD_TO_CART, PURCHASE, VIEW, Event

NOW = 1_769_860_800_000
WEIGHTS = BlendWeights()

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
    own=st.floats(0, 10),
    similar=st.floats(0, 1),
    personal=st.floats(0, 1),
    popular=st.floats(0, 1),
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
    history = given_inputs["history"][: given_inputs["weights"].history_length]
    lenders = recent_items(history, given_inputs["weights"])
    candidates = {event.item_id for event in history}
    for scored in (
        given_inputs["personal"],
        given_inputs["popular"],
        *(given_inputs["similar"].get(item, []) for item in lenders),
    ):
        candidates |= {item for item, _ in scored}
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


def test_ties_go_by_item_id() -> None:
    answer = answered(similar={"a": [("z", 0.5), ("b", 0.5)]}, history=[Event("a", VIEW, NOW)])
    assert ids(answer) == ["a", "b", "z"]


def test_of_events_at_one_moment_those_of_the_first_history_are_newer() -> None:
    merged = merge_histories([Event("posted", VIEW, NOW)], [Event("stored", VIEW, NOW)], length=2)
    assert [event.item_id for event in merged] == ["posted", "stored"]


def test_what_was_put_into_the_cart_counts_more_than_what_was_looked_at_later() -> None:
    history = [Event("viewed", VIEW, NOW), Event("in-cart", ADD_TO_CART, NOW)]
    assert ids(answered(history=history)) == ["in-cart", "viewed"]


def test_what_is_come_back_to_counts_more_than_what_was_seen_once() -> None:
    history = [Event("once", VIEW, NOW), Event("often", VIEW, NOW), Event("often", VIEW, NOW - 1)]
    assert ids(answered(history=history)) == ["often", "once"]


def test_an_event_counts_half_after_a_half_life() -> None:
    weights = BlendWeights(half_life_days=2, rank_decay=1)
    history = [Event("new", VIEW, NOW), Event("old", VIEW, NOW - 2 * MILLISECONDS_A_DAY)]
    new, old = answered(history=history, weights=weights)
    assert old.score == pytest.approx(new.score / 2)


def test_an_event_in_the_future_counts_as_one_of_now() -> None:
    history = [Event("a", VIEW, NOW + MILLISECONDS_A_DAY)]
    assert answered(history=history)[0].score == pytest.approx(WEIGHTS.own)


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
        popular=[("popular", 1.0), ("own", 0.5)],
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
    ],
)
def test_odd_weights_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BlendWeightsError, match=message):
        BlendWeights.from_document({**asdict(WEIGHTS), **change})


@pytest.mark.parametrize("document", [None, [], "own", {}, {"own": 1}])
def test_what_is_no_full_set_of_weights_is_refused(document: Any) -> None:
    with pytest.raises(BlendWeightsError):
        BlendWeights.from_document(document)


def answered(**given: Any) -> list[BlendedItem]:
    usual: dict[str, Any] = {"history": [], "personal": [], "similar": {}, "popular": [], "weights": WEIGHTS}
    return blend(**{**usual, **given}, now=NOW, limit=10)


def ids(answer: Sequence[BlendedItem]) -> list[str]:
    return [item.item_id for item in answer]
