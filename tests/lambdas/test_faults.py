"""A database that is gone, slow, empty or odd: there is an answer, and it is honest."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import cast

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from lambdas.recommendations_api.logs import JsonFormatter
from tests.lambdas.callers import Answer, Api, event
from tests.lambdas.conftest import MakeApi
from tests.lambdas.servers import Proxy
from tests.lambdas.versions import POPULAR, execute, load_version

# Not so short that a busy machine misses it by accident, not so long that a test takes long.
DEADLINE_MS = 400


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    where = conninfo_to_dict(database)
    proxy = Proxy(cast(str, where["host"]), int(cast(str, where["port"])))
    yield proxy
    proxy.close()


@pytest.fixture
def behind_proxy(proxy: Proxy, database: str, make_api: MakeApi) -> Api:
    url = make_conninfo(database, host="127.0.0.1", port=proxy.port)
    return make_api(
        database_url=SecretStr(url),
        database_timeout_ms=DEADLINE_MS,
        events_timeout_ms=DEADLINE_MS,
        database_pause_seconds=0,
    )


def test_a_connection_lost_between_requests_is_replaced_unnoticed(
    api: Api, database: str, stored: str, count_events: Callable[[], int]
) -> None:
    first = api.recommendations("known")
    end_connections(database)
    second = api.recommendations("known")
    assert second.content == first.content
    assert "x-degraded" not in second.headers
    end_connections(database)
    assert api.post_events(event("u", "a")).status == 202
    assert count_events() == 1


def test_without_a_database_the_last_popular_list_is_answered(
    behind_proxy: Api, proxy: Proxy, stored: str, count_events: Callable[[], int]
) -> None:
    assert behind_proxy.recommendations("known").document["source"] == "personalized"
    proxy.cut()
    for target in ("/v1/users/known/recommendations", "/v1/items/shoe/similar", "/v1/popular"):
        check_degraded(behind_proxy.get(target))
    refused = behind_proxy.post_events(event("u", "a"))
    assert (refused.status, refused.document["type"]) == (503, "urn:problem:database-unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert behind_proxy.get("/ready").status == 503
    assert behind_proxy.get("/health").status == 200
    proxy.restore()
    assert behind_proxy.recommendations("known").document["source"] == "personalized"
    assert count_events() == 0


def test_a_frozen_server_costs_no_more_than_the_deadline(
    behind_proxy: Api, proxy: Proxy, stored: str
) -> None:
    behind_proxy.recommendations("known")
    proxy.freeze()
    started = time.monotonic()
    check_degraded(behind_proxy.recommendations("known"))
    assert DEADLINE_MS / 1000 <= time.monotonic() - started < 4 * DEADLINE_MS / 1000
    proxy.restore()
    assert behind_proxy.recommendations("known").document["source"] == "personalized"


def test_a_late_answer_of_the_server_is_not_taken_for_the_next_one(
    make_api: MakeApi, database: str, stored: str
) -> None:
    api = make_api(database_timeout_ms=DEADLINE_MS)
    api.recommendations("known")
    with psycopg.connect(database) as blocking:
        blocking.execute("LOCK TABLE serving IN ACCESS EXCLUSIVE MODE")
        check_degraded(api.recommendations("known"))
    assert api.recommendations("nobody").document["source"] == "popular"
    assert api.get("/v1/items/shoe/similar").item_ids == ["sock", "lace"]


def test_a_database_that_cannot_be_reached_is_left_alone_for_a_while(
    proxy: Proxy, database: str, make_api: MakeApi, stored: str
) -> None:
    url = make_conninfo(database, host="127.0.0.1", port=proxy.port)
    api = make_api(database_url=SecretStr(url), database_pause_seconds=600)
    api.recommendations("known")
    proxy.cut()
    check_degraded(api.recommendations("known"))
    proxy.restore()
    check_degraded(api.recommendations("known"))


def test_where_nothing_is_known_the_answer_is_503(proxy: Proxy, behind_proxy: Api) -> None:
    proxy.cut()
    answer = behind_proxy.recommendations("known")
    assert (answer.status, answer.document["type"]) == (503, "urn:problem:database-unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert str(proxy.port) not in str(answer.document), "where the database is, is nobody's business"


@pytest.mark.parametrize(
    "target", ["/v1/users/u/recommendations", "/v1/items/i/similar", "/v1/popular", "/ready"]
)
def test_without_a_version_the_answer_says_what_to_do(shared_empty_api: Api, target: str) -> None:
    answer = shared_empty_api.get(target)
    assert (answer.status, answer.document["type"]) == (503, "urn:problem:no-version")
    assert "training.versions load" in answer.document["detail"]
    assert int(answer.headers["retry-after"]) > 0


def test_a_version_of_another_code_is_named_as_the_reason(api: Api, database: str) -> None:
    load_version(database, "v", schema_version=99)
    answer = api.recommendations("u")
    assert (answer.status, answer.document["type"]) == (503, "urn:problem:unreadable-version")


def test_a_defect_is_a_500_with_a_trace_id_and_a_traceback_in_the_log(
    api: Api, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(database, "DROP TABLE serving")
    answer = api.recommendations("known")
    assert (answer.status, answer.document["type"]) == (500, "urn:problem:internal-error")
    (record,) = [record for record in caplog.records if record.exc_info and record.levelno == logging.ERROR]
    line = JsonFormatter().format(record)
    assert answer.document["trace_id"] in line
    assert "UndefinedTable" in line
    assert "\n" not in line
    assert api.get("/health").status == 200


def test_each_request_is_one_line_without_the_user(
    api: Api, stored: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lambdas.recommendations_api")
    api.recommendations("known")
    (record,) = [record for record in caplog.records if record.getMessage() == "request"]
    line = JsonFormatter().format(record)
    for part in (
        '"/v1/users/{user_id}/recommendations"',
        '"status": 200',
        '"source": "personalized"',
        '"first"',
    ):
        assert part in line
    assert "known" not in line


def end_connections(database: str) -> None:
    ended = execute(
        database,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'recommendations-api' AND datname = current_database()",
    )
    assert ended == [(True,)]


def check_degraded(answer: Answer) -> None:
    assert answer.status == 200
    assert answer.headers["x-degraded"] == "database"
    assert answer.document["source"] == "popular"
    assert answer.document["model_version"] == "first"
    assert answer.item_ids == [item for item, _ in POPULAR[:10]]
