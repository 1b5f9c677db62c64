"""The demo as a user runs it, on a small shop, on real events, and when things go wrong."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from twin.monitoring import PUSHGATEWAY, find_program

from tests.real_events import RETAILROCKET, needs_retailrocket
from training.generate_shop import generate_shop
from training.shop.simulation import ShopSettings

ROOT = Path(__file__).parents[2]
DEMO = (sys.executable, "-m", "twin.demo")
TIMEOUT = 900


class Run:
    """One demo, and a record of every process that descends from it."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [*DEMO, "--folder", str(folder), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
        self.descendants = {self.process.pid: ""}
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()

    def finish(self) -> subprocess.CompletedProcess[str]:
        """Wait for its end, and for what it says until then."""
        try:
            stdout, stderr = self.process.communicate(timeout=TIMEOUT)
        finally:
            self.process.kill()
            self._watcher.join()
        return subprocess.CompletedProcess(DEMO, self.process.returncode, stdout, stderr)

    def left_running(self) -> dict[int, str]:
        """Of all that ever descended from it, what runs still."""
        alive = {pid: command for pid, _, state, command in processes() if state[0] != "Z"}
        return {pid: command for pid, command in self.descendants.items() if alive.get(pid) == command}

    def _watch(self) -> None:
        while self.process.poll() is None:
            for pid, parent, _, command in processes():
                if pid in self.descendants or parent in self.descendants:
                    self.descendants[pid] = command
            time.sleep(0.1)


def processes() -> list[tuple[int, int, str, str]]:
    """(pid, parent's pid, state, command line) of all processes."""
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,state=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 3) for line in listed.stdout.splitlines()]
    return [(int(row[0]), int(row[1]), row[2], row[3] if len(row) > 3 else "") for row in rows]


def demo(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A demo from its beginning to its end, after which nothing of it may run."""
    run = Run(*arguments, folder=folder)
    done = run.finish()
    assert run.left_running() == {}
    return done


@pytest.fixture(scope="module")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("shop") / "events.csv"
    generate_shop(ShopSettings(users=300, items=120, days=40, seed=3), file)
    return file


def check_summary(summary: dict[str, Any]) -> None:
    """What every finished demo must be able to say."""
    assert summary["events"] > 0
    assert summary["rejected_events"] == 0
    assert 0 < summary["loaded_users"] <= summary["users"]
    assert summary["mlflow"]["run_id"]
    for protocol in ("batch", "session"):
        served = summary["evaluation"][protocol]["served"]
        assert served["users"] == summary["evaluation"][protocol]["popular"]["users"] > 0
        assert 0 <= served["precision@10"] <= 1
    ranking = summary["ranking"]
    assert ranking["ranker"] in {"boosted", "linear", "prior"}
    assert ranking["ndcg@10"].get(ranking["ranker"]) == max(ranking["ndcg@10"].values(), default=None)
    assert summary["exported_events"] > 0
    assert summary["requests"]["total"] > 200
    assert summary["requests"]["errors"] == 0
    assert {"personalized", "session", "similar", "popular"} <= summary["requests"]["by_source"].keys()
    if find_program(PUSHGATEWAY):
        assert summary["pushed_metrics"]["shop_api_requests_total"] == summary["requests"]["total"]
        assert summary["pushed_metrics"]["shop_training_events"] == summary["events"]


def test_a_small_shop_from_end_to_end(small_shop: Path, tmp_path: Path) -> None:
    done = demo("--events", str(small_shop), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "demo: ok"
    assert done.stderr == ""
    assert "<h1>" in (tmp_path / "model-report.html").read_text()
    summary = json.loads((tmp_path / "summary.json").read_text())
    check_summary(summary)
    session = summary["evaluation"]["session"]
    assert session["served"]["recall@10"] > 2 * session["popular"]["recall@10"]


@needs_retailrocket
def test_real_events_from_end_to_end(tmp_path: Path) -> None:
    done = demo("--events", str(RETAILROCKET), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    check_summary(summary)
    assert summary["events"] == 97_381
    batch, session = summary["evaluation"]["batch"], summary["evaluation"]["session"]
    assert batch["served"]["recall@10"] >= 1.5 * batch["popular"]["recall@10"]
    assert session["served"]["recall@10"] >= 10 * session["popular"]["recall@10"]


@pytest.fixture(scope="module")
def kept(small_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A demo that was left running."""
    folder = tmp_path_factory.mktemp("kept")
    run = Run("--events", str(small_shop), "--keep", folder=folder)
    done = run.finish()
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1] == "demo: ok"
        yield json.loads((folder / "summary.json").read_text())
    finally:
        stopped = subprocess.run(
            [sys.executable, "-m", "twin.keeper", str(folder)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert stopped.stdout == "demo: stopped\n", stopped.stderr
    assert len(run.descendants) > 5
    assert run.left_running() == {}


def test_a_kept_demo_answers_after_the_command_has_returned(kept: dict[str, Any]) -> None:
    urls = kept["urls"]
    for url in (
        f"{urls['api']}/ready",
        f"{urls['api']}/openapi.json",
        f"{urls['api']}/docs",
        f"{urls['mlflow']}/health",
    ):
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert answer.status == 200
    with urllib.request.urlopen(f"{urls['api']}/v1/popular", timeout=60) as answer:
        assert json.load(answer)["model_version"] == kept["version"]


def test_a_kept_mlflow_tells_which_ranker_serves_and_why(kept: dict[str, Any]) -> None:
    ranking = kept["ranking"]
    run = MlflowClient(kept["urls"]["mlflow"]).get_run(kept["mlflow"]["run_id"]).data
    assert run.tags["ranking.ranker"] == ranking["ranker"]
    assert run.tags["ranking.reason"] == ranking["reason"]
    assert {
        name.removesuffix(".ndcg_at_10").removeprefix("ranking."): value
        for name, value in run.metrics.items()
        if name.startswith("ranking.")
    } == pytest.approx(ranking["ndcg@10"])


def test_a_kept_prometheus_sees_what_was_pushed(kept: dict[str, Any]) -> None:
    if "prometheus" not in kept["urls"]:
        pytest.skip("this machine has no prometheus")
    query = f"{kept['urls']['prometheus']}/api/v1/query?query=sum(shop_api_requests_total)"
    deadline = time.monotonic() + 120
    scraped = -1.0
    while scraped < kept["requests"]["total"]:
        assert time.monotonic() < deadline, f"Prometheus has scraped {scraped:.0f} requests by now"
        time.sleep(1)
        with urllib.request.urlopen(query, timeout=60) as answer:
            scraped = max(
                [float(each["value"][1]) for each in json.load(answer)["data"]["result"]], default=-1
            )


def fails(done: subprocess.CompletedProcess[str], *, step: str, because: Sequence[str]) -> None:
    """One clear line that says which step, why, and where the logs are."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == ""
    failure, logs = done.stdout.splitlines()[-2:]
    assert failure.startswith(f"demo: failed at the step '{step}': ")
    assert logs.startswith("demo: logs are in ")
    for words in because:
        assert words in failure


def test_a_file_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    file = tmp_path / "no-events.csv"
    file.write_text("user_id,item_id\nu,i\n")
    fails(
        demo("--events", str(file), folder=tmp_path / "demo"),
        step="import",
        because=["no-events.csv", "--column"],
    )


@pytest.mark.slow
def test_events_that_nothing_can_be_learnt_from_are_told(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text("user_id,item_id,event_type,timestamp\n" + "u,i,view,1750000000\n")
    done = demo("--events", str(file), folder=tmp_path / "demo")
    fails(done, step="import", because=["no cart and no purchase", "--event-type"])


def test_a_port_in_use_is_named(kept: dict[str, Any], small_shop: Path, tmp_path: Path) -> None:
    port = kept["urls"]["api"].rsplit(":", 1)[1]
    done = demo("--events", str(small_shop), "--port", port, folder=tmp_path)
    fails(done, step="start", because=[f"port {port} is in use"])


@pytest.mark.parametrize("step", ["Starting", "Training"])
def test_ctrl_c_leaves_nothing_running(small_shop: Path, tmp_path: Path, step: str) -> None:
    run = Run("--events", str(small_shop), folder=tmp_path)
    assert run.process.stdout is not None
    for line in run.process.stdout:
        if line.startswith(step):
            break
    time.sleep(1)  # so that it is in the middle of the step
    os.killpg(run.process.pid, signal.SIGINT)
    done = run.finish()
    assert done.returncode == 130, done.stdout + done.stderr
    assert "interrupted" in done.stdout
    assert done.stderr == ""
    assert len(run.descendants) > 1
    assert run.left_running() == {}
