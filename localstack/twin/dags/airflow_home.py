"""Airflow, in its own environment, with a metadata database of its own for each home."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from twin.errors import MissingProgramError, ServerError
from twin.processes import ending_with_parent, stop_group

PROJECT = Path(__file__).parents[3]
PYTHON = PROJECT / "build/airflow/bin/python"
DAGS = PROJECT / "dags"
_RUNNER = Path(__file__).with_name("runner.py")


class RunError(ServerError):
    """A DAG could not be run at all; the message says where the log is."""


@dataclass(frozen=True)
class Task:
    """One task of a run, when it was over."""

    name: str
    state: str
    try_number: int
    seconds: float | None
    """From its start to its end; None where it did not run."""
    result: Any


@dataclass(frozen=True)
class Run:
    """One run of a DAG, when it was over."""

    run_id: str
    state: str
    tasks: tuple[Task, ...]

    @property
    def states(self) -> dict[str, str]:
        """By the tasks' names."""
        return {task.name: task.state for task in self.tasks}

    @property
    def results(self) -> dict[str, Any]:
        """What the tasks returned, by their names."""
        return {task.name: task.result for task in self.tasks if task.result is not None}


def require_airflow() -> None:
    """Raise MissingProgramError where Airflow is not installed."""
    if not PYTHON.exists():
        raise MissingProgramError("Airflow is not installed: `make build/airflow/installed` does it")


class Airflow:
    """A home of Airflow: its database, its logs, and how tasks see the world."""

    def __init__(
        self,
        home: Path,
        *,
        deployment: Path,
        environment: Mapping[str, str],
        code: Sequence[Path] = (DAGS, PROJECT),
    ) -> None:
        """`deployment` holds `deployment.json`; `environment` leads AWS clients to what runs here.

        Of the folders of `code` the first one has the DAGs.
        """
        self.home = home
        self.dags = code[0]
        home.mkdir(parents=True, exist_ok=True)
        self.log = home / "airflow.log"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW"))},
            **environment,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.database}",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "PATH": os.pathsep.join([str(PYTHON.parent), os.environ.get("PATH", os.defpath)]),
            # On MWAA, too, the folder of the DAGs is on the path, and ours lie in it.
            "PYTHONPATH": os.pathsep.join(map(str, code)),
            "SHOP_DEPLOYMENT": str(deployment),
            "SHOP_RETRY_SECONDS": "1",
            "SHOP_CHECK_SECONDS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "GIT_PYTHON_REFRESH": "quiet",
        }

    @property
    def database(self) -> Path:
        """Where Airflow keeps its runs."""
        return self.home / "airflow.db"

    def migrate(self, like: Path | None = None) -> None:
        """Make the database, or copy one that was made before. Raises RunError."""
        if like is not None:
            shutil.copyfile(like, self.database)
            return
        with self.log.open("ab") as log:
            done = subprocess.run(
                [PYTHON, "-m", "airflow", "db", "migrate"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode != 0:
            raise RunError(f"Airflow's database could not be made; its log is {self.log}")

    def run(
        self,
        dag: str,
        conf: Mapping[str, Any] | None = None,
        *,
        run_after: str | None = None,
        again: bool = False,
        on_task: Callable[[str, str], object] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Run:
        """Run a DAG once, in this moment, and with `again` each of its tasks a second time afterwards.

        `on_task` hears each task's name and state as it ends. Raises RunError where the run could not be
        made.
        """
        asked = {
            "dag": dag,
            "file": str(self.dags / f"{dag}.py"),
            "conf": dict(conf or {}),
            "run_after": run_after,
            "again": again,
        }
        process = self.start(asked, environment=environment)
        watcher = _Watcher(self.database, on_task) if on_task else None
        try:
            answer, _ = process.communicate()
        finally:
            stop_group(process.pid, signal.SIGTERM, lambda: process.poll() is not None, timeout=10)
            if watcher:
                watcher.stop()
        if process.returncode != 0:
            raise RunError(
                f"the DAG {dag} could not be run; its log is {self.log}, which ends: {self._tail()}"
            )
        return _run(json.loads(answer))

    def start(
        self, asked: Mapping[str, Any], *, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """The process that runs what the runner is asked for; it leads a group of its own."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*ending_with_parent(signal.SIGKILL), PYTHON, _RUNNER],
                env={**self.environment, **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        process.stdin.write(json.dumps(asked).encode())
        process.stdin.close()
        process.stdin = None
        return process

    def _tail(self) -> str:
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-5:])


class _Watcher:
    """Reads how tasks stand from Airflow's database, because nothing else tells while they run."""

    def __init__(self, database: Path, on_task: Callable[[str, str], object]) -> None:
        self._database, self._on_task = database, on_task
        self._known = set(self._ended())
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Tell the last of it."""
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            is_last = self._is_over.wait(0.3)
            for run, name, state in self._ended():
                if (run, name, state) not in self._known:
                    self._known.add((run, name, state))
                    self._on_task(name, state)
            if is_last:
                return

    def _ended(self) -> list[tuple[str, str, str]]:
        ended = "'success', 'failed', 'skipped', 'upstream_failed'"
        query = f"SELECT run_id, task_id, state FROM task_instance WHERE state IN ({ended}) ORDER BY end_date"  # noqa: S608
        deadline = time.monotonic() + 60
        while True:
            try:
                with sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=10) as connection:
                    return connection.execute(query).fetchall()
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def _run(told: Mapping[str, Any]) -> Run:
    return Run(told["run_id"], told["state"], tuple(_task(task) for task in told["tasks"]))


def _task(told: Mapping[str, Any]) -> Task:
    seconds = None
    if told["started"] and told["ended"]:
        took = datetime.fromisoformat(told["ended"]) - datetime.fromisoformat(told["started"])
        seconds = round(took.total_seconds(), 3)
    return Task(told["name"], told["state"], told["try_number"], seconds, told["result"])
