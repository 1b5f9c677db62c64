"""`make dags-up`: all of Airflow, and a retrain that its own scheduler runs."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twin.dags.airflow_home import PYTHON
from twin.dags.airflow_server import AirflowServer

from tests.dags.conftest import SETTINGS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON.exists(), reason="Airflow is not installed: `make build/airflow/installed`"
    ),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="it asks Linux who runs"),
]
RUNS = "/dags/retrain/dagRuns"


class Commands:
    """`python -m twin.dags …` with a folder and temporary files of their own."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.folder = folder
        self.temporary = temporary

    def run(self, command: str) -> str:
        """What it said; it has to succeed."""
        ended = subprocess.run(
            [sys.executable, "-m", "twin.dags", command, "--folder", self.folder, "--port", "0"],
            # Airflow's processes call themselves something: it must not be written over what they were given.
            env={**os.environ, "TMPDIR": str(self.temporary), "SPT_NOENV": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    def processes(self) -> dict[int, str]:
        """Those whose temporary files are of these commands, whoever started them: what they run."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            # Others end while they are looked at, or are somebody else's.
            with contextlib.suppress(OSError):
                if os.fsencode(self.temporary) in (process / "environ").read_bytes():
                    found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        return found


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with tempfile.TemporaryDirectory(prefix="dags-") as temporary:
        # Postgres, which runs as somebody else where root starts it, keeps its data there.
        Path(temporary).chmod(0o1777)
        commands = Commands(tmp_path_factory.mktemp("dags"), Path(temporary))
        yield commands
        commands.run("down")


def until(is_so: Callable[[], object], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)


def listening(pids: set[int]) -> set[str]:
    """The addresses where any of the processes listens, as Linux writes them."""
    sockets = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets |= set(re.findall(r"socket:\[(\d+)\]", str(link.readlink())))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *more = line.split()
            if state == "0A" and more[5] in sockets:
                found.add(local.partition(":")[0])
    return found


@pytest.fixture(scope="module")
def airflow(commands: Commands) -> AirflowServer:
    (url,) = set(re.findall(r"Airflow: (http://127\.0\.0\.1:\d+),", commands.run("up")))
    return AirflowServer(url, [])


def state(airflow: AirflowServer, run: str) -> str:
    return str(airflow.get(f"{RUNS}/{run}")["state"])


def tasks(airflow: AirflowServer, run: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = airflow.get(f"{RUNS}/{run}/taskInstances")["task_instances"]
    return found


def test_every_part_is_up_and_on_loopback_alone(commands: Commands, airflow: AirflowServer) -> None:
    assert airflow.is_healthy()
    running = commands.processes()
    for part in ("api", "scheduler", "triggerer", "dag-processor"):
        assert any("airflow" in command and part in command for command in running.values()), running
    assert listening(set(running)) == {"0100007F"}  # 127.0.0.1


def test_a_scheduled_retrain_waits_outside_of_the_worker_and_another_one_waits_for_it(
    airflow: AirflowServer,
) -> None:
    settings = {**SETTINGS, "watch_minutes": 0.1}
    first, second = airflow.trigger("retrain", settings), airflow.trigger("retrain", settings)
    seen: dict[str, set[str]] = defaultdict(set)
    cleared: list[Any] = []

    def has_ended() -> bool:
        """Whether the first run has; while it trains the task is cleared, as by a person."""
        for task in tasks(airflow, first):
            seen[task["task_id"]].add(task["state"])
        if "deferred" in seen["train"] and not cleared:
            asked = {"dag_run_id": first, "task_ids": ["train"], "only_failed": False, "dry_run": False}
            cleared.append(
                airflow.post("/dags/retrain/clearTaskInstances", {**asked, "reset_dag_runs": False})
            )
        other = state(airflow, second)
        if state(airflow, first) in ("success", "failed"):
            return True
        seen["another run"].add(other)
        return False

    until(has_ended, seconds=1200)
    assert state(airflow, first) == "success"
    # The triggerer has taken both over, and given them back.
    assert {"deferred", "success"} <= seen["train"] & seen["watch"]
    assert seen["another run"] == {"queued"}
    tries = {task["task_id"]: task["try_number"] for task in tasks(airflow, first)}
    assert tries == {**dict.fromkeys(tries, 1), "train": 2}
    trained = airflow.get(f"{RUNS}/{first}/taskInstances/train/xcomEntries/return_value")["value"]
    # A second job would bear a number.
    assert re.fullmatch(r"shop-local-\w+Z-[0-9a-f]{8}", trained["job"])
    until(lambda: state(airflow, second) == "running", seconds=120)


def test_stopping_leaves_nothing_though_a_run_is_on_its_way(commands: Commands) -> None:
    assert commands.processes()
    commands.run("down")
    until(lambda: not commands.processes(), seconds=30)
    assert list(commands.temporary.iterdir()) == []
