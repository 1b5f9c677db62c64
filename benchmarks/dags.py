"""The retrain in Airflow: what it takes beside its tasks' own work, and how long a rollback itself takes."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from twin.dags.airflow_home import Airflow, Run, require_airflow
from twin.dags.shop import open_shop, running_servers
from twin.errors import MissingProgramError
from twin.s3 import aws_environment

from benchmarks.bars import Bar, write
from training.errors import UserError
from training.generate_shop import generate_shop
from training.import_events import import_events
from training.shop.simulation import ShopSettings

SHOP: Final = ShopSettings(users=600, items=200, days=40, seed=7)
CONF: Final[dict[str, Any]] = {"as_of": "2026-01-01T00:00:00Z", "watch_minutes": 0, "allow_empty_days": True}
SMALL: Final = {"als_factors": 8, "als_iterations": 3, "evaluation_days": 5, "evaluation_windows": 1}
MOST_OVERHEAD_SECONDS: Final = 60.0
MOST_ROLLBACK_SECONDS: Final = 1.0


class RunFailedError(UserError):
    """A DAG did not succeed, so that there is nothing to measure."""


def run() -> list[Bar]:
    """Run the retrain twice, then the rollback."""
    try:
        require_airflow()
    except MissingProgramError as error:
        raise RunFailedError(str(error)) from error
    with tempfile.TemporaryDirectory(prefix="benchmark-dags-") as temporary:
        folder = Path(temporary)
        with (
            running_servers(folder) as servers,
            open_shop(servers, folder / "shop", now=CONF["as_of"]) as shop,
        ):
            os.environ.update(aws_environment(servers.aws_endpoint))
            generate_shop(SHOP, folder / "events.parquet")
            import_events([folder / "events.parquet"], shop.events_uri)
            airflow = Airflow(folder / "airflow", deployment=shop.folder, environment=shop.environment)
            airflow.migrate()
            started = time.perf_counter()
            first = _succeeded(airflow.run("retrain", {**CONF, "hyperparameters": SMALL}))
            seconds = time.perf_counter() - started
            _succeeded(airflow.run("retrain", {**CONF, "hyperparameters": {**SMALL, "seed": 1}}))
            back = _succeeded(airflow.run("rollback"))
    own = sum(result.get("seconds", 0.0) for result in first.results.values() if isinstance(result, dict))
    bars = [
        Bar("dag_overhead_seconds", seconds - own, MOST_OVERHEAD_SECONDS, "lower"),
        Bar("rollback_seconds", back.results["move_back"]["seconds"], MOST_ROLLBACK_SECONDS, "lower"),
    ]
    tasks = {task.name: task.seconds for task in first.tasks}
    write("dags", bars, {"retrain_seconds": seconds, "tasks_own_seconds": own, "tasks": tasks})
    return bars


def _succeeded(done: Run) -> Run:
    if done.state != "success":
        failed = ", ".join(task.name for task in done.tasks if task.state == "failed")
        raise RunFailedError(f"the run {done.run_id} is {done.state}: {failed}")
    return done
