"""What holds for every answer, whoever asks for whatever."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from twin.postgres import create_database, drop_database

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from lambdas.migrate_database.migrate import migrate
from tests.lambdas.callers import Answer, Api, event
from tests.lambdas.conftest import environments
from tests.lambdas.versions import NOW_MS, WEIGHTS, execute, history, load_version

ITEMS = [f"item-{number}" for number in range(40)]
POPULAR = ITEMS[:30]
CATEGORIES = {item: f"category-{number % 3}" for number, item in enumerate(ITEMS)}
SOLD_OUT = frozenset(ITEMS[::7])
KINDS = (VIEW, ADD_TO_CART, PURCHASE)
STORED = [f"stored-{number}" for number in range(12)]
STRANGERS = [f"stranger-{number}" for number in range(6)]

items = st.sampled_from(ITEMS)
few_items = st.lists(items, max_size=25)
deeds = st.lists(st.tuples(items, st.sampled_from(KINDS), st.integers(0, 80)), max_size=8)
"""What somebody does: item, kind, and how many days ago."""
wishes = st.fixed_dictionaries(
    {"limit": st.integers(1, 45), "strategy": st.sampled_from(["blend", "stored", "session"])},
    optional={
        "exclude_purchased": st.booleans(),
        "exclude_seen": st.booleans(),
        "exclude_items": few_items,
        "available_only": st.booleans(),
        "category": st.sampled_from(sorted(set(CATEGORIES.values()))),
    },
)


@dataclass
class Shop:
    """The API, and what the test knows of each visitor."""

    api: Api
    seen: dict[str, set[str]] = field(default_factory=dict)
    bought: dict[str, set[str]] = field(default_factory=dict)

    def note(self, user: str, item: str, kind: str) -> None:
        self.seen.setdefault(user, set()).add(item)
        if kind == PURCHASE:
            self.bought.setdefault(user, set()).add(item)

    def post(self, user: str, done: list[tuple[str, str, int]]) -> None:
        if done:
            events = [event(user, item, kind, timestamp=days_ago(days)) for item, kind, days in done]
            assert self.api.post_events(*events).status == 202
            for item, kind, _ in done:
                self.note(user, item, kind)


def days_ago(days: int) -> int:
    return NOW_MS - days * 86_400_000


@pytest.fixture(scope="module")
def shop(postgres_server: str) -> Iterator[Shop]:
    database = create_database(postgres_server, "answer_properties")
    migrate(database)
    chance = random.Random(7)
    stored = {
        user: [(chance.choice(ITEMS), chance.choice(KINDS)) for _ in range(chance.randint(0, 15))]
        for user in STORED
    }
    load_version(
        database,
        "properties",
        personal={user: scored(chance.sample(ITEMS, chance.randint(1, 20))) for user in STORED},
        histories={user: history(*done) for user, done in stored.items() if done},
        similar={item: scored(chance.sample(ITEMS, chance.randint(1, 10))) for item in ITEMS[::2]},
        bought_together={item: scored(chance.sample(ITEMS, 3)) for item in ITEMS[::3]},
        popular=scored(POPULAR),
        popular_by_category={
            category: scored([item for item in POPULAR if CATEGORIES[item] == category])
            for category in set(CATEGORIES.values())
        },
        blend_weights=WEIGHTS,
    )
    execute(
        database,
        "INSERT INTO items (item_id, available, category_id)"
        " SELECT * FROM unnest(%s::text[], %s::boolean[], %s::text[])",
        list(CATEGORIES),
        [item not in SOLD_OUT for item in CATEGORIES],
        list(CATEGORIES.values()),
    )
    with environments(database) as make:
        # Visitors of all examples are the same: what an answer looks back at is not to end before they do.
        shop = Shop(make(recent_events_limit=1_000_000))
        for user, done in stored.items():
            for item, kind in done:
                shop.note(user, item, kind)
        yield shop
    drop_database(postgres_server, "answer_properties")


def scored(found: list[str]) -> list[tuple[str, float]]:
    return [(item, 1 / (1 + place)) for place, item in enumerate(found)]


users = st.sampled_from([*STORED, *STRANGERS])

QUICK = settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
LONG = settings(QUICK, max_examples=3000)


def check_visitor(shop: Shop, user: str, posted: list[tuple[str, str, int]], wished: dict[str, Any]) -> None:
    """Of somebody with a name, who is asked about by it."""
    shop.post(user, posted)
    query = urlencode({name: text_of(value) for name, value in wished.items() if value != []})
    answer = shop.api.get(f"/v1/users/{quote(user)}/recommendations?{query}")
    check(answer, wished, shop.seen.get(user, set()), shop.bought.get(user, set()))


def check_told(
    shop: Shop, user: str | None, told: list[tuple[str, str, int]], wished: dict[str, Any]
) -> None:
    """Of somebody whose events come with the request."""
    answer = shop.api.post("/v1/recommendations", told_document(user, told, wished))
    seen = {item for item, _, _ in told} | shop.seen.get(user or "", set())
    bought = {item for item, kind, _ in told if kind == PURCHASE} | shop.bought.get(user or "", set())
    check(answer, wished, seen, bought)


def check_ranked(
    shop: Shop, told: list[tuple[str, str, int]], given_items: list[str], wished: dict[str, Any]
) -> None:
    """Of items that are only to be put in order: all of them that are allowed, and no other."""
    document = {**told_document(None, told, wished), "items": given_items}
    answer = shop.api.post("/v1/recommendations", document)
    check_form(answer, wished["limit"])
    seen = {item for item, _, _ in told} if wished.get("exclude_seen") else set()
    bought = (
        {item for item, kind, _ in told if kind == PURCHASE} if wished.get("exclude_purchased") else set()
    )
    allowed = set(given_items) - left_out(wished) - seen - bought
    assert set(answer.item_ids) <= allowed
    assert len(answer.item_ids) == min(wished["limit"], len(allowed))


def check(answer: Answer, wished: dict[str, Any], seen: set[str], bought: set[str]) -> None:
    check_form(answer, wished["limit"])
    unwanted = left_out(wished)
    if wished.get("exclude_seen"):
        unwanted |= seen
    if wished.get("exclude_purchased"):
        unwanted |= bought
    assert not unwanted & set(answer.item_ids)
    worth_showing = [item for item in POPULAR if item not in unwanted]
    assert len(answer.item_ids) >= min(wished["limit"], len(worth_showing))


def check_form(answer: Answer, limit: int) -> None:
    assert answer.status == 200, answer
    assert "x-degraded" not in answer.headers
    shown = answer.document["items"]
    assert len(shown) <= limit
    assert len(set(answer.item_ids)) == len(shown)
    assert [item["rank"] for item in shown] == list(range(1, len(shown) + 1))
    scores = [item["score"] for item in shown]
    assert scores == sorted(scores, reverse=True)
    assert all(item["reasons"] for item in shown)


def left_out(wished: dict[str, Any]) -> set[str]:
    gone = SOLD_OUT if wished.get("available_only", True) else frozenset()
    elsewhere = {
        item for item, category in CATEGORIES.items() if category != wished.get("category", category)
    }
    return set(wished.get("exclude_items", ())) | gone | elsewhere


def told_document(
    user: str | None, told: list[tuple[str, str, int]], wished: dict[str, Any]
) -> dict[str, Any]:
    events = [{"item_id": item, "event_type": kind, "timestamp": days_ago(days)} for item, kind, days in told]
    return {"events": events, **({"user_id": user} if user else {}), **wished}


def text_of(value: Any) -> str:
    return (
        ",".join(value) if isinstance(value, list) else value if isinstance(value, str) else json.dumps(value)
    )


def check_item(shop: Shop, kind: str, item: str, wished: dict[str, Any]) -> None:
    """Of an item's page: never the item itself."""
    known = {
        name: wished[name]
        for name in ("limit", "exclude_items", "available_only", "category")
        if name in wished
    }
    query = urlencode({name: text_of(value) for name, value in known.items() if value != []})
    answer = shop.api.get(f"/v1/items/{item}/{kind}?{query}")
    if answer.status == 404:
        assert answer.document["type"] == "urn:problem:unknown-item"
        return
    check_form_of_item(answer, known["limit"])
    assert not (left_out(known) | {item}) & set(answer.item_ids)


def check_form_of_item(answer: Answer, limit: int) -> None:
    """Two lists, one after the other, each by its own scores."""
    assert answer.status == 200, answer
    shown = answer.document["items"]
    assert len(shown) <= limit
    assert len(set(answer.item_ids)) == len(shown)
    assert [item["rank"] for item in shown] == list(range(1, len(shown) + 1))
    sources = [item["source"] for item in shown]
    assert sources == sorted(sources), "what is bought together comes before what is similar"
    for source in set(sources):
        scores = [item["score"] for item in shown if item["source"] == source]
        assert scores == sorted(scores, reverse=True)


def check_batch(shop: Shop, asked_users: list[str], wished: dict[str, Any]) -> None:
    """Of several visitors: each as if asked for alone."""
    answer = shop.api.post("/v1/recommendations/batch", {"user_ids": asked_users, **wished})
    assert answer.status == 200, answer
    told = {each["user_id"]: each for each in answer.document["answers"]}
    assert list(told) == list(dict.fromkeys(asked_users))
    query = urlencode({name: text_of(value) for name, value in wished.items() if value != []})
    for user, document in told.items():
        alone = shop.api.get(f"/v1/users/{quote(user)}/recommendations?{query}")
        assert without_reasons(document) == without_reasons(alone.document)
        check(alone, wished, shop.seen.get(user, set()), shop.bought.get(user, set()))


def without_reasons(document: Any) -> list[dict[str, Any]]:
    """A batch reads no similar lists for those whose stored list is all that counts: it can't name them."""
    return [{name: value for name, value in item.items() if name != "reasons"} for item in document["items"]]


@QUICK
@given(user=users, posted=deeds, wished=wishes)
def test_visitors(shop: Shop, user: str, posted: list[tuple[str, str, int]], wished: dict[str, Any]) -> None:
    check_visitor(shop, user, posted, wished)


@QUICK
@given(user=st.none() | users, told=deeds, wished=wishes)
def test_told_visitors(
    shop: Shop, user: str | None, told: list[tuple[str, str, int]], wished: dict[str, Any]
) -> None:
    check_told(shop, user, told, wished)


@QUICK
@given(told=deeds, ranked=st.lists(items, min_size=1, max_size=20), wished=wishes)
def test_ranked_items(
    shop: Shop, told: list[tuple[str, str, int]], ranked: list[str], wished: dict[str, Any]
) -> None:
    check_ranked(shop, told, ranked, wished)


@QUICK
@given(kind=st.sampled_from(["similar", "bought-together"]), item=items, wished=wishes)
def test_items(shop: Shop, kind: str, item: str, wished: dict[str, Any]) -> None:
    check_item(shop, kind, item, wished)


@QUICK
@given(asked_users=st.lists(users, min_size=1, max_size=6), wished=wishes)
def test_batches(shop: Shop, asked_users: list[str], wished: dict[str, Any]) -> None:
    check_batch(shop, asked_users, wished)


@pytest.mark.slow
@LONG
@given(user=users, posted=deeds, wished=wishes)
def test_visitors_at_length(
    shop: Shop, user: str, posted: list[tuple[str, str, int]], wished: dict[str, Any]
) -> None:
    check_visitor(shop, user, posted, wished)


@pytest.mark.slow
@LONG
@given(user=st.none() | users, told=deeds, wished=wishes)
def test_told_visitors_at_length(
    shop: Shop, user: str | None, told: list[tuple[str, str, int]], wished: dict[str, Any]
) -> None:
    check_told(shop, user, told, wished)


@pytest.mark.slow
@LONG
@given(told=deeds, ranked=st.lists(items, min_size=1, max_size=20), wished=wishes)
def test_ranked_items_at_length(
    shop: Shop, told: list[tuple[str, str, int]], ranked: list[str], wished: dict[str, Any]
) -> None:
    check_ranked(shop, told, ranked, wished)


@pytest.mark.slow
@LONG
@given(asked_users=st.lists(users, min_size=1, max_size=6), wished=wishes)
def test_batches_at_length(shop: Shop, asked_users: list[str], wished: dict[str, Any]) -> None:
    check_batch(shop, asked_users, wished)


@pytest.mark.parametrize("wish", [{"category": "category-0"}, {"exclude_seen": True}])
def test_given_items_obey_every_filter(shop: Shop, wish: dict[str, Any]) -> None:
    """`item-1` lies in another category, and was just turned to."""
    told = [{"item_id": "item-1", "event_type": VIEW}]
    answer = shop.api.post("/v1/recommendations", {"events": told, "items": ["item-1", "item-3"], **wish})
    assert answer.status == 200
    assert "item-1" not in answer.item_ids


def test_a_batch_of_sessions_equals_single_ones(shop: Shop) -> None:
    check_batch(shop, STORED, {"limit": 20, "strategy": "session"})
