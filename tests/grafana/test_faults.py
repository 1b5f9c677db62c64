"""Real faults: for each of them the panel and the alert that show it, by the rules as they are, but every second.

Alerts are looked for while they are pending, when what they ask for is there; that they fire once it lasts is
tested with the rules. Windows that reach back for an hour and more are filled by blocks of the past.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tasks.run_metrics import RunFigures, push
from twin.monitoring import PROMETHEUS, PUSHGATEWAY, find_program, running_prometheus, running_pushgateway

from contract.gate import Outcome
from contract.metrics import TRAINING_GATE_OUTCOME
from grafana.described import Panel, ask, boards, panels
from grafana.queries import Prometheus
from lambdas.housekeeping.run import Run
from lambdas.housekeeping.settings import Settings
from tests.grafana.conftest import VARIABLES, wait_until_known
from tests.lambdas.conftest import environments
from tests.lambdas.own_postgres import OwnPostgres, own_postgres
from tests.lambdas.versions import NOW, load_first, load_version
from training.metrics import push_gauges
from training.train import GATE_PUSH_JOB

PANELS: dict[str, Panel] = {panel.title: panel for board in boards().values() for panel in panels(board)}


class Watched:
    """A gateway, and a Prometheus that scrapes it every second."""

    def __init__(self, gateway_url: str, prometheus_url: str, kill_gateway: Callable[[], Any]) -> None:
        self.gateway_url = gateway_url
        self.prometheus = Prometheus(prometheus_url, VARIABLES)
        self.kill_gateway = kill_gateway

    def housekeep(self, database: str) -> None:
        Run(
            Settings(
                database_url=SecretStr(database),
                as_of=NOW,
                pushgateway_url=self.gateway_url,
                connect_timeout_seconds=2,
                gateway_timeout_seconds=10,
            )
        )()

    def shown(self, title: str) -> dict[str, float]:
        """What a panel shows by now."""
        now = time.time()
        answered = ask(self.prometheus, PANELS[title], now - 5, now)
        return {each.name: each.latest for each in answered.series}

    def wait_for_alert(self, name: str) -> None:
        wait_until_known(self.prometheus, f'count(ALERTS{{alertname="{name}"}})', 1)

    def alerts(self) -> set[str]:
        found = self.prometheus.at('ALERTS{alertname!="Watchdog"}', "{{alertname}}", time.time())
        return {each.name for each in found}


@pytest.fixture
def watch(tmp_path: Path, logs: Path) -> Iterator[Watched]:
    if find_program(PROMETHEUS) is None or find_program(PUSHGATEWAY) is None:
        pytest.skip("this machine has no prometheus, or no prometheus-pushgateway")
    past = tmp_path / "prometheus/data"
    past.mkdir(parents=True)
    backfill(past, tmp_path / "past.txt")
    with contextlib.ExitStack() as gateway, contextlib.ExitStack() as stack:
        gateway_url = gateway.enter_context(running_pushgateway(log=logs / "pushgateway-of-faults.log"))
        prometheus_url = stack.enter_context(
            running_prometheus(
                pushgateway_url=gateway_url,
                folder=tmp_path / "prometheus",
                log=logs / "prometheus-of-faults.log",
                interval="1s",
            )
        )
        yield Watched(gateway_url, prometheus_url, gateway.close)


def backfill(folder: Path, text: Path) -> None:
    """Two hours in which four of ten answers were popular, as the rules would have recorded them."""
    now = int(time.time())
    lines = ["# TYPE slo:sli_error:ratio_rate1d gauge"]
    lines += [
        f'slo:sli_error:ratio_rate1d{{stage="local",slo="personal"}} 0.4 {moment}'
        for moment in range(now - 7200, now - 1800, 30)
    ]
    text.write_text("\n".join([*lines, "# EOF", ""]))
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", text, folder],
        capture_output=True,
        check=True,
    )


@pytest.fixture
def postgres(logs: Path) -> Iterator[OwnPostgres]:
    with own_postgres(logs / "postgres-of-faults.log") as server:
        yield server


def serve(watch: Watched, database: str, stack: contextlib.ExitStack) -> Callable[[int], set[str]]:
    """Asks the real API for the recommendations of so many visitors; tells the sources of its answers."""
    make = stack.enter_context(environments(database))
    api = make(pushgateway_url=watch.gateway_url, push_interval_seconds=0, push_timeout_ms=5000)
    api.get("/health")
    # Rates count from the zeros that were pushed first.
    wait_until_known(watch.prometheus, "count(shop_api_degraded_total)", 1)

    def ask_for(visitors: int) -> set[str]:
        answers = [api.recommendations("known" if n % 2 else f"visitor-{n}") for n in range(visitors)]
        assert {answer.status for answer in answers} == {200}
        return {answer.document["source"] for answer in answers}

    return ask_for


def test_postgres_stopped(watch: Watched, postgres: OwnPostgres) -> None:
    database = postgres.make_database("faults")
    load_first(database)
    with contextlib.ExitStack() as stack:
        ask_for = serve(watch, database, stack)
        watch.housekeep(database)
        assert ask_for(4) == {"personalized", "popular"}
        wait_until_known(watch.prometheus, "sum(rate(shop_api_recommendations_total[10s]))", 0.1)
        assert watch.shown("Postgres answers") == {"reachable": 1}
        assert watch.shown("Degraded answers") == {"degraded": 0}
        assert not {"DatabaseUnreachable", "DegradedBurnsFast"} & watch.alerts()
        postgres.stop()
        assert ask_for(40) == {"popular"}
        watch.housekeep(database)
        watch.wait_for_alert("DatabaseUnreachable")
        watch.wait_for_alert("DegradedBurnsFast")
        assert watch.shown("Postgres answers") == {"reachable": 0}
        assert watch.shown("Degraded answers")["degraded"] > 0


def test_an_old_version(watch: Watched, database: str) -> None:
    load_version(database, "old", as_of=(NOW - timedelta(days=5)).isoformat())
    watch.housekeep(database)
    watch.wait_for_alert("ModelOld")
    assert watch.shown("Age of the version") == {"age": pytest.approx(5 * 86400, abs=60)}
    assert watch.shown("Age of versions")["default, answers"] == pytest.approx(5 * 86400, abs=60)


def test_a_gate_that_rejects_and_one_that_breaks_the_retrain(watch: Watched) -> None:
    said = [
        (TRAINING_GATE_OUTCOME, {"outcome": each.value}, float(each is Outcome.REJECTED)) for each in Outcome
    ]
    push_gauges(watch.gateway_url, GATE_PUSH_JOB, said)
    watch.wait_for_alert("TrainingRejected")
    assert list(watch.shown("Gate")) == ["rejected"]
    assert "RetrainFailed" not in watch.alerts()
    figures = RunFigures(
        dag="retrain",
        outcome="failed",
        seconds=600,
        ended_at=time.time(),
        task_seconds={"export_events": 20, "train": 500},
        failed_tasks=frozenset({"train"}),
    )
    push(watch.gateway_url, figures)
    watch.wait_for_alert("RetrainFailed")
    assert watch.shown("Tasks that failed") == {"retrain: export_events": 0, "retrain: train": 1}


def test_the_gateway_killed(watch: Watched, database: str) -> None:
    load_first(database)
    with contextlib.ExitStack() as stack:
        ask_for = serve(watch, database, stack)
        ask_for(4)
        wait_until_known(watch.prometheus, "stage:push_groups:count", 1)
        assert "TargetDown" not in watch.alerts()
        watch.kill_gateway()
        # Nobody waits for it longer than its time-out.
        assert ask_for(4) == {"personalized", "popular"}
        watch.wait_for_alert("TargetDown")
        assert watch.shown("Alerts that fire") == {"alerts": 0}, "it is pending"


def test_everybody_falls_back_to_popular(watch: Watched, database: str) -> None:
    # Lists of users are missing, as after a load that went wrong, or where the shop spells ids in another way.
    load_version(database, "without-users")
    with contextlib.ExitStack() as stack:
        ask_for = serve(watch, database, stack)
        assert ask_for(120) == {"popular"}
        watch.wait_for_alert("EverybodyGetsPopular")
        wait_until_known(watch.prometheus, 'slo:sli_error:ratio_rate1d{slo="personal"}', 1)
        assert watch.shown("Visitors' own recommendations") == {"own": 0}
        by_source = watch.shown("Answers by source")
        assert by_source["popular"] > 0
        assert by_source["personalized"] == by_source["session"] == 0
