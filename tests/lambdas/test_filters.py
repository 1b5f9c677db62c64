"""What callers may ask for beside the plain answer."""

from typing import Any

import pytest

from contract.events import PURCHASE, VIEW
from contract.purchases import excluded_purchases
from tests.lambdas.callers import Answer, Api, event, proxy_event
from tests.lambdas.conftest import MakeApi
from tests.lambdas.versions import HOUR, NOW_MS, POPULAR, WEIGHTS, execute, history, load_version, make_live

pytestmark = pytest.mark.usefixtures("stored")

SHOP = {"sock": "socks", "lace": "shoes", "stove": "camping", "mat": "camping", "personal-1": "camping"}


@pytest.fixture
def stored(database: str) -> str:
    """A live version, and a catalogue whose `socks` lie below `shoes`."""
    load_version(
        database,
        "v",
        personal={"known": [("personal-1", 9.0), ("personal-2", 8.0)]},
        histories={"known": history(("shoe", VIEW), ("hat", PURCHASE))},
        similar={
            "shoe": [("shoe", 0.5), ("sock", 0.9), ("lace", 0.5)],
            "tent": [("tent", 0.5), ("stove", 0.7), ("mat", 0.6)],
            "hat": [("hat", 0.5)],
        },
        bought_together={"shoe": [("lace", 3.0), ("polish", 2.0)]},
        popular_by_category={"camping": [("lantern", 2.0), ("mat", 1.0)]},
        blend_weights=WEIGHTS,
    )
    for item, category in (SHOP | {"lantern": "camping"}).items():
        execute(database, "INSERT INTO items (item_id, category_id) VALUES (%s, %s)", item, category)
    execute(database, "INSERT INTO categories VALUES ('shoes', NULL), ('socks', 'shoes'), ('camping', NULL)")
    return "v"


def asked(api: Api, user: str = "known", **parameters: Any) -> Answer:
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    answer = api.get(f"/v1/users/{user}/recommendations?{query}")
    assert answer.status == 200, answer.document
    return answer


class TestStrategies:
    def test_the_stored_list_is_as_it_was_trained_whatever_happened_since(self, api: Api) -> None:
        before = asked(api, strategy="stored").item_ids
        api.post_events(event("known", "tent"))
        assert asked(api, strategy="stored").item_ids == before
        assert before[:3] == ["personal-1", "personal-2", "popular-0"]
        assert asked(api).item_ids[0] == "tent"

    def test_a_session_goes_without_the_trained_list(self, api: Api) -> None:
        api.post_events(event("known", "tent"))
        answer = asked(api, strategy="session", limit=20)
        assert answer.document["source"] == "session"
        assert answer.item_ids[:4] == ["tent", "shoe", "sock", "stove"]
        assert not {"personal-1", "personal-2"} & set(answer.item_ids)

    def test_a_stranger_gets_what_is_popular_by_any(self, api: Api) -> None:
        for strategy in ("blend", "stored", "session"):
            answer = asked(api, "nobody", strategy=strategy)
            assert answer.document["source"] == "popular"
            assert answer.item_ids == [item for item, _ in POPULAR[:10]]


class TestWhatIsLeftOut:
    def test_items_by_name_repeated_or_separated_by_commas(self, api: Api) -> None:
        query = "exclude_items=personal-1,popular-0&exclude_items=popular-1"
        answer = api.get(f"/v1/users/known/recommendations?{query}")
        assert answer.item_ids[:2] == ["personal-2", "popular-2"]
        assert len(answer.item_ids) == 10

    def test_what_was_ever_turned_to(self, api: Api) -> None:
        api.post_events(event("known", "tent"))
        items = set(asked(api, exclude_seen="true", limit=100).item_ids)
        assert not {"tent", "shoe", "hat"} & items
        assert {"sock", "stove"} < items

    def test_what_was_bought_by_the_callers_word_whatever_the_version_says(
        self, api: Api, database: str
    ) -> None:
        api.post_events(event("known", "tent"))
        assert "hat" in asked(api, limit=100).item_ids
        assert "hat" not in asked(api, limit=100, exclude_purchased="true").item_ids
        load_version(database, "strict", histories={"u": history(("hat", PURCHASE))}, exclude_purchased=True)
        assert excluded_purchases(
            history(("hat", PURCHASE)), default=True, by_category={}, category_of={}
        ) == {"hat"}
        api.post_events(event("u", "tent"))
        assert "hat" not in asked(api, "u", limit=100).item_ids
        assert "hat" in asked(api, "u", limit=100, exclude_purchased="false").item_ids

    def test_what_is_sold_out_wherever_it_comes_from(self, api: Api, database: str) -> None:
        api.post_events(event("known", "tent"))
        gone = ["sock", "personal-1", "popular-0", "tent"]
        execute(
            database,
            "INSERT INTO items (item_id, available) SELECT unnest(%s::text[]), false"
            " ON CONFLICT (item_id) DO UPDATE SET available = false",
            gone,
        )
        assert not set(gone) & set(asked(api, limit=100).item_ids)
        assert "sock" not in api.get("/v1/items/shoe/similar").item_ids
        assert "popular-0" not in api.get("/v1/popular").item_ids
        assert set(gone) < set(asked(api, limit=100, available_only="false").item_ids)
        execute(database, "UPDATE items SET available = true WHERE item_id = 'sock'")
        assert "sock" in asked(api).item_ids
        execute(database, "DELETE FROM items WHERE item_id = 'tent'")
        assert "tent" in asked(api).item_ids

    def test_each_environment_hears_of_each_change(self, make_api: MakeApi, database: str) -> None:
        environments = [make_api(), make_api()]
        for number in range(5):
            execute(database, "UPDATE items SET available = NOT available WHERE item_id = 'sock'")
            shown = ["sock" in api.get("/v1/items/shoe/similar").item_ids for api in environments]
            assert shown == [number % 2 == 1] * 2


class TestCategories:
    def test_only_what_lies_in_it_then_what_is_popular_there(self, api: Api) -> None:
        api.post_events(event("known", "tent"))
        answer = asked(api, category="camping")
        assert set(answer.item_ids) == {"personal-1", "stove", "mat", "lantern"}
        reasons = {item["item_id"]: item["reasons"] for item in answer.document["items"]}
        assert reasons["lantern"] == ["popular_in:camping"]
        assert reasons["stove"] == ["viewed_similar:tent"]

    def test_what_lies_below_it_is_in_it(self, api: Api) -> None:
        assert api.get("/v1/items/shoe/similar?category=shoes").item_ids == ["sock", "lace"]
        assert api.get("/v1/items/shoe/similar?category=socks").item_ids == ["sock"]

    def test_the_popular_items_of_a_category(self, api: Api) -> None:
        assert api.get("/v1/popular?category=camping").item_ids == ["lantern", "mat"]
        assert api.get("/v1/popular?category=shoes").item_ids == []

    @pytest.mark.parametrize(
        "path", ["/v1/users/known/recommendations", "/v1/popular", "/v1/items/shoe/similar"]
    )
    def test_one_that_is_not_there_is_told(self, api: Api, path: str) -> None:
        answer = api.get(f"{path}?category=nothing")
        assert answer.status == 404
        assert answer.document["type"] == "urn:problem:unknown-category"


class TestBoughtTogether:
    def test_what_goes_into_the_basket_then_what_is_similar(self, api: Api) -> None:
        answer = api.get("/v1/items/shoe/bought-together")
        assert answer.document["source"] == "bought_together"
        assert [(item["item_id"], item["source"]) for item in answer.document["items"]] == [
            ("lace", "bought_together"),
            ("polish", "bought_together"),
            ("sock", "similar"),
        ]
        assert answer.document["items"][0]["reasons"] == ["bought_with:shoe"]

    def test_an_item_without_a_basket_has_what_is_similar(self, api: Api) -> None:
        assert api.get("/v1/items/tent/bought-together").item_ids == ["stove", "mat"]

    def test_an_unknown_item_is_told(self, api: Api) -> None:
        answer = api.get("/v1/items/unheard-of/bought-together")
        assert (answer.status, answer.document["type"]) == (404, "urn:problem:unknown-item")


class TestEventsInTheBody:
    def test_a_stranger_is_answered_by_what_they_just_did(self, api: Api) -> None:
        answer = api.post("/v1/recommendations", {"events": [{"item_id": "tent", "event_type": "view"}]})
        assert answer.document["source"] == "session"
        assert answer.item_ids[:3] == ["tent", "stove", "mat"]
        assert answer.document["items"][1]["reasons"] == ["viewed_similar:tent"]

    def test_it_is_the_answer_that_posting_them_would_have_led_to(self, api: Api) -> None:
        events = [
            {"item_id": "tent", "event_type": "view", "timestamp": NOW_MS - 2 * HOUR},
            {"item_id": "shoe", "event_type": "add_to_cart", "timestamp": NOW_MS - HOUR},
        ]
        told = api.post("/v1/recommendations", {"user_id": "known", "events": events, "limit": 20})
        api.post_events(*({"user_id": "known", **each} for each in events))
        posted = asked(api, limit=20)
        assert told.document["items"] == posted.document["items"]

    def test_nothing_of_it_is_stored(self, api: Api, count_events: Any) -> None:
        api.post("/v1/recommendations", {"user_id": "u", "events": [{"item_id": "a", "event_type": "view"}]})
        assert count_events() == 0

    def test_of_events_at_the_same_moment_the_last_is_the_newest(self, api: Api) -> None:
        events = [{"item_id": item, "event_type": "view"} for item in ("shoe", "tent", "hat")]
        answer = api.post("/v1/recommendations", {"events": events, "limit": 3})
        assert answer.item_ids == ["hat", "tent", "shoe"]

    def test_given_items_are_put_in_order_and_none_is_lost(self, api: Api) -> None:
        body = {
            "events": [{"item_id": "tent", "event_type": "view"}],
            "items": ["unheard-of", "mat", "popular-3", "stove", "mat"],
            "exclude_items": ["popular-3"],
        }
        assert api.post("/v1/recommendations", body).item_ids == ["stove", "mat", "unheard-of"]

    @pytest.mark.parametrize(
        ("body", "field", "message"),
        [
            ({}, "events", "Field required"),
            ({"events": [], "limits": 3}, "limits", "is not known; did you mean limit?"),
            ({"events": [{"item_id": "a", "event_typ": "view"}]}, "events[0].event_type", "Field required"),
            ({"events": [{"item_id": "a", "event_type": "view", "x": 1}]}, "events[0].x", "is not known"),
            ({"events": [{"item_id": "a" * 257, "event_type": "view"}]}, "events[0].item_id", "257 characters"),
            ({"events": [{"item_id": "\0", "event_type": "view"}]}, "events[0].item_id", "NUL"),
            ({"events": [{"item_id": "a", "event_type": "view", "timestamp": NOW_MS + HOUR}]},
             "events[0].timestamp", "future"),
            ({"events": [], "limit": 0}, "limit", "greater than or equal to 1"),
            ({"events": [], "limit": "5"}, "limit", "is not a number"),
            ({"events": [{"item_id": "a", "event_type": "view", "timestamp": -(10**30)}]},
             "events[0].timestamp", "greater than or equal to 0"),
            ({"events": [], "limit": 2.5}, "limit", "valid integer"),
            ({"events": [{"item_id": "a", "event_type": "view", "timestamp": "noon"}]},
             "events[0].timestamp", "is not an ISO 8601 moment"),
            ({"events": [], "strategy": "best"}, "strategy", "'blend', 'stored' or 'session'"),
            ({"events": [{"item_id": "a", "event_type": "view"}] * 101}, "events", "at most 100"),
            ({"events": [], "items": []}, "items", "at least 1"),
            ({"events": [], "exclude_items": "a"}, "exclude_items", "valid array"),
        ],
    )  # fmt: skip
    def test_bad_bodies_are_told_field_by_field(
        self, api: Api, body: dict[str, Any], field: str, message: str
    ) -> None:
        answer = api.post("/v1/recommendations", body)
        assert (answer.status, answer.document["type"]) == (422, "urn:problem:invalid-request")
        told = {error["field"]: error["message"] for error in answer.document["errors"]}
        assert message in told[field]

    @pytest.mark.parametrize(
        "body", ["", "{", '{"events": ' + "[" * 20_000, '{"user_id": "\\ud800"}', "\udcff"]
    )
    def test_what_is_no_json_is_told(self, api: Api, body: str) -> None:
        answer = api.send(proxy_event("POST", "/v1/recommendations", body=body))
        assert (answer.status, answer.document["type"]) == (400, "urn:problem:malformed-request")


class TestBatch:
    def test_each_is_answered_as_if_asked_for_alone(self, api: Api) -> None:
        api.post_events(event("known", "tent"), event("visitor", "shoe"), event("other", "tent"))
        users = ["known", "visitor", "nobody", "other"]
        answers = api.post("/v1/recommendations/batch", {"user_ids": [*users, "known"], "limit": 15}).document
        assert [answer["user_id"] for answer in answers["answers"]] == users
        for user, answer in zip(users, answers["answers"], strict=True):
            alone = asked(api, user, limit=15).content
            assert {**answer, "recommendation_id": ""} == {"user_id": user, **alone, "recommendation_id": ""}

    def test_filters_hold_for_everybody(self, api: Api) -> None:
        body = {"user_ids": ["known", "nobody"], "category": "camping", "exclude_items": ["mat"]}
        answers = api.post("/v1/recommendations/batch", body).document["answers"]
        assert [[item["item_id"] for item in answer["items"]] for answer in answers] == [
            ["personal-1", "lantern"],
            ["lantern"],
        ]

    def test_it_is_one_round_trip(self, api: Api) -> None:
        api.recommendations("known")  # the first connects, and meets the version
        asked_before = statements(api)
        api.post("/v1/recommendations/batch", {"user_ids": [f"u{n}" for n in range(100)]})
        assert statements(api) - asked_before == 1

    @pytest.mark.parametrize("user_ids", [[], ["u"] * 101, ["a", ""], "u"])
    def test_too_few_too_many_and_none(self, api: Api, user_ids: Any) -> None:
        answer = api.post("/v1/recommendations/batch", {"user_ids": user_ids})
        assert answer.status == 422
        assert answer.document["errors"][0]["field"].startswith("user_ids")


def statements(api: Api) -> int:
    """How often this environment asked the database."""
    parts = api.environment._parts
    assert parts is not None
    counter = vars(parts.database).setdefault("statements", [])
    if not counter:
        counter.append(0)
        run = parts.database.run

        def counting(*arguments: Any, **options: Any) -> Any:
            counter[0] += 1
            return run(*arguments, **options)

        parts.database.run = counting  # type: ignore[method-assign]
    return int(counter[0])


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("strategy=best", 422, "strategy"),
        ("exclude_seen=perhaps", 422, "exclude_seen"),
        ("exclude_item=a", 400, "did you mean exclude_items?"),
        ("category=a&category=b", 400, "more than once"),
        ("exclude_items=" + "a" * 257, 422, "257 characters"),
        ("limit=101", 422, "limit"),
    ],
)
def test_odd_parameters_are_told(api: Api, query: str, status: int, message: str) -> None:
    answer = api.get(f"/v1/users/known/recommendations?{query}")
    assert answer.status == status
    assert message in answer.document["detail"]


def test_a_new_version_is_told_what_is_sold_out_too(api: Api, database: str) -> None:
    execute(database, "UPDATE items SET available = false WHERE item_id = 'sock'")
    assert "sock" not in api.get("/v1/items/shoe/similar").item_ids
    load_version(database, "next", similar={"shoe": [("sock", 0.9), ("lace", 0.5)]}, variant=None)
    make_live(database, "next")
    answer = api.get("/v1/items/shoe/similar")
    assert (answer.document["model_version"], answer.item_ids) == ("next", ["lace"])


class TestEtags:
    def test_an_answer_that_did_not_change_is_not_sent_again(self, api: Api) -> None:
        first = api.get("/v1/users/known/recommendations")
        again = conditional(api, first.headers["etag"])
        assert (again.status, again.document, again.headers["etag"]) == (304, "", first.headers["etag"])
        assert conditional(api, f'"other", {first.headers["etag"]}').status == 304
        assert conditional(api, "*").status == 304
        assert conditional(api, '"other"').status == 200

    def test_one_that_did_is(self, api: Api, database: str) -> None:
        first = api.get("/v1/users/known/recommendations")
        api.post_events(event("known", "tent"))
        after = conditional(api, first.headers["etag"])
        assert (after.status, after.item_ids[0]) == (200, "tent")
        execute(database, "UPDATE items SET available = false WHERE item_id = 'stove'")
        assert conditional(api, after.headers["etag"]).status == 200

    def test_another_version_with_the_same_items_is_another_answer(self, api: Api, database: str) -> None:
        first = api.get("/v1/popular")
        load_version(database, "next")
        assert api.get("/v1/popular").item_ids == first.item_ids
        assert api.get("/v1/popular").headers["etag"] != first.headers["etag"]


def conditional(api: Api, etags: str) -> Answer:
    target = "/v1/users/known/recommendations"
    return api.send(proxy_event("GET", target, headers={"If-None-Match": etags}))
