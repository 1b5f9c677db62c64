"""What metrics cost: attribution as events grow, an environment's series, and pushing them beside answers."""

import http.client
import itertools
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast
from urllib.parse import urlsplit

import psycopg
from mangum.types import LambdaContext
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from twin.api_front import HttpRequest, proxy_event
from twin.monitoring import running_pushgateway

from benchmarks import attribution
from benchmarks.api.shop import ShopSize, fill
from benchmarks.bars import FOLDER, Bar, write
from benchmarks.stage import empty_database
from contract.metrics import VERSIONS_AN_ENVIRONMENT
from contract.routes import SCOPES
from lambdas.recommendations_api.environment import Environment
from lambdas.recommendations_api.settings import Settings

SHOP: Final = ShopSize()
TURNS: Final = 60
REQUESTS: Final = 25
"""Of each of both in each turn, warm: few, so that whatever else the machine does meets both alike."""
BODIES: Final = {
    "/v1/recommendations": {"events": []},
    "/v1/recommendations/batch": {"user_ids": ["a", "b"]},
    "/v1/events": {"events": [{"user_id": "u", "item_id": "i", "event_type": "view"}]},
    "/v1/items": {"items": [{"item_id": "i", "available": True}]},
}


def run() -> list[Bar]:
    """Measure, and leave the figures in `build/benchmarks/metrics.json`."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        empty_database() as (database_url, out),
        running_pushgateway(log=FOLDER / "pushgateway.log") as gateway,
    ):
        visitors = fill(database_url, out, SHOP)
        series = series_of_an_environment(database_url, gateway)
        silent, pushing = answer_times(database_url, gateway, visitors)
    took = attribution.measure()
    largest = max(took)
    push = statistics.median(pushing) - statistics.median(silent)
    interval = float(Settings.model_fields["push_interval_seconds"].default)
    bars = [
        Bar("attribution_vs_events", attribution.exponent(took), 1.1, "lower"),
        Bar("attribution_seconds", took[largest].seconds, None, "lower"),
        Bar("attribution_later_hour", took[largest].later_hour / took[largest].whole, 0.05, "lower"),
        Bar("series_per_environment", series, 60, "lower"),
        # An environment that is never idle pushes once an interval, whatever it answers meanwhile.
        Bar("push_share_of_p50", push / interval, 0.05, "lower"),
        Bar("push_ms", push * 1000, None, "lower"),
    ]
    raw = {
        "attribution": {events: each._asdict() for events, each in took.items()},
        "silent_s": silent,
        "pushing_s": pushing,
    }
    write("metrics", bars, raw)
    return bars


def series_of_an_environment(database_url: str, gateway: str) -> int:
    """How many Prometheus sees of one that was asked everything, of more versions than it counts apart."""
    environment = _environment(database_url, gateway)
    for method, route in SCOPES:
        path = route.format(user_id="somebody", item_id="no-such-item")
        for body, headers in itertools.product(
            (BODIES.get(route), {"wrong": 1}), ({}, {"If-None-Match": "*"})
        ):
            _send(environment, method, path, body, headers)
    with psycopg.connect(database_url, autocommit=True) as connection:
        for number in range(VERSIONS_AN_ENVIRONMENT + 2):
            connection.execute(
                "INSERT INTO serving (variant, version, share) SELECT %s, max(number), 0 FROM versions",
                (f"variant-{number}",),
            )
            _send(environment, "GET", f"/v1/popular?variant=variant-{number}")
        connection.execute("DELETE FROM serving WHERE variant <> 'default'")
    environment.stop()
    return sum(1 for _ in _exposed(gateway))


def answer_times(database_url: str, gateway: str, visitors: Sequence[str]) -> tuple[list[float], list[float]]:
    """Seconds of requests to an environment that never pushes, and to one that pushes after each, in turn."""
    silent, pushing = _environment(database_url, None), _environment(database_url, gateway)
    times: dict[Environment, list[float]] = {silent: [], pushing: []}
    for turn in range(TURNS + 1):
        for environment, measured in times.items():
            for number in range(REQUESTS):
                visitor = visitors[(turn * REQUESTS + number) % len(visitors)]
                event = _event("GET", f"/v1/users/{visitor}/recommendations?limit=10")
                started = time.perf_counter()
                environment(event, cast(LambdaContext, None))
                if turn > 0:  # before it everything is connected, prepared and compiled
                    measured.append(time.perf_counter() - started)
    for environment in times:
        environment.stop()
    return times[silent], times[pushing]


def _environment(database_url: str, gateway: str | None) -> Environment:
    return Environment(
        Settings(
            database_url=SecretStr(database_url),
            authorization="none",
            pushgateway_url=gateway,
            push_interval_seconds=0,
            # A machine that is busy may be slow once: then it is the figures that should tell.
            push_timeout_ms=10_000,
            database_timeout_ms=10_000,
            events_timeout_ms=10_000,
        )
    )


def _send(
    environment: Environment,
    method: str,
    target: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> None:
    environment(_event(method, target, body, headers), cast(LambdaContext, None))


def _event(
    method: str, target: str, body: Any = None, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    request = HttpRequest(
        method=method,
        target=target,
        headers=[("Host", "api.test"), *(headers or {}).items()],
        body=b"" if body is None else json.dumps(body).encode(),
        protocol="HTTP/1.1",
        client="127.0.0.1",
        port=443,
    )
    return proxy_event(request, request_id="benchmark")


def _exposed(gateway: str) -> Iterator[dict[str, str]]:
    """Labels of each sample that some environment pushed, and of those that the gateway adds to it."""
    connection = http.client.HTTPConnection(urlsplit(gateway).netloc, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    for family in text_string_to_metric_families(text):
        yield from (sample.labels for sample in family.samples if sample.labels.get("instance"))
