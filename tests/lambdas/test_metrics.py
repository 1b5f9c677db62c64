"""What a pushgateway gets to see, and that it never gets in the way."""

import logging
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr
from twin.errors import MissingProgramError
from twin.monitoring import running_pushgateway
from twin.processes import free_port

from contract.metrics import COUNTED_ROUTES, METRICS, OTHER, VERSIONS_AN_ENVIRONMENT
from contract.routes import SCOPES
from lambdas.recommendations_api.app import app
from lambdas.recommendations_api.database import Database
from lambdas.recommendations_api.environment import Environment
from lambdas.recommendations_api.metrics import FORGOTTEN_AFTER_SECONDS, Metrics
from lambdas.recommendations_api.records import RequestRecord
from tests.lambdas.callers import Api, event
from tests.lambdas.conftest import MakeApi
from tests.lambdas.servers import FakeGateway, Proxy, Push, black_hole, fake_gateway
from tests.lambdas.versions import AS_OF, load_version, make_live

RECOMMENDATIONS = "/v1/users/{user_id}/recommendations"
ANSWERS = "shop_api_version_answers_total"


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with fake_gateway() as server:
        yield server


def test_the_first_push_is_all_zeros_and_replaces_a_group_of_its_own(
    make_api: MakeApi, gateway: FakeGateway, stored: str
) -> None:
    api = pushing(make_api, gateway.url)
    assert gateway.pushes == [], "nothing is pushed before the first request"
    api.recommendations("known")
    first = gateway.pushes[0]
    assert first.method == "PUT"
    prefix = "/metrics/job/recommendations_api/instance/"
    assert first.path.startswith(prefix)
    assert uuid.UUID(first.path.removeprefix(prefix)).version == 4
    values = first.values
    assert values.pop(("shop_api_memory_bytes",)) > 1e6
    assert set(values.values()) == {0.0}
    assert (ANSWERS, "default", "first") in values
    assert not any(name.endswith("_created") for name, *_ in first.values)


def test_pushes_are_cumulative_and_count_every_kind(
    make_api: MakeApi, gateway: FakeGateway, stored: str
) -> None:
    api = pushing(make_api, gateway.url)
    for user in ("known", "nobody", "known"):
        api.recommendations(user)
    api.post_events(event("u", "a"), event("", "a"))
    api.get("/v1/items/nothing/similar")
    api.get("/nothing")
    values = gateway.pushes[-1].values
    assert values["shop_api_requests_total", RECOMMENDATIONS, "2xx"] == 3
    assert values["shop_api_requests_total", "/v1/events", "2xx"] == 1
    assert values["shop_api_requests_total", "/v1/items/{item_id}/similar", "4xx"] == 1
    assert values["shop_api_requests_total", "other", "4xx"] == 1
    assert values["shop_api_recommendations_total", "personalized"] == 2
    assert values["shop_api_recommendations_total", "popular"] == 1
    assert values["shop_api_events_total", "accepted"] == 1
    assert values["shop_api_events_total", "rejected"] == 1
    assert values[ANSWERS, "default", "first"] == 3
    assert values["shop_api_version_as_of_timestamp_seconds",] == AS_OF.timestamp()
    assert values["shop_api_database_calls_total",] >= 5
    assert values["shop_api_database_seconds_total",] > 0
    assert values["shop_api_cpu_seconds_total",] > 0
    assert values[("shop_api_request_duration_seconds_count",)] == 5
    assert values["shop_api_cold_starts_total",] == 1
    assert len({push.path for push in gateway.pushes}) == 1
    assert len({frozenset(push.values) for push in gateway.pushes}) == 1, "no series comes later"


def test_pushes_are_throttled_and_the_last_one_comes_at_the_end(
    make_api: MakeApi, gateway: FakeGateway, stored: str
) -> None:
    api = pushing(make_api, gateway.url, push_interval_seconds=600)
    for _ in range(5):
        api.recommendations("known")
    assert len(gateway.pushes) == 1
    api.environment.stop()
    assert len(gateway.pushes) == 2
    assert gateway.pushes[-1].values["shop_api_requests_total", RECOMMENDATIONS, "2xx"] == 5


def test_environments_do_not_overwrite_each_other(
    make_api: MakeApi, gateway: FakeGateway, stored: str
) -> None:
    for _ in range(2):
        pushing(make_api, gateway.url).recommendations("known")
    assert len({push.path for push in gateway.pushes}) == 2


def test_a_gateway_that_closes_connections_misses_nothing(
    make_api: MakeApi, gateway: FakeGateway, stored: str
) -> None:
    gateway.closes_connections = True
    api = pushing(make_api, gateway.url)
    for _ in range(3):
        api.recommendations("known")
    assert len(gateway.pushes) == 4


def test_a_gateway_that_refuses_is_left_alone_and_no_answer_suffers(
    make_api: MakeApi, gateway: FakeGateway, stored: str, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.status = 400
    api = pushing(make_api, gateway.url, push_pause_seconds=600)
    assert {api.recommendations("known").status for _ in range(3)} == {200}
    assert len(gateway.pushes) == 1
    assert "the pushgateway answered 400" in caplog.text


def test_without_a_gateway_no_answer_suffers(make_api: MakeApi, stored: str) -> None:
    api = pushing(make_api, f"http://127.0.0.1:{free_port()}", push_pause_seconds=600)
    assert {api.recommendations("known").status for _ in range(3)} == {200}
    api.environment.stop()


def test_a_gateway_that_never_answers_delays_one_answer_by_the_timeout_and_no_other(
    make_api: MakeApi, stored: str, caplog: pytest.LogCaptureFixture
) -> None:
    with black_hole() as url:
        api = pushing(make_api, url, push_timeout_ms=300, push_pause_seconds=600)
        caplog.set_level(logging.WARNING)
        for _ in range(5):
            started = time.monotonic()
            assert api.recommendations("known").status == 200
            assert time.monotonic() - started < 3
        slow = [record for record in caplog.records if "took longer" in record.message]
        failed = [record for record in caplog.records if "could not be pushed" in record.message]
        assert len(slow) <= 1
        assert len(slow) + len(failed) >= 1
        api.environment.stop()


@pytest.mark.parametrize("serves", ["all", "read", "write"])
def test_an_environment_has_no_more_series_than_a_gateway_can_bear(
    make_api: MakeApi, gateway: FakeGateway, stored: str, database: str, serves: str
) -> None:
    """Hundreds of environments may push at once. The gateway adds two of its own to each."""
    api = pushing(make_api, gateway.url, serves=serves)
    for number in range(VERSIONS_AN_ENVIRONMENT + 2):
        load_version(database, f"version-{number}", variant=f"variant-{number}")
        api.get(f"/v1/popular?variant=variant-{number}")
    for target in ("/v1/stats", "/v1/users/known", "/nothing", "/v1/popular?limit=x"):
        api.get(target)
    api.get("/v1/popular", headers={"If-None-Match": "*"})
    api.post_events(event("u", "a"))
    assert 20 < len(gateway.pushes[-1].values) + 2 <= 60


def test_routes_and_labels_are_those_of_the_contract(
    make_api: MakeApi, gateway: FakeGateway, stored: str
) -> None:
    """Whatever is asked for: unknown routes, methods, and values meant to break out of a label."""
    api = pushing(make_api, gateway.url)
    hostile = "x%22%7D%201%0Ashop_api_requests_total%7Broute%3D%22/v1/pwned"
    for target in (f"/{hostile}", f"/v1/{hostile}", f"/v1/items/{hostile}/similar", f"/v1/popular/{hostile}"):
        api.get(target)
    api.get(f"/v1/popular?variant={hostile}")
    api.get(f"/v1/popular?category={hostile}")
    api.post("/v1/popular", {})
    api.post_events(event(hostile, hostile, hostile, recommendation_id=hostile))
    known = {metric.name: metric for metric in METRICS}
    for name, *values in gateway.pushes[-1].values:
        if name.startswith(("shop_api_request_duration", ANSWERS)):
            continue
        for label, value in zip(known[name].labels, values, strict=True):
            assert value in label.values
    assert "pwned" not in gateway.pushes[-1].text


def test_names_of_versions_cannot_break_out_of_their_labels(
    make_api: MakeApi, database: str, tmp_path: Path
) -> None:
    name, variant = 'v"} 1\nshop_api_degraded_total 9\n\\', 'ü,{}="'
    load_version(database, name)
    make_live(database, name, variant)
    try:
        with running_pushgateway(log=tmp_path / "log") as url:
            api = pushing(make_api, url)
            for _ in range(2):
                assert api.get(f"/v1/popular?variant={quote(variant)}").status == 200
            with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
                text = response.read().decode()
    except MissingProgramError as error:
        pytest.skip(str(error))
    (labels,) = [
        sample.labels
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == ANSWERS
    ]
    assert (labels["version"], labels["variant"]) == (name, variant)
    assert "\nshop_api_degraded_total 9" not in text


def test_what_visitors_wait_for_is_counted_apart() -> None:
    tagged = {
        route.path_format
        for route in app.routes
        if {"recommendations", "events"}.intersection(getattr(route, "tags", ()))
    }
    assert set(COUNTED_ROUTES) == tagged
    assert {route for _, route in SCOPES} >= set(COUNTED_ROUTES)


def test_each_answer_of_a_batch_counts_for_the_version_that_gave_it(
    make_api: MakeApi, gateway: FakeGateway, stored: str, database: str
) -> None:
    load_version(database, "second", variant=None)
    make_live(database, "second", "challenger", share=1.0)
    api = pushing(make_api, gateway.url)
    users = [f"user-{number}" for number in range(40)]
    answers = api.post("/v1/recommendations/batch", {"user_ids": users}).document["answers"]
    expected = {
        (ANSWERS, variant, version): sum(answer["variant"] == variant for answer in answers)
        for version, variant in (("first", "default"), ("second", "challenger"))
    }
    assert min(expected.values()) > 5
    values = gateway.pushes[-1].values
    assert {key: value for key, value in values.items() if key[0] == ANSWERS} == expected
    by_source = [value for (name, *_), value in values.items() if name == "shop_api_recommendations_total"]
    assert sum(by_source) == 40


def test_an_answer_that_the_visitor_has_already_is_not_counted_again(
    make_api: MakeApi, gateway: FakeGateway, stored: str
) -> None:
    api = pushing(make_api, gateway.url)
    etag = api.recommendations("known").headers["etag"]
    path = "/v1/users/known/recommendations?limit=10"
    assert api.get(path, headers={"If-None-Match": etag}).status == 304
    values = gateway.pushes[-1].values
    assert values["shop_api_requests_total", RECOMMENDATIONS, "3xx"] == 1
    assert values[ANSWERS, "default", "first"] == 1


def test_a_new_version_is_shown_at_zero_before_it_is_counted(
    make_api: MakeApi, gateway: FakeGateway, stored: str, database: str
) -> None:
    api = pushing(make_api, gateway.url, push_interval_seconds=600)
    api.recommendations("known")
    load_version(database, "second")
    api.recommendations("known")
    first, second = (push.values for push in gateway.pushes)
    assert (ANSWERS, "default", "second") not in first
    assert second[ANSWERS, "default", "second"] == 0
    assert second[ANSWERS, "default", "first"] == 1
    api.environment.stop()
    assert gateway.pushes[-1].values[ANSWERS, "default", "second"] == 1


def test_versions_beyond_the_bound_are_counted_together_until_an_older_one_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr("lambdas.recommendations_api.metrics.time.monotonic", clock)
    metrics = Metrics([("GET", "/v1/popular")], unconnected())

    def answer(number: int) -> bool:
        told = {("popular", f"v{number}", "default"): 1}
        record = RequestRecord(trace_id="t", status=200, answers=told)
        is_new = metrics.meet(record)
        metrics.count(record, 0.1)
        return is_new

    def counted(version: str, variant: str = "default") -> float | None:
        return metrics.registry.get_sample_value(ANSWERS, {"version": version, "variant": variant})

    last = VERSIONS_AN_ENVIRONMENT
    assert all(answer(number) for number in range(last))
    assert answer(last), "the first that goes to the others"
    assert not answer(last)
    assert (counted(f"v{last}"), counted(OTHER, OTHER)) == (None, 2)
    for number in range(1, last):
        clock.now += FORGOTTEN_AFTER_SECONDS
        assert not answer(number)
    assert answer(last)
    assert (counted("v0"), counted(f"v{last}"), counted(OTHER, OTHER)) == (None, 1, 2)


def test_answers_without_the_database_are_counted(
    gateway: FakeGateway, make_api: MakeApi, database: str, stored: str
) -> None:
    where = conninfo_to_dict(database)
    with closing(Proxy(str(where["host"]), int(str(where["port"])))) as proxy:
        url = make_conninfo(database, host="127.0.0.1", port=proxy.port)
        api = pushing(make_api, gateway.url, database_url=SecretStr(url))
        api.get("/v1/popular")
        assert gateway.pushes[-1].values["shop_api_degraded_total",] == 0
        proxy.cut()
        assert api.get("/v1/popular").headers["x-degraded"] == "database"
    assert gateway.pushes[-1].values["shop_api_degraded_total",] == 1


def test_a_failed_push_is_made_up_for_by_the_next(
    make_api: MakeApi, gateway: FakeGateway, stored: str
) -> None:
    gateway.status = 500
    api = pushing(make_api, gateway.url, push_pause_seconds=0)
    api.recommendations("known")
    refused = len(gateway.pushes)
    gateway.status = 200
    api.recommendations("known")
    api.recommendations("known")
    baseline, latest = (push.values for push in gateway.pushes[refused:])
    counted = ("shop_api_requests_total", RECOMMENDATIONS, "2xx")
    assert (baseline[counted], latest[counted]) == (0, 3), "what was counted meanwhile is not lost"


@pytest.mark.parametrize("rest", [601, 100_000])
def test_after_a_long_rest_an_environment_comes_back_as_another_from_zero(
    make_api: MakeApi, gateway: FakeGateway, stored: str, rest: float
) -> None:
    """Housekeeping has deleted its group: the old counters must not come up again."""
    api = pushing(make_api, gateway.url, push_rest_seconds=600)
    clock = controlled(api)
    for _ in range(2):
        api.recommendations("known")
    before = gateway.pushes[-1]
    clock.now += rest
    api.recommendations("known")
    zeros, after = gateway.pushes[-2:]
    assert zeros.path == after.path != before.path
    assert {value for (name, *_), value in zeros.values.items() if name.endswith("_total")} == {0.0}
    assert zeros.values.keys() == before.values.keys()
    assert before.values["shop_api_requests_total", RECOMMENDATIONS, "2xx"] == 2
    assert after.values["shop_api_requests_total", RECOMMENDATIONS, "2xx"] == 1
    assert after.values["shop_api_cold_starts_total",] == 0, "it is the same environment"
    assert len({push.path for push in gateway.pushes}) == 2


def test_a_shorter_rest_changes_nothing_however_many_there_are(
    make_api: MakeApi, gateway: FakeGateway, stored: str
) -> None:
    api = pushing(make_api, gateway.url, push_rest_seconds=600)
    clock = controlled(api)
    for _ in range(4):
        api.recommendations("known")
        clock.now += 599
    assert len({push.path for push in gateway.pushes}) == 1
    assert gateway.pushes[-1].values["shop_api_requests_total", RECOMMENDATIONS, "2xx"] == 4


def test_a_rest_without_a_gateway_changes_nothing(make_api: MakeApi, stored: str) -> None:
    api = make_api()
    clock = controlled(api)
    assert api.recommendations("known").status == 200
    clock.now += 100_000
    assert api.recommendations("known").status == 200


def test_a_real_pushgateway_shows_the_sums(make_api: MakeApi, stored: str, tmp_path: Path) -> None:
    try:
        with running_pushgateway(log=tmp_path / "log") as url:
            for _ in range(2):
                api = pushing(make_api, url, push_interval_seconds=600)
                api.recommendations("known")
                api.recommendations("known")
                api.environment.stop()
            with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
                values = Push("", "", response.read().decode()).values
    except MissingProgramError as error:
        pytest.skip(str(error))
    counted = [
        value
        for (name, *labels), value in values.items()
        if name == "shop_api_requests_total" and RECOMMENDATIONS in labels and "2xx" in labels
    ]
    assert counted == [2, 2]


def test_a_route_that_is_not_named_is_counted_with_the_others() -> None:
    metrics = Metrics([("GET", "/v1/a")], unconnected())
    metrics.count(RequestRecord(trace_id="t", status=503), 0.1)
    value = metrics.registry.get_sample_value
    assert value("shop_api_requests_total", {"route": "other", "status": "5xx"}) == 1
    assert value("shop_api_request_duration_seconds_count") == 0


def unconnected() -> Database:
    return Database("", connect_timeout=2, pause=0, statement_timeout=1)


def pushing(make_api: MakeApi, url: str, **settings: Any) -> Api:
    usual: dict[str, Any] = {"push_interval_seconds": 0, "push_timeout_ms": 5000}
    return make_api(pushgateway_url=url, **{**usual, **settings})


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def controlled(api: Api) -> Clock:
    """The clock of a new environment that has not answered yet."""
    clock = Clock()
    api.environment = Environment(api.settings, clock=clock)
    return clock
