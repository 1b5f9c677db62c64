"""What Prometheus makes of what environments push: a real one behind a real pushgateway.

It asks fifty times as often as it does when deployed, and environments push as much more often.
"""

import contextlib
import http.client
import json
import os
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from lambda_executor import Function
from prometheus_client import generate_latest
from twin.monitoring import PROMETHEUS, PUSHGATEWAY, find_program, running_pushgateway
from twin.processes import LOOPBACK, Server, answers, free_port

from lambdas.housekeeping.gateway import Gateway
from lambdas.housekeeping.settings import Settings as HousekeepingSettings
from lambdas.housekeeping.stale_groups import delete_stale
from lambdas.recommendations_api.environment import Environment, served_routes
from lambdas.recommendations_api.metrics import Metrics
from lambdas.recommendations_api.pusher import JOB
from lambdas.recommendations_api.records import RequestRecord
from tests.lambdas.callers import Api, proxy_event
from tests.lambdas.conftest import MakeApi
from tests.lambdas.test_metrics import Clock, unconnected
from tests.lambdas.versions import NOW

ROOT = Path(__file__).parents[2]
SCRAPE_SECONDS = 0.2
PUSH_SECONDS = 0.4
REQUESTS = 'shop_api_requests_total{route="/v1/popular"}'
ANSWERS = "shop_api_version_answers_total"
PATIENCE = 60.0

pytestmark = pytest.mark.skipif(
    find_program(PROMETHEUS) is None or find_program(PUSHGATEWAY) is None,
    reason="there is no Prometheus or no pushgateway on this machine",
)


class Prometheus:
    """Starts, stops, and starts again over the same data."""

    def __init__(self, folder: Path, gateway_url: str) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        config = {
            "global": {"scrape_interval": f"{SCRAPE_SECONDS * 1000:.0f}ms", "scrape_timeout": "200ms"},
            "scrape_configs": [
                {
                    "job_name": "pushgateway",
                    "honor_labels": True,
                    "static_configs": [{"targets": [gateway_url.removeprefix("http://")]}],
                }
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self._server: Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        program = find_program(PROMETHEUS)
        assert program is not None
        command: list[str | Path] = [
            program,
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
        ]
        self._server = Server(
            "Prometheus", command, log=self._folder / "log", environment={"PATH": os.defpath}
        )
        self._server.wait_until(lambda: answers(f"{self.url}/-/ready"), timeout=PATIENCE)

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def query(self, expression: str, at: float | None = None) -> float | None:
        """The one value of an expression; None where there is none."""
        asked = {"query": expression} | ({} if at is None else {"time": f"{at:.3f}"})
        target = f"{self.url}/api/v1/query?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(target, timeout=10) as response:
            result = json.load(response)["data"]["result"]
        assert len(result) <= 1, result
        return float(result[0]["value"][1]) if result else None

    def wait_for(self, expression: str, value: float) -> None:
        wait_until(lambda: self.query(expression) == value)

    def increase(self, selector: str) -> float:
        """As dashboards ask. At the moment of a sample, beyond which nothing is extrapolated."""
        at = self.query(f"max(timestamp({selector}))")
        assert at is not None
        found = self.query(f"sum(sum without (instance) (increase({selector}[1h])))", at)
        return found or 0.0


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[str]:
    with running_pushgateway(log=tmp_path / "pushgateway.log") as url:
        yield url


@pytest.fixture
def prometheus(gateway: str, tmp_path: Path) -> Iterator[Prometheus]:
    with Prometheus(tmp_path, gateway) as server:
        yield server


@contextlib.contextmanager
def processes(number: int, database: str, gateway: str, folder: Path) -> Iterator[list[Function]]:
    """Functions of one environment each, under the real runtime client."""
    environment = {
        "DATABASE_URL": database,
        "AUTHORIZATION": "none",
        "AS_OF": NOW.isoformat(),
        "PUSHGATEWAY_URL": gateway,
        "PUSH_INTERVAL_SECONDS": str(PUSH_SECONDS),
        "PUSH_TIMEOUT_MS": "10000",
        "DATABASE_TIMEOUT_MS": "10000",
    }
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                Function(
                    handler="lambdas.recommendations_api.handler.handler",
                    code=ROOT,
                    environment=environment,
                    concurrency=1,
                    name=f"environment-{place}",
                    log_file=folder / "functions.log",
                    stop_grace=30,
                )
            )
            for place in range(number)
        ]


def ask(function: Function) -> None:
    result = function.invoke(json.dumps(proxy_event("GET", "/v1/popular")).encode())
    assert not result.is_error
    assert json.loads(result.payload)["statusCode"] == 200


def serve(functions: list[Function], prometheus: Prometheus, *, seconds: float) -> list[list[float]]:
    """When each of them was asked. The first requests wait until their zeros were seen."""
    asked: list[list[float]] = [[] for _ in functions]
    for function, moments in zip(functions, asked, strict=True):
        ask(function)
        moments.append(time.monotonic())
    prometheus.wait_for(f"count({REQUESTS[:-1]},status='2xx'}})", len(functions))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for function, moments in zip(functions, asked, strict=True):
            ask(function)
            moments.append(time.monotonic())
    return asked


def sigterm(
    database: str, gateway: str, prometheus: Prometheus, folder: Path, *, number: int, seconds: float
) -> None:
    with processes(number, database, gateway, folder) as functions:
        served = sum(map(len, serve(functions, prometheus, seconds=seconds)))
    assert served > 10 * number
    prometheus.wait_for(f"sum({REQUESTS})", served)
    assert prometheus.increase(REQUESTS) == pytest.approx(served, rel=0.01)
    assert prometheus.increase(f'{ANSWERS}{{version="first",variant="default"}}') == pytest.approx(
        served, rel=0.01
    )
    assert prometheus.query("sum(shop_api_cold_starts_total)") == number


def sigkill(
    database: str, gateway: str, prometheus: Prometheus, folder: Path, *, number: int, seconds: float
) -> None:
    with processes(number, database, gateway, folder) as functions:
        asked = serve(functions, prometheus, seconds=seconds)
        for function in functions:
            for environment in function.environments:
                environment.kill()
    served = sum(map(len, asked))
    at_risk = sum(sum(moment >= moments[-1] - PUSH_SECONDS for moment in moments) for moments in asked)
    assert at_risk < served / 2
    pushed = sum(
        group.values["shop_api_cold_starts_total"]
        for group in Gateway(gateway, timeout=30).groups("shop_api_cold_starts_total")
    )
    assert pushed == number, "each has pushed more than its zeros"
    wait_until(lambda: served - at_risk <= (prometheus.query(f"sum({REQUESTS})") or 0) <= served)
    increase = prometheus.increase(REQUESTS)
    assert 0.99 * (served - at_risk) <= increase <= 1.01 * served


def test_environments_that_end_by_sigterm_are_counted_whole(
    database: str, stored: str, gateway: str, prometheus: Prometheus, tmp_path: Path
) -> None:
    sigterm(database, gateway, prometheus, tmp_path, number=3, seconds=2)


def test_environments_that_are_killed_miss_one_interval_at_most(
    database: str, stored: str, gateway: str, prometheus: Prometheus, tmp_path: Path
) -> None:
    sigkill(database, gateway, prometheus, tmp_path, number=3, seconds=2)


@pytest.mark.slow
def test_twenty_environments_that_end_by_sigterm_are_counted_whole(
    database: str, stored: str, gateway: str, prometheus: Prometheus, tmp_path: Path
) -> None:
    sigterm(database, gateway, prometheus, tmp_path, number=20, seconds=20)


@pytest.mark.slow
def test_twenty_environments_that_are_killed_miss_one_interval_at_most(
    database: str, stored: str, gateway: str, prometheus: Prometheus, tmp_path: Path
) -> None:
    sigkill(database, gateway, prometheus, tmp_path, number=20, seconds=20)


def pushing(make_api: MakeApi, gateway: str, **settings: Any) -> Api:
    usual: dict[str, Any] = {"push_interval_seconds": 0, "push_timeout_ms": 10_000, "push_pause_seconds": 0}
    return make_api(pushgateway_url=gateway, **{**usual, **settings})


def begun(make_api: MakeApi, gateway: str, prometheus: Prometheus) -> Api:
    """An environment that was asked once, whose zeros were seen."""
    api = pushing(make_api, gateway, push_interval_seconds=600)
    assert api.get("/v1/popular").status == 200
    prometheus.wait_for(f"sum({REQUESTS})", 0)
    parts = api.environment._parts
    assert parts is not None
    assert parts.pusher is not None
    parts.pusher._interval = 0
    parts.pusher._due_at = 0
    return api


def test_a_gateway_that_forgets_all_loses_nothing_and_doubles_nothing(
    make_api: MakeApi, stored: str, tmp_path: Path
) -> None:
    """It restarts without its file: for a while Prometheus sees no series, then the same ones go on."""
    port = free_port()
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        url = first.enter_context(running_pushgateway(log=tmp_path / "gateway.log", port=port))
        prometheus = second.enter_context(Prometheus(tmp_path, url))
        api = begun(make_api, url, prometheus)
        for _ in range(20):
            api.get("/v1/popular")
        prometheus.wait_for(f"sum({REQUESTS})", 21)
        first.close()
        assert api.get("/v1/popular").status == 200
        prometheus.wait_for("up", 0)
        second.enter_context(running_pushgateway(log=tmp_path / "gateway.log", port=port))
        wait_until(lambda: prometheus.query("up") == 1)
        assert prometheus.query(f"sum({REQUESTS})") is None
        for _ in range(8):
            api.get("/v1/popular")
        prometheus.wait_for(f"sum({REQUESTS})", 30)
        assert prometheus.increase(REQUESTS) == pytest.approx(30, rel=0.01)


def test_what_is_served_while_prometheus_is_away_is_not_lost(
    make_api: MakeApi, stored: str, gateway: str, prometheus: Prometheus
) -> None:
    api = begun(make_api, gateway, prometheus)
    for _ in range(9):
        api.get("/v1/popular")
    prometheus.wait_for(f"sum({REQUESTS})", 10)
    prometheus.stop()
    for _ in range(30):
        api.get("/v1/popular")
    prometheus.start()
    prometheus.wait_for(f"sum({REQUESTS})", 40)
    assert prometheus.increase(REQUESTS) == pytest.approx(40, rel=0.01)


def test_an_environment_that_comes_back_after_a_rest_adds_to_what_it_had(
    make_api: MakeApi, stored: str, gateway: str, prometheus: Prometheus
) -> None:
    """Its counters begin anew, under another name: neither lost nor counted twice."""
    api = pushing(make_api, gateway, push_interval_seconds=0, push_rest_seconds=600)
    clock = Clock()
    api.environment = Environment(api.settings, clock=clock)
    total = 0
    for _ in range(2):
        clock.now += 1000
        before = prometheus.query(f"count({REQUESTS})") or 0
        parts = api.environment._parts
        api.environment._settings = api.settings.model_copy(update={"push_interval_seconds": 600})
        api.get("/v1/popular")
        wait_until(lambda: (prometheus.query(f"count({REQUESTS})") or 0) > before)  # noqa: B023 - called at once
        parts = api.environment._parts
        assert parts is not None
        assert parts.pusher is not None
        parts.pusher._interval = parts.pusher._due_at = 0
        for _ in range(9):
            api.get("/v1/popular")
        total += 10
        prometheus.wait_for(f"sum({REQUESTS})", total)
    assert prometheus.query(f"count(count by (instance) ({REQUESTS}))") == 2
    assert prometheus.increase(REQUESTS) == pytest.approx(20, rel=0.01)


def test_the_same_push_twice_changes_nothing(
    make_api: MakeApi, stored: str, gateway: str, prometheus: Prometheus
) -> None:
    api = begun(make_api, gateway, prometheus)
    api.get("/v1/popular")
    parts = api.environment._parts
    assert parts is not None
    assert parts.pusher is not None
    for _ in range(5):
        parts.pusher.push()
    prometheus.wait_for(f"sum({REQUESTS})", 2)
    assert prometheus.increase(REQUESTS) == pytest.approx(2, rel=0.01)


def fill_with_stale(gateway: str, number: int) -> None:
    """Groups as environments leave them, each with all series."""
    metrics = Metrics(served_routes("all"), unconnected())
    record = RequestRecord(trace_id="t", status=200, answers={("popular", "v", "default"): 1}, as_of=1.0)
    metrics.meet(record)
    metrics.count(record, 0.1)
    text = generate_latest(metrics.registry)
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(gateway).netloc, timeout=PATIENCE)
    for _ in range(number):
        connection.request("PUT", f"/metrics/job/{JOB}/instance/{uuid.uuid4()}", text)
        response = connection.getresponse()
        response.read()
        assert response.status < 300
    connection.close()


def survive(make_api: MakeApi, url: str, number: int) -> None:
    """Pushes go on beside the stale groups, and runs of housekeeping clean them up."""
    fill_with_stale(url, number)
    fields = HousekeepingSettings.model_fields
    gateway = Gateway(
        url,
        timeout=fields["gateway_timeout_seconds"].default,
        reading_timeout=fields["gateway_reading_seconds"].default,
    )
    # The gateway's own clock: what was pushed from here on is younger than any of the stale ones.
    before = max(group.pushed_at for group in gateway.groups()) + 1e-5
    api = make_api(pushgateway_url=url, push_interval_seconds=0)
    for _ in range(3):
        assert api.get("/v1/popular").status == 200
    runs = 0
    while (groups := gateway.groups()) and len(groups) > 1:
        runs += 1
        delete_stale(gateway, groups, before=before, seconds=fields["gateway_total_seconds"].default)
        assert runs < 20
    ((labels, _, values),) = [
        (group.labels, group.pushed_at, group.values)
        for group in gateway.groups("shop_api_cold_starts_total")
    ]
    parts = api.environment._parts
    assert parts is not None
    assert parts.pusher is not None
    assert labels == {"job": JOB, "instance": parts.pusher.instance}
    assert values == {"shop_api_cold_starts_total": 1}


def test_hundreds_of_stale_groups_are_survived_and_cleaned(
    make_api: MakeApi, stored: str, gateway: str
) -> None:
    survive(make_api, gateway, 300)


@pytest.mark.slow
def test_five_thousand_stale_groups_are_survived_and_cleaned(
    make_api: MakeApi, stored: str, gateway: str
) -> None:
    survive(make_api, gateway, 5000)
