"""What happens to a real server: stopped, frozen, restarted, full, locked. Nothing is a defect, or stored half."""

import itertools
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from lambdas.recommendations_api.logs import JsonFormatter
from tests.lambdas.callers import Answer, Api, event, proxy_event
from tests.lambdas.conftest import environments
from tests.lambdas.own_postgres import OwnPostgres, own_postgres
from tests.lambdas.servers import black_hole
from tests.lambdas.versions import POPULAR, execute, load_first

# Not so short that a busy machine misses it by accident, not so long that a test takes long.
DEADLINE_MS = 500

DEGRADING = (
    "/v1/users/known/recommendations",
    "/v1/items/shoe/similar",
    "/v1/items/shoe/bought-together",
    "/v1/popular",
)
FAILING = ("/v1/users/known", "/v1/model", "/v1/stats", "/ready")

EVENTS = [event(f"visitor-{number % 3}", "tent", event_id=f"event-{number}") for number in range(50)]

_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(logs: Path) -> Iterator[OwnPostgres]:
    with own_postgres(logs / "faulty_postgres.log") as server:
        yield server


@pytest.fixture
def own(server: OwnPostgres) -> Iterator[OwnPostgres]:
    """A server that runs before and after each test, whatever it does."""
    yield server
    server.stop()
    server.start()


@pytest.fixture
def database(own: OwnPostgres) -> str:
    database = own.make_database(f"faults_{next(_numbers)}")
    load_first(database)
    return database


@pytest.fixture
def make(database: str) -> Iterator[Callable[..., Api]]:
    with environments(database) as make:

        def hasty(**settings: Any) -> Api:
            usual = {
                "database_timeout_ms": DEADLINE_MS,
                "events_timeout_ms": DEADLINE_MS,
                "database_pause_seconds": 0,
            }
            return make(**{**usual, **settings})

        yield hasty


@pytest.fixture
def api(make: Callable[..., Api]) -> Api:
    """An environment that has answered before."""
    api = make()
    check_right(api)
    assert api.post_events(event("somebody", "hat")).status == 202
    return api


def test_a_server_that_was_stopped_is_missed_honestly_and_found_again(
    api: Api, own: OwnPostgres, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lambdas.recommendations_api")
    own.stop()
    for target in DEGRADING:
        check_degraded(api.get(target))
    check_degraded(api.post("/v1/recommendations", {"events": [{"item_id": "tent", "event_type": "view"}]}))
    batch = api.post("/v1/recommendations/batch", {"user_ids": ["known", "nobody"]})
    assert (batch.status, batch.headers["x-degraded"]) == (200, "database")
    assert [answer["source"] for answer in batch.document["answers"]] == ["popular", "popular"]
    for target in FAILING:
        check_unavailable(api.get(target))
    check_unavailable(api.post_events(*EVENTS))
    items = json.dumps({"items": [{"item_id": "shoe", "available": False}]})
    check_unavailable(api.send(proxy_event("PUT", "/v1/items", body=items)))
    check_unavailable(api.send(proxy_event("DELETE", "/v1/users/known")))
    assert api.get("/health").status == 200
    check_told(api, caplog, "Connection refused", unavailable=("/v1/events",))
    own.start()
    check_right(api)
    assert stored(database) == 1, "nothing but what was accepted before"
    assert execute(database, "SELECT count(*) FROM items") == [(0,)]
    assert api.post_events(*EVENTS).document["accepted"] == len(EVENTS)


def test_a_server_that_was_restarted_is_not_missed(api: Api, own: OwnPostgres, database: str) -> None:
    own.stop()
    own.start()
    check_right(api)
    own.stop()
    own.start()
    assert api.post_events(*EVENTS).document == {"accepted": len(EVENTS), "duplicates": 0, "rejected": []}
    assert stored(database) == 1 + len(EVENTS)


def test_an_environment_that_begins_without_a_server_answers_as_soon_as_there_is_one(
    make: Callable[..., Api], own: OwnPostgres
) -> None:
    own.stop()
    api = make()
    for target in (*DEGRADING, *FAILING):
        check_unavailable(api.get(target))
    own.start()
    check_right(api)


def test_a_frozen_server_is_missed_honestly_and_found_again(
    api: Api, own: OwnPostgres, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lambdas.recommendations_api")
    own.freeze()
    check_degraded(api.get(DEGRADING[0]))
    # A connection that waits for a server to greet it.
    check_degraded(api.get(DEGRADING[1]))
    check_unavailable(api.post_events(*EVENTS))
    check_told(api, caplog, "timeout", unavailable=("/v1/events",))
    own.thaw()
    check_right(api)
    assert stored(database) == 1, "they could not even be sent"


def test_events_that_a_frozen_server_was_sent_are_stored_whole_or_not_at_all_and_once(
    api: Api, own: OwnPostgres, database: str
) -> None:
    own.freeze()
    check_unavailable(api.post_events(*EVENTS))
    own.thaw()
    check_right(api)
    wait_until_idle(database)
    assert stored(database) - 1 in {0, len(EVENTS)}
    assert api.post_events(*EVENTS).status == 202
    assert stored(database) == 1 + len(EVENTS), "a repetition with the same event_ids counts once"


def test_without_a_free_connection_answers_fall_back_until_there_is_one(
    make: Callable[..., Api], own: OwnPostgres, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(database, "DROP ROLE IF EXISTS few")
    execute(database, "CREATE ROLE few LOGIN CONNECTION LIMIT 1")
    execute(database, "GRANT ALL ON ALL TABLES IN SCHEMA public TO few")
    url = make_conninfo(database, user="few")
    api = make(database_url=SecretStr(url))
    check_right(api)
    cold = make(database_url=SecretStr(url))
    check_unavailable(cold.get(DEGRADING[0]))
    own.stop()
    own.start()
    caplog.set_level(logging.INFO, "lambdas.recommendations_api")
    with psycopg.connect(url):
        for target in DEGRADING:
            check_degraded(api.get(target))
        check_unavailable(api.post_events(*EVENTS))
        check_unavailable(cold.get(DEGRADING[0]))
    check_told(api, caplog, "too many connections", unavailable=("/v1/events",))
    wait_until_gone(database, "few")
    check_right(api)
    api.environment.stop()
    wait_until_gone(database, "few")
    check_right(cold)
    cold.environment.stop()
    execute(database, "DROP OWNED BY few")


def test_a_table_that_somebody_locks_delays_nothing_beyond_the_deadline(
    api: Api, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lambdas.recommendations_api")
    with psycopg.connect(database) as blocking:
        blocking.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        check_degraded(api.get(DEGRADING[0]))
        assert "x-degraded" not in api.get("/v1/popular").headers, "needs no events"
        check_unavailable(api.post_events(*EVENTS))
        check_told(api, caplog, "timeout", unavailable=("/v1/events",))
        # The server gives up by itself, too: what nobody waits for must not be stored once the lock goes.
        wait_until_idle(database)
    check_right(api)
    assert stored(database) == 1
    assert api.post_events(*EVENTS).status == 202
    assert stored(database) == 1 + len(EVENTS)


def test_a_hanging_pushgateway_and_a_stopped_server_together_are_no_worse(
    make: Callable[..., Api], own: OwnPostgres
) -> None:
    with black_hole() as gateway:
        api = make(pushgateway_url=gateway, push_interval_seconds=0, push_timeout_ms=50, push_pause_seconds=0)
        check_right(api)
        own.stop()
        check_degraded(api.get(DEGRADING[0]))
        check_unavailable(api.post_events(*EVENTS))
        own.start()
        check_right(api)
        api.environment.stop()


def check_right(api: Api) -> None:
    answer = api.recommendations("known")
    assert (answer.status, answer.document["source"]) == (200, "personalized")
    assert "x-degraded" not in answer.headers
    assert answer.item_ids[:2] == ["personal-1", "personal-2"]


def check_degraded(answer: Answer) -> None:
    assert (answer.status, answer.headers["x-degraded"]) == (200, "database")
    assert (answer.document["source"], answer.document["model_version"]) == ("popular", "first")
    assert answer.item_ids == [item for item, _ in POPULAR[:10]]


def check_unavailable(answer: Answer) -> None:
    assert (answer.status, answer.document["type"]) == (503, "urn:problem:database-unavailable")
    assert int(answer.headers["retry-after"]) > 0


def check_told(
    api: Api, caplog: pytest.LogCaptureFixture, reason: str, *, unavailable: tuple[str, ...]
) -> None:
    """The log says why, and nobody's name; the metrics count each route that had no answer."""
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert any(reason in line and "the database is not available" in line for line in lines)
    assert not [line for line in lines if "visitor-" in line or "known" in line]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    parts = api.environment._parts
    assert parts is not None
    value = parts.metrics.registry.get_sample_value
    for route in unavailable:
        assert value("shop_api_requests_total", {"route": route, "status": "5xx"}) == 1
    degraded = [line for line in lines if '"degraded": "database"' in line]
    assert value("shop_api_degraded_total") == len(degraded) > 0


def wait_until_idle(database: str) -> None:
    """Until the server has done, or given up, what the function asked for."""
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'recommendations-api'"
        " AND datname = current_database() AND state = 'active'"
    )
    while execute(database, busy) != [(0,)]:
        pass


def wait_until_gone(database: str, role: str) -> None:
    """Until the server has noticed that the role has left: till then its connections count."""
    while execute(database, "SELECT count(*) FROM pg_stat_activity WHERE usename = %s", role) != [(0,)]:
        pass


def stored(database: str) -> int:
    ((number,),) = execute(database, "SELECT count(*) FROM events")
    return int(number)
