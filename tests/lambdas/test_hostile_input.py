"""Text that is meant to be taken for SQL, and more of it than anybody needs: it is text, or refused."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.lambdas.callers import Answer, Api, event, proxy_event
from tests.lambdas.versions import execute

TEXTS = [
    "'; DROP TABLE events; --",
    '" OR 1=1 --',
    "x'); SELECT pg_sleep(60); --",
    "$$; DROP TABLE serving; $$",
    "%s %(user)s %% %",
    "{a,b}",
    "NULL",
    "\\'; DELETE FROM items; --",
    "E'\\\\x00'",
    "$1::text",
    "../../etc/passwd",
    "💥\u202e\u0301",
]

TABLES = ("events", "items", "categories", "recommendations", "serving", "versions")


def get(target: str) -> Callable[[Api, str], Answer]:
    return lambda api, text: api.get(target.format(quote(text, safe="")))


def body(method: str, target: str, make: Callable[[str], Any]) -> Callable[[Api, str], Answer]:
    return lambda api, text: api.send(proxy_event(method, target, body=json.dumps(make(text))))


REQUESTS: dict[str, Callable[[Api, str], Answer]] = {
    "user": get("/v1/users/{}/recommendations"),
    "user's data": get("/v1/users/{}"),
    "similar": get("/v1/items/{}/similar"),
    "bought together": get("/v1/items/{}/bought-together"),
    "category": get("/v1/popular?category={}"),
    "visitor's category": get("/v1/users/known/recommendations?category={}"),
    "excluded": get("/v1/popular?exclude_items={}"),
    "variant": get("/v1/users/known/recommendations?variant={}"),
    "strategy": get("/v1/users/known/recommendations?strategy={}"),
    "limit": get("/v1/popular?limit={}"),
    "window": get("/v1/popular?window={}"),
    "parameter": get("/v1/popular?{}=1"),
    "told item": body(
        "POST", "/v1/recommendations", lambda text: {"events": [{"item_id": text, "event_type": "view"}]}
    ),
    "told kind": body(
        "POST", "/v1/recommendations", lambda text: {"events": [{"item_id": "shoe", "event_type": text}]}
    ),
    "told user": body("POST", "/v1/recommendations", lambda text: {"user_id": text, "events": []}),
    "ranked": body("POST", "/v1/recommendations", lambda text: {"events": [], "items": [text, "shoe"]}),
    "told filters": body(
        "POST", "/v1/recommendations", lambda text: {"events": [], "category": text, "exclude_items": [text]}
    ),
    "told variant": body("POST", "/v1/recommendations", lambda text: {"events": [], "variant": text}),
    "batch": body("POST", "/v1/recommendations/batch", lambda text: {"user_ids": [text, "known"]}),
    "event's moment": body("POST", "/v1/events", lambda text: {"events": [event("u", "i", timestamp=text)]}),
    "changed category": body(
        "PUT", "/v1/items", lambda text: {"items": [{"item_id": "shoe", "category_id": text}]}
    ),
    "deleted user": lambda api, text: api.send(proxy_event("DELETE", f"/v1/users/{quote(text, safe='')}")),
}


@pytest.mark.parametrize("where", REQUESTS)
def test_sql_is_text_wherever_it_is_sent(where: str, api: Api, database: str, stored: str) -> None:
    before = counts(database)
    for text in TEXTS:
        answer = REQUESTS[where](api, text)
        assert 200 <= answer.status < 500, (text, answer)
    after = counts(database)
    if where == "changed category":
        before["items"] = 1
    assert after == before
    assert api.recommendations("known").item_ids[:2] == ["personal-1", "personal-2"]


def counts(database: str) -> dict[str, int]:
    return {table: execute(database, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


def test_sql_in_events_is_stored_as_it_was_sent(api: Api, database: str, stored: str) -> None:
    sent = [
        event(text, text, text, event_id=text, recommendation_id=text) for text in TEXTS if len(text) <= 50
    ]
    assert len(sent) == len(TEXTS)
    assert api.post_events(*sent).document == {"accepted": len(TEXTS), "duplicates": 0, "rejected": []}
    rows = execute(database, "SELECT user_id, item_id, event_type, event_id, recommendation_id FROM events")
    assert sorted(rows) == sorted((text,) * 5 for text in TEXTS)
    for text in TEXTS:
        answer = api.get(f"/v1/users/{quote(text, safe='')}/recommendations")
        assert text in answer.item_ids


def test_sql_in_the_catalogue_is_stored_as_it_was_sent(api: Api, database: str, stored: str) -> None:
    items = [{"item_id": text, "category_id": text, "available": False} for text in TEXTS]
    assert api.send(proxy_event("PUT", "/v1/items", body=json.dumps({"items": items}))).status == 200
    rows = execute(database, "SELECT item_id, category_id FROM items WHERE NOT available")
    assert sorted(rows) == sorted((text, text) for text in TEXTS)


SIX_MEGABYTES = 6 * 1024 * 1024


@pytest.mark.parametrize(
    ("target", "content"),
    [
        ("/v1/events", b'{"events": ["' + b"x" * SIX_MEGABYTES + b'"]}'),
        ("/v1/events", json.dumps({"events": [event("u" * SIX_MEGABYTES, "i")]}).encode()),
        ("/v1/events", b"[" * SIX_MEGABYTES),
        ("/v1/events", b"\xff" * SIX_MEGABYTES),
        ("/v1/events", b'{"events": [' + b"9" * SIX_MEGABYTES + b"]}"),
        ("/v1/events", json.dumps({"events": [event("u", "i")] * 1001}).encode()),
        ("/v1/recommendations", b"[" * SIX_MEGABYTES),
        ("/v1/recommendations", json.dumps({"events": [], "user_id": "u" * SIX_MEGABYTES}).encode()),
        ("/v1/recommendations", json.dumps({"events": [], "items": ["i"] * 1_000_000}).encode()),
        ("/v1/recommendations", b'{"events": [], "limit": ' + b"9" * SIX_MEGABYTES + b"}"),
        ("/v1/recommendations/batch", json.dumps({"user_ids": ["u"] * 1_000_000}).encode()),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:24].decode("latin-1"),
)
def test_a_body_of_six_megabytes_is_refused_and_stores_nothing(
    api: Api, target: str, content: bytes, stored: str, count_events: Callable[[], int]
) -> None:
    refused = api.send(proxy_event("POST", target, body=content))
    assert refused.status in {400, 422}
    assert len(json.dumps(refused.document)) < SIX_MEGABYTES / 10, "what is wrong is not sent back whole"
    assert count_events() == 0
    assert api.recommendations("known").status == 200


def test_the_largest_batch_of_the_longest_ids_is_taken(
    api: Api, stored: str, count_events: Callable[[], int]
) -> None:
    events = [event(f"{number:0256}", "💥" * 256, "k" * 50) for number in range(1000)]
    assert api.post_events(*events).document["accepted"] == 1000
    assert count_events() == 1000
