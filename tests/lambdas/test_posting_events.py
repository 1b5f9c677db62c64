"""What becomes of posted events."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.lambdas.callers import Api, event, proxy_event
from tests.lambdas.conftest import MakeApi
from tests.lambdas.versions import HOUR, NOW_MS, execute

CountEvents = Callable[[], int]


def test_events_are_stored_as_they_were_posted(api: Api, database: str) -> None:
    answer = api.post_events(
        event("u", "a", "add_to_cart", event_id="e1", timestamp=NOW_MS - HOUR),
        event("u", "b", "wish", timestamp="2026-01-31T12:30:00+01:00"),
        event("v", "c"),
    )
    assert (answer.status, answer.document) == (202, {"accepted": 3, "duplicates": 0, "rejected": []})
    rows = execute(database, "SELECT user_id, item_id, event_type, timestamp FROM events ORDER BY item_id")
    assert rows == [
        ("u", "a", "add_to_cart", NOW_MS - HOUR),
        ("u", "b", "wish", NOW_MS - HOUR // 2),
        ("v", "c", "view", NOW_MS),
    ]
    assert execute(database, "SELECT 1 FROM events WHERE event_id = 'e1' AND user_id = 'u'") == [(1,)]


def test_the_id_of_an_answer_is_stored_as_it_came(api: Api, database: str) -> None:
    answer = api.post_events(
        event("u", "a", recommendation_id="no id of ours, but 🛒"),
        event("u", "b", recommendation_id="r" * 256),
        event("u", "c", recommendation_id=None),
        event("u", "d"),
    )
    assert (answer.status, answer.document["accepted"]) == (202, 4)
    rows = execute(database, "SELECT recommendation_id FROM events ORDER BY item_id")
    assert rows == [("no id of ours, but 🛒",), ("r" * 256,), (None,), (None,)]


def test_posting_again_under_the_same_event_id_is_harmless(api: Api, count_events: CountEvents) -> None:
    first = [event("u", "a", event_id="e1"), event("u", "b", event_id="e2")]
    api.post_events(*first)
    answer = api.post_events(*first, event("u", "c", event_id="e3"), event("u", "c", event_id="e3"))
    assert answer.document == {"accepted": 4, "duplicates": 3, "rejected": []}
    assert count_events() == 3


def test_the_same_event_id_of_another_user_is_another_event(api: Api, count_events: CountEvents) -> None:
    api.post_events(event("u", "a", event_id="e1"), event("v", "a", event_id="e1"))
    assert count_events() == 2


def test_a_retry_after_midnight_is_harmless(api: Api, database: str, count_events: CountEvents) -> None:
    api.post_events(event("u", "a", event_id="e1"))
    yesterday = "(now() AT TIME ZONE 'UTC')::date - 1"
    execute(database, f"SELECT ensure_events_partition({yesterday})")
    execute(database, f"UPDATE events SET received_on = {yesterday}")
    assert api.post_events(event("u", "a", event_id="e1")).document["duplicates"] == 1
    assert count_events() == 1


def test_the_partition_of_today_is_made_where_it_is_missing(
    api: Api, database: str, count_events: CountEvents
) -> None:
    assert partitions(database) == 0
    assert api.post_events(event("u", "a")).status == 202
    assert partitions(database) == 1
    assert api.post_events(event("u", "b")).status == 202
    assert (partitions(database), count_events()) == (1, 2)


def test_good_events_are_kept_and_bad_ones_reported_by_place_and_field(
    api: Api, count_events: CountEvents
) -> None:
    answer = api.post_events(
        event("u", "a"),
        event("u" * 257, "a"),
        event("u", ""),
        {"user_id": "u", "item_id": "a"},
        event("u", "a", timestamp=NOW_MS + 61_000),
        event("u", "a", timestamp=NOW_MS + 59_000),
        event("u", "a", timestmap=NOW_MS),
    )
    assert answer.status == 202
    assert answer.document == {
        "accepted": 2,
        "duplicates": 0,
        "rejected": [
            {"index": 1, "field": "user_id", "message": "has 257 characters, at most 256 are allowed"},
            {"index": 2, "field": "item_id", "message": "is empty"},
            {"index": 3, "field": "event_type", "message": "is missing"},
            {"index": 4, "field": "timestamp", "message": "lies in the future"},
            {"index": 6, "field": "timestmap", "message": "is not known; did you mean timestamp?"},
        ],
    }
    assert count_events() == 2


def test_a_thousand_events_go_in_at_once(api: Api, count_events: CountEvents) -> None:
    answer = api.post_events(*(event(f"user-{number}", "a" * 256) for number in range(1000)))
    assert (answer.status, answer.document["accepted"], count_events()) == (202, 1000, 1000)


def test_a_base64_body_is_a_body(api: Api, count_events: CountEvents) -> None:
    body = json.dumps({"events": [event("u", "a")]}).encode()
    assert api.send(proxy_event("POST", "/v1/events", body=body)).status == 202
    assert count_events() == 1


def test_how_old_an_event_may_be_is_a_setting(make_api: MakeApi) -> None:
    old = event("u", "a", timestamp=NOW_MS - 3 * 24 * HOUR)
    assert make_api(event_max_age_days=4).post_events(old).status == 202
    answer = make_api(event_max_age_days=2).post_events(old)
    assert answer.status == 422
    assert answer.document["errors"] == [{"field": "events[0].timestamp", "message": "is too long ago"}]


@pytest.mark.parametrize(
    ("odd", "field", "message"),
    [
        ({"user_id": 7}, "user_id", "is not a string"),
        ({"user_id": None}, "user_id", "is missing"),
        ({"item_id": "a\x00b"}, "item_id", "contains a NUL character"),
        ({"item_id": "\ud800"}, "item_id", "contains half of a surrogate pair, which is no character"),
        ({"event_type": "x" * 65}, "event_type", "has 65 characters, at most 64 are allowed"),
        ({"event_id": ""}, "event_id", "is empty"),
        ({"event_id": ["e"]}, "event_id", "is not a string"),
        ({"recommendation_id": 7}, "recommendation_id", "is not a string"),
        ({"recommendation_id": ""}, "recommendation_id", "is empty"),
        ({"recommendation_id": "a\x00b"}, "recommendation_id", "contains a NUL character"),
        (
            {"recommendation_id": "r" * 257},
            "recommendation_id",
            "has 257 characters, at most 256 are allowed",
        ),
        ({"timestamp": "yesterday"}, "timestamp", "is not an ISO 8601 moment, such as 2026-01-31T12:00:00Z"),
        ({"timestamp": "2026-01-31T12:00:00"}, "timestamp", "has no time zone; for UTC append Z"),
        ({"timestamp": NOW_MS // 1000}, "timestamp", "is too long ago; it is in milliseconds"),
        ({"timestamp": 10**30}, "timestamp", "lies in the future"),
        ({"timestamp": -(10**30)}, "timestamp", "is too long ago"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "timestamp", "is too long ago"),
        ({"timestamp": "9999-12-31T23:59:59-14:00"}, "timestamp", "lies in the future"),
        (
            {"timestamp": True},
            "timestamp",
            "is neither an integer (ms since 1970 UTC) nor an ISO 8601 string",
        ),
        ({"timestamp": 1.5}, "timestamp", "is neither an integer (ms since 1970 UTC) nor an ISO 8601 string"),
        (
            {"\ud800": 1},
            "\ud800",
            "is not known; known are: user_id, item_id, event_type, event_id, timestamp, recommendation_id",
        ),
    ],
)
def test_where_no_event_is_acceptable_the_answer_is_a_problem(
    shared_api: Api, odd: dict[str, Any], field: str, message: str
) -> None:
    answer = shared_api.post_events({**event("u", "a"), **odd})
    assert (answer.status, answer.document["type"]) == (422, "urn:problem:invalid-request")
    assert answer.document["errors"] == [{"field": f"events[0].{field}", "message": message}]


def partitions(database: str) -> int:
    ((number,),) = execute(database, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass")
    return int(number)
