"""A real Prometheus that scrapes a real gateway with every metric, once a session."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from twin.monitoring import (
    PROMETHEUS,
    PUSHGATEWAY,
    find_program,
    running_prometheus,
    running_pushgateway,
)

from grafana.described import Answered
from grafana.draw import draw
from grafana.queries import Prometheus
from tests.grafana.pushed import Pushes

DEADLINE_SECONDS = 120
VARIABLES = {
    "stage": "local",
    "variant": ".+",
    "window": "1d",
    "__rate_interval": "10s",
    "datasource": "prometheus",
}


class Live(NamedTuple):
    """What was drawn while everything was pushed."""

    url: str
    folder: Path
    answered: list[Answered]
    pushed_at: float
    """What pushed timestamps were set to, in seconds since 1970 UTC."""


@pytest.fixture(scope="session")
def live(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    missing = [names[0] for names in (PROMETHEUS, PUSHGATEWAY) if find_program(names) is None]
    if missing:
        pytest.skip(f"this machine has no {' and no '.join(missing)}")
    folder = tmp_path_factory.mktemp("dashboards")
    start = time.time()
    with (
        running_pushgateway(log=logs / "pushgateway-of-dashboards.log") as gateway_url,
        running_prometheus(
            pushgateway_url=gateway_url,
            folder=tmp_path_factory.mktemp("prometheus"),
            log=logs / "prometheus-of-dashboards.log",
            interval="1s",
        ) as url,
    ):
        prometheus, pushes = Prometheus(url, VARIABLES), Pushes(gateway_url, start)
        for step in range(5):
            # The first push is zeros, which the first rate counts from.
            pushes.push(min(step, 1))
            wait_until_known(prometheus, "sum(shop_api_cold_starts_total)", 20 * step)
        # The last of the rules, which go by those before them.
        wait_until_known(prometheus, "count(shop:answer_rate:high)", 1)
        wait_until_known(prometheus, "count(slo:error_budget_left:ratio)", 1)
        answered = draw(url, folder, start - 60, time.time(), rate_interval="10s")
        yield Live(url, folder, answered, start)


def wait_until_known(prometheus: Prometheus, expr: str, value: float) -> None:
    """Wait for a query to yield at least this much: for a scrape, or an evaluation of rules."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        found = prometheus.at(expr, expr, time.time())
        if found and found[0].latest >= value:
            return
        assert time.monotonic() < deadline, f"{expr} is {found}, not {value}, after {DEADLINE_SECONDS} s"
        time.sleep(0.05)
