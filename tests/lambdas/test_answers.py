"""What is answered to whom."""

import datetime as dt
from itertools import pairwise
from typing import Any

import pytest

from contract.blending import BlendWeights, blend, merge_histories
from contract.events import Event
from tests.lambdas.callers import Answer, Api, event
from tests.lambdas.conftest import MakeApi
from tests.lambdas.versions import HOUR, NOW_MS, POPULAR, WEIGHTS, execute, history, load_version, make_live


def test_a_known_user_without_news_gets_the_trained_list_then_what_is_popular(api: Api, stored: str) -> None:
    answer = api.recommendations("known")
    assert answer.status == 200
    assert answer.document["model_version"] == stored
    assert answer.document["source"] == "personalized"
    assert answer.document["generated_at"] == "2026-01-31T12:00:00.000Z"
    assert answer.item_ids == ["personal-1", "personal-2", *(item for item, _ in POPULAR[:8])]
    assert [item["source"] for item in answer.document["items"]] == ["personal"] * 2 + ["popular"] * 8
    check_form(answer, 10)


def test_a_known_user_with_news_gets_the_blend_of_all_that_is_known(api: Api, stored: str) -> None:
    api.post_events(event("known", "tent"))
    answer = api.recommendations("known", 11)
    assert answer.document["source"] == "personalized"
    assert [(item["item_id"], item["source"]) for item in answer.document["items"]] == [
        ("tent", "own"),
        ("shoe", "own"),
        ("sock", "similar"),
        ("stove", "similar"),
        ("hat", "own"),
        ("scarf", "similar"),
        ("mat", "similar"),
        ("personal-1", "personal"),
        ("personal-2", "personal"),
        ("lace", "similar"),
        ("popular-0", "popular"),
    ]
    check_form(answer, 11)


def test_an_event_that_the_version_was_trained_on_is_no_news(api: Api, stored: str) -> None:
    (shoe, _) = history(("shoe", "view"), ("hat", "purchase"))
    before = api.recommendations("known")
    api.post_events(event("known", shoe.item_id, shoe.event_type, timestamp=shoe.timestamp))
    assert api.recommendations("known").document["items"] == before.document["items"]
    api.post_events(event("known", shoe.item_id, shoe.event_type, timestamp=shoe.timestamp + 1))
    after = api.recommendations("known").item_ids
    assert "shoe" in after
    assert "shoe" not in before.item_ids


def test_an_unknown_user_gets_what_is_popular_and_the_answer_says_so(api: Api, stored: str) -> None:
    answer = api.recommendations("nobody")
    assert answer.document["source"] == "popular"
    assert answer.item_ids == [item for item, _ in POPULAR[:10]]
    assert "x-degraded" not in answer.headers
    check_form(answer, 10)


def test_posted_events_change_the_very_next_answer(api: Api, stored: str) -> None:
    assert api.post_events(event("visitor", "tent")).document == {
        "accepted": 1,
        "duplicates": 0,
        "rejected": [],
    }
    answer = api.recommendations("visitor")
    assert answer.document["source"] == "session"
    assert answer.item_ids[:3] == ["tent", "stove", "mat"]
    assert [item["source"] for item in answer.document["items"][:4]] == [
        "own",
        "similar",
        "similar",
        "popular",
    ]


def test_another_environment_sees_what_was_posted_to_the_first(make_api: MakeApi, stored: str) -> None:
    one, another = make_api(), make_api()
    assert another.recommendations("visitor").document["source"] == "popular"
    one.post_events(event("visitor", "tent"))
    assert another.recommendations("visitor").item_ids[0] == "tent"


def test_what_was_posted_counts_more_than_an_older_history(api: Api, stored: str) -> None:
    api.post_events(event("known", "tent"))
    answer = api.recommendations("known")
    assert answer.document["source"] == "personalized"
    assert answer.item_ids[:2] == ["tent", "shoe"]
    assert answer.item_ids.index("stove") < answer.item_ids.index("scarf")


def test_of_events_at_the_same_moment_the_one_posted_last_is_the_newest(api: Api, stored: str) -> None:
    for item in ("shoe", "tent", "hat"):
        api.post_events(event("visitor", item))
    assert api.recommendations("visitor", 3).item_ids == ["hat", "tent", "shoe"]


def test_the_answer_is_what_the_contract_blends(api: Api, database: str) -> None:
    weights = BlendWeights(recent_items=2, history_length=4, own=0.7, similar=0.4)
    stored_events = history(("b", "view"), ("c", "add_to_cart"), ("b", "view"), ("d", "view"), ("e", "view"))
    personal = [("p", 1.0), ("c", 0.5)]
    similar = {name: [(f"like-{name}", 0.5), ("p", 0.25)] for name in "abcde"}
    popular = [("top", 1.0), ("a", 0.5)]
    load_version(
        database,
        "v",
        personal={"u": personal},
        histories={"u": stored_events},
        similar=similar,
        popular=popular,
        blend_weights=weights,
    )
    api.post_events(event("u", "a", timestamp=NOW_MS - HOUR))
    expected = blend(
        history=merge_histories([Event("a", "view", NOW_MS - HOUR)], stored_events, length=4),
        personal=personal,
        similar=similar,
        popular=popular,
        weights=weights,
        now=NOW_MS,
        has_news=True,
        limit=100,
    )
    answer = api.recommendations("u", 100).document["items"]
    assert [(item["item_id"], item["source"]) for item in answer] == [
        (item.item_id, item.source) for item in expected
    ]
    assert [item["score"] for item in answer] == pytest.approx([item.score for item in expected], rel=1e-5)
    assert not {"like-c", "like-d"} & {item["item_id"] for item in answer}, "only two items lend their lists"


def test_the_first_answer_of_a_version_that_looks_further_back_is_right(
    make_api: MakeApi, database: str
) -> None:
    short = BlendWeights(recent_items=1, history_length=1)
    lists: dict[str, Any] = {
        "histories": {"u": history(("a", "view"), ("b", "view"), ("c", "view"))},
        "similar": {name: [(f"like-{name}", 0.5)] for name in "abc"},
    }
    load_version(database, "short", **lists, blend_weights=short)
    load_version(database, "long", **lists, blend_weights=BlendWeights(), variant=None)
    api = make_api()
    assert {"like-b", "like-c"}.isdisjoint(api.recommendations("u", 100).item_ids)
    make_live(database, "long")
    assert {"like-a", "like-b", "like-c"} < set(api.recommendations("u", 100).item_ids)


def test_bought_items_are_left_out_where_the_version_says_so(api: Api, database: str) -> None:
    load_version(
        database,
        "v",
        histories={"u": history(("shoe", "view"), ("hat", "purchase"))},
        exclude_purchased=True,
        blend_weights=WEIGHTS,
    )
    api.post_events(event("u", "popular-0", "purchase"), event("u", "tent"))
    items = api.recommendations("u", 100).item_ids
    assert items[:3] == ["tent", "shoe", "popular-1"]
    assert not {"hat", "popular-0"} & set(items)
    assert len(items) == 100


def test_a_purchase_before_many_other_events_is_still_known(api: Api, database: str) -> None:
    load_version(database, "v", exclude_purchased=True)
    api.post_events(event("u", "hat", "purchase", timestamp=NOW_MS - 2 * HOUR))
    api.post_events(*(event("u", f"seen-{number}", timestamp=NOW_MS - number) for number in range(120)))
    assert "hat" not in api.recommendations("u", 100).item_ids


def test_the_version_that_is_made_live_answers_the_next_request(api: Api, database: str, stored: str) -> None:
    assert api.recommendations("known").document["model_version"] == "first"
    load_version(database, "second", popular=[("new", 1.0)])
    for answer in (api.recommendations("known"), api.get("/v1/popular")):
        assert (answer.document["model_version"], answer.item_ids) == ("second", ["new"])
    assert api.get("/v1/items/shoe/similar").status == 404
    make_live(database, "first")
    answer = api.recommendations("known")
    assert answer.document["model_version"] == "first"
    assert answer.item_ids[:2] == ["personal-1", "personal-2"]
    assert "new" not in answer.item_ids


def test_another_variant_is_answered_from_its_own_version(api: Api, database: str, stored: str) -> None:
    load_version(database, "tried", popular=[("tried", 1.0)], variant="b")
    for _ in range(2):
        tried, usual = api.get("/v1/popular?variant=b"), api.get("/v1/popular")
        assert (tried.document["model_version"], tried.document["variant"]) == ("tried", "b")
        assert (usual.document["model_version"], usual.document["variant"]) == ("first", "default")
        assert (tried.item_ids, usual.item_ids[0]) == (["tried"], "popular-0")


def test_similar_items_come_best_first(api: Api, stored: str) -> None:
    answer = api.get("/v1/items/shoe/similar?limit=1")
    assert answer.document["source"] == "similar"
    assert answer.document["items"] == [
        {"item_id": "sock", "score": 0.9, "rank": 1, "source": "similar", "reasons": ["similar:shoe"]}
    ]
    check_form(api.get("/v1/items/shoe/similar"), 2)


def test_popular_items_are_as_many_as_asked_for(api: Api, stored: str) -> None:
    assert len(api.get("/v1/popular").item_ids) == 10
    answer = api.get("/v1/popular?limit=100")
    assert answer.document["source"] == "popular"
    check_form(answer, 100)


def test_a_version_without_a_popular_list_answers_nothing_to_a_stranger(api: Api, database: str) -> None:
    load_version(database, "v", popular=[])
    answer = api.recommendations("nobody")
    assert (answer.status, answer.document["items"]) == (200, [])


def test_ids_may_hold_slashes_percent_signs_and_any_letter(api: Api, stored: str) -> None:
    for user, encoded in (
        ("a/b", "a%2Fb"),
        ("50%25", "50%2525"),
        ("../x", "..%2Fx"),
        ("zoë 🛒", "zo%C3%AB%20%F0%9F%9B%92"),
    ):
        api.post_events(event(user, "tent"))
        assert api.recommendations(encoded).item_ids[0] == "tent", user
    assert api.get("/v1/users/a/b/recommendations").status == 404


def test_events_received_before_the_window_are_not_looked_at(
    make_api: MakeApi, database: str, stored: str
) -> None:
    today = dt.datetime.now(dt.UTC).date()
    for days in (2, 3):
        day = today - dt.timedelta(days=days)
        execute(database, "SELECT ensure_events_partition(%s)", day)
        execute(
            database,
            "INSERT INTO events (received_on, user_id, item_id, event_type, timestamp) VALUES (%s, 'u', %s, 'view', %s)",
            day,
            f"{days}-days-ago",
            NOW_MS,
        )
    answer = make_api(recent_events_days=2).recommendations("u")
    assert "2-days-ago" in answer.item_ids
    assert "3-days-ago" not in answer.item_ids


def test_live_now_is_now(make_api: MakeApi, stored: str) -> None:
    answer = make_api(as_of=None).recommendations("known")
    moment = dt.datetime.fromisoformat(answer.document["generated_at"])
    assert abs(dt.datetime.now(dt.UTC) - moment) < dt.timedelta(minutes=1)


def test_health_and_readiness(api: Api, database: str) -> None:
    assert api.get("/health").document == {"status": "ok"}
    assert api.get("/ready").status == 503
    load_version(database, "v")
    assert api.get("/ready").document == {"status": "ready", "model_version": "v"}


def check_form(answer: Answer, length: int) -> None:
    items = answer.document["items"]
    assert [item["rank"] for item in items] == list(range(1, length + 1))
    assert len(set(answer.item_ids)) == length
    assert all(one["score"] >= other["score"] for one, other in pairwise(items))
