"""The demo as a user runs it, on a small shop, on real events, and when things go wrong."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from twin.monitoring import PUSHGATEWAY, find_program

from tests.real_events import RETAILROCKET, needs_retailrocket
from training.generate_shop import generate_shop
from training.shop import ShopSettings

ROOT = Path(__file__).parents[2]
DEMO = (sys.executable, "-m", "twin.demo")
TIMEOUT = 900


def demo(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, "--folder", str(folder), *arguments],
        capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd=ROOT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("shop") / "events.csv"
    generate_shop(ShopSettings(users=300, items=120, days=40, seed=3), file)
    return file


def left_running(folder: Path) -> list[str]:
    """Command lines of processes that name the demo's folder or its servers' temporary ones."""
    found = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if str(folder) in line and "ps -eo" not in line]


def servers() -> set[str]:
    """Listening servers of the kinds that the demo starts, by process id."""
    found = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    words = (
        "moto.server",
        "mlflow server",
        "mlflow.server",
        "uvicorn",
        "awslambdaric",
        "bin/postgres",
        "pushgateway",
    )
    return {line.split()[0] for line in found.splitlines() if any(word in line for word in words)}


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
    assert summary["requests"]["total"] > 200
    assert summary["requests"]["errors"] == 0
    assert {"personalized", "session", "similar", "popular"} <= summary["requests"]["by_source"].keys()
    if find_program(PUSHGATEWAY):
        assert summary["pushed_metrics"]["shop_api_requests_total"] == summary["requests"]["total"]
        assert summary["pushed_metrics"]["shop_training_events"] == summary["events"]


def test_a_small_shop_from_end_to_end(small_shop: Path, tmp_path: Path) -> None:
    before = servers()
    done = demo("--events", str(small_shop), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "demo: ok"
    assert done.stderr == ""
    summary = json.loads((tmp_path / "summary.json").read_text())
    check_summary(summary)
    session = summary["evaluation"]["session"]
    assert session["served"]["recall@10"] > 2 * session["popular"]["recall@10"]
    assert servers() - before == set()
    assert left_running(tmp_path) == []


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
    before = servers()
    done = demo("--events", str(small_shop), "--keep", folder=folder)
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
    assert servers() - before == set()


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
    before = servers()
    file = tmp_path / "no-events.csv"
    file.write_text("user_id,item_id\nu,i\n")
    fails(
        demo("--events", str(file), folder=tmp_path / "demo"),
        step="import",
        because=["no-events.csv", "--column"],
    )
    assert servers() - before == set()


def test_a_training_that_fails_shows_its_own_reason(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text("user_id,item_id,event_type,timestamp\n" + "u,i,view,1750000000\n")
    done = demo("--events", str(file), folder=tmp_path / "demo")
    fails(done, step="train", because=["no cart and no purchase"])


def test_a_port_in_use_is_named(kept: dict[str, Any], small_shop: Path, tmp_path: Path) -> None:
    port = kept["urls"]["api"].rsplit(":", 1)[1]
    done = demo("--events", str(small_shop), "--port", port, folder=tmp_path)
    fails(done, step="start", because=[f"port {port} is in use"])


@pytest.mark.parametrize("step", ["Starting", "Training"])
def test_ctrl_c_leaves_nothing_running(small_shop: Path, tmp_path: Path, step: str) -> None:
    before = servers()
    with subprocess.Popen(
        [*DEMO, "--folder", str(tmp_path), "--events", str(small_shop)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(step):
                break
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 130, rest
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert servers() - before == set()
    assert left_running(tmp_path) == []
