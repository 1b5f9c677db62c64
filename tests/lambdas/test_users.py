"""What is stored of a user, told and deleted."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from contract.tombstones import user_hash
from lambdas.recommendations_api.logs import LOGGER, JsonFormatter
from tests.lambdas.callers import Answer, Api, event, proxy_event
from tests.lambdas.conftest import MakeApi
from tests.lambdas.servers import Proxy
from tests.lambdas.test_bad_input import check_problem
from tests.lambdas.test_openapi import check
from tests.lambdas.versions import HOUR, NOW_MS, execute, history, load_version

NOTHING = {
    "is_stored": False,
    "deleted_at": None,
    "personal": [],
    "history": [],
    "listed_in": [],
    "events": {"count": 0, "oldest": None, "newest": None, "latest": []},
}


def stored_of(api: Api, user_id: str) -> dict[str, Any]:
    answer = api.get(f"/v1/users/{quote(user_id, safe='')}")
    assert answer.status == 200, answer.document
    document: dict[str, Any] = answer.document
    return document


def delete(api: Api, user_id: str) -> Answer:
    return api.send(proxy_event("DELETE", f"/v1/users/{quote(user_id, safe='')}"))


def millis(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.usefixtures("stored")
def test_all_that_is_stored_of_a_user_is_told(api: Api, database: str) -> None:
    load_version(
        database, "tried", personal={"known": [("a", 1.0)]}, histories={"other": history(("a", "view"))}
    )
    load_version(database, "next", histories={"known": history(("cap", "view"))}, variant="canary")
    execute(database, "UPDATE serving SET version = 1 WHERE variant = 'default'")
    api.post_events(
        event("known", "shoe", event_id="e1", timestamp=NOW_MS - HOUR),
        event("known", "hat", "purchase", event_id="e2", timestamp=NOW_MS),
        event("other", "hat", event_id="e3"),
    )
    document = stored_of(api, "known")
    first, second = document["events"]["latest"]
    received = [each.pop("received_at") for each in (first, second)]
    assert all(abs(millis(each) / 1000 - time.time()) < 600 for each in received)
    assert document == {
        "user_id": "known",
        "is_stored": True,
        "deleted_at": None,
        "model_version": "first",
        "personal": [{"item_id": "personal-1", "score": 9.0}, {"item_id": "personal-2", "score": 8.0}],
        "history": [
            {"item_id": "shoe", "event_type": "view", "timestamp": "2026-01-30T12:00:00.000Z"},
            {"item_id": "hat", "event_type": "purchase", "timestamp": "2026-01-30T11:00:00.000Z"},
        ],
        "listed_in": [
            {"version": "next", "kinds": ["history"]},
            {"version": "tried", "kinds": ["personal"]},
            {"version": "first", "kinds": ["history", "personal"]},
        ],
        "events": {
            "count": 2,
            "oldest": "2026-01-31T11:00:00.000Z",
            "newest": "2026-01-31T12:00:00.000Z",
            "latest": [
                {
                    "event_id": "e2",
                    "item_id": "hat",
                    "event_type": "purchase",
                    "timestamp": "2026-01-31T12:00:00.000Z",
                    "recommendation_id": None,
                },
                {
                    "event_id": "e1",
                    "item_id": "shoe",
                    "event_type": "view",
                    "timestamp": "2026-01-31T11:00:00.000Z",
                    "recommendation_id": None,
                },
            ],
        },
    }


def test_the_lists_are_those_of_the_variant_that_answers(api: Api, database: str, stored: str) -> None:
    load_version(database, "next", personal={"known": [("a", 1.0)]}, variant="b")
    assert stored_of(api, "known")["model_version"] == "first"
    execute(database, "UPDATE serving SET share = CASE variant WHEN 'b' THEN 1 ELSE 0 END")
    document = stored_of(api, "known")
    assert (document["model_version"], document["personal"]) == ("next", [{"item_id": "a", "score": 1.0}])
    assert document["history"] == []


@pytest.mark.parametrize("user_id", ["nobody", "a/b", "ü 🛒", "'; DROP TABLE events; --", "x" * 256])
def test_an_unknown_user_gets_an_answer_that_says_that_nothing_is_stored(
    shared_api: Api, user_id: str
) -> None:
    document = stored_of(shared_api, user_id)
    assert document == {"user_id": user_id, "model_version": "first", **NOTHING}


def test_before_the_first_version_posted_events_are_told(api: Api) -> None:
    api.post_events(event("u", "a"))
    document = stored_of(api, "u")
    assert (document["model_version"], document["listed_in"]) == (None, [])
    assert (document["is_stored"], document["events"]["count"]) == (True, 1)


def test_of_many_events_the_latest_hundred_are_told(api: Api) -> None:
    api.post_events(*(event("u", f"i{n}", timestamp=NOW_MS - n * 1000) for n in range(250)))
    events = stored_of(api, "u")["events"]
    assert events["count"] == 250
    assert [each["item_id"] for each in events["latest"]] == [f"i{n}" for n in range(100)]
    assert millis(events["oldest"]) == NOW_MS - 249_000


def test_events_of_every_day_of_receipt_are_told(api: Api, database: str) -> None:
    long_ago = "(now() AT TIME ZONE 'UTC')::date - 60"
    execute(database, f"SELECT ensure_events_partition({long_ago})")
    api.post_events(event("u", "a"))
    execute(database, f"UPDATE events SET received_on = {long_ago}")
    assert stored_of(api, "u")["events"]["count"] == 1


def test_a_deleted_user_is_gone_and_a_tombstone_stays(api: Api, database: str, stored: str) -> None:
    load_version(database, "older", personal={"known": [("a", 1.0)]}, variant=None)
    api.post_events(event("known", "hat"), event("other", "hat"))
    assert api.recommendations("known").document["source"] == "personalized"
    before = time.time()
    answer = delete(api, "known")
    assert (answer.status, answer.document) == (200, {"user_id": "known", "lists": 3, "events": 1})
    document = stored_of(api, "known")
    assert before - 600 < millis(document["deleted_at"]) / 1000 < time.time() + 600
    assert document == {
        "user_id": "known",
        "model_version": stored,
        **NOTHING,
        "deleted_at": document["deleted_at"],
    }
    assert api.recommendations("known").document["source"] == "popular"
    assert stored_of(api, "other")["events"]["count"] == 1


def test_deleting_again_is_harmless_and_moves_the_tombstone_on(api: Api, stored: str) -> None:
    delete(api, "known")
    first = stored_of(api, "known")["deleted_at"]
    answer = delete(api, "known")
    assert (answer.status, answer.document) == (200, {"user_id": "known", "lists": 0, "events": 0})
    assert millis(stored_of(api, "known")["deleted_at"]) >= millis(first)


def test_whoever_comes_back_is_stored_as_anybody_and_can_be_deleted_again(api: Api) -> None:
    api.post_events(event("u", "a"))
    delete(api, "u")
    api.post_events(event("u", "b"))
    document = stored_of(api, "u")
    assert document["is_stored"]
    assert document["deleted_at"] is not None
    assert [each["item_id"] for each in document["events"]["latest"]] == ["b"]
    assert delete(api, "u").document == {"user_id": "u", "lists": 0, "events": 1}


def test_deleting_somebody_unknown_leaves_a_tombstone(api: Api) -> None:
    assert delete(api, "nobody").document == {"user_id": "nobody", "lists": 0, "events": 0}
    document = stored_of(api, "nobody")
    assert document["deleted_at"] is not None
    assert not document["is_stored"]


def test_a_tombstone_made_with_an_earlier_key_is_found(api: Api, database: str) -> None:
    secret = b"a key of another database"
    moment = datetime(2025, 1, 1, tzinfo=UTC)
    execute(database, "INSERT INTO keys VALUES ('tombstones', 'old', %s, '-infinity')", secret)
    digest = user_hash(secret, "ü")
    execute(database, "INSERT INTO deleted_users VALUES ('old', %s, %s)", digest, moment)
    assert millis(stored_of(api, "ü")["deleted_at"]) == round(moment.timestamp() * 1000)
    delete(api, "ü")
    assert millis(stored_of(api, "ü")["deleted_at"]) > round(moment.timestamp() * 1000)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    ("target", "status", "slug"),
    [
        (f"/v1/users/{'u' * 257}", 422, "invalid-request"),
        ("/v1/users/a%00", 422, "invalid-request"),
        ("/v1/users/%ED%A0%80", 422, "invalid-request"),
        ("/v1/users/%FF", 422, "invalid-request"),
        ("/v1/users/u?force=1", 400, "unknown-parameter"),
        ("/v1/users/", 404, "not-found"),
        ("/v1/users", 404, "not-found"),
    ],
)
def test_bad_input_gets_a_problem(shared_api: Api, method: str, target: str, status: int, slug: str) -> None:
    check_problem(shared_api.send(proxy_event(method, target)), status, slug)


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH"])
def test_a_wrong_method_gets_a_problem(shared_api: Api, method: str) -> None:
    answer = shared_api.send(proxy_event(method, "/v1/users/u", body="{}"))
    check_problem(answer, 405, "method-not-allowed")


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    where = conninfo_to_dict(database)
    proxy = Proxy(cast(str, where["host"]), int(cast(str, where["port"])))
    yield proxy
    proxy.close()


def test_without_a_database_no_deletion_is_said_to_have_happened(
    proxy: Proxy, database: str, make_api: MakeApi, stored: str
) -> None:
    url = make_conninfo(database, host="127.0.0.1", port=proxy.port)
    api = make_api(database_url=SecretStr(url), database_pause_seconds=0)
    assert api.recommendations("known").status == 200
    proxy.cut()
    refused = delete(api, "known")
    check_problem(refused, 503, "database-unavailable")
    assert "may still be stored" in refused.document["detail"]
    assert int(refused.headers["retry-after"]) > 0
    unknown = api.get("/v1/users/known")
    check_problem(unknown, 503, "database-unavailable")
    assert int(unknown.headers["retry-after"]) > 0
    proxy.restore()
    assert stored_of(api, "known")["is_stored"]
    assert delete(api, "known").document == {"user_id": "known", "lists": 2, "events": 0}


def test_a_deletion_that_has_to_wait_too_long_is_not_said_to_have_happened(
    make_api: MakeApi, database: str, stored: str
) -> None:
    impatient = make_api(events_timeout_ms=300)
    with psycopg.connect(database) as loader:
        loader.execute("LOCK TABLE deleted_users IN SHARE MODE")  # as a load does
        refused = delete(impatient, "known")
        check_problem(refused, 503, "database-unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert stored_of(impatient, "known")["is_stored"]
    # The server may still carry it out. Whether or not it does, repeating it settles it.
    patient = make_api()
    assert delete(patient, "known").status == 200
    assert not stored_of(patient, "known")["is_stored"]


def test_no_log_line_names_the_user(api: Api, stored: str, caplog: pytest.LogCaptureFixture) -> None:
    api.get("/health")  # what an environment says when it begins
    caplog.clear()
    caplog.set_level("DEBUG", LOGGER)
    stored_of(api, "known")
    delete(api, "known")
    lines = [JsonFormatter().format(each) for each in caplog.records if each.name.startswith(LOGGER)]
    assert [json.loads(line)["route"] for line in lines] == ["/v1/users/{user_id}"] * 2
    assert not any("known" in line for line in lines)


def test_answers_are_as_documented_and_kept_by_no_cache(api: Api, stored: str) -> None:
    document = api.get("/openapi.json").document
    api.post_events(event("known", "hat"))
    told = api.get("/v1/users/known")
    check(document, "StoredUserOut", told.document)
    deleted = delete(api, "known")
    check(document, "DeletedUser", deleted.document)
    check(document, "StoredUserOut", api.get("/v1/users/known").document)
    assert told.headers["cache-control"] == deleted.headers["cache-control"] == "no-store"
