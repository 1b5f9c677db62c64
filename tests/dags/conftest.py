"""One retrain a session, in Airflow and with all that its tasks reach."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from twin.dags.airflow_home import PROJECT, PYTHON, Airflow, Run
from twin.dags.shop import Servers, Shop, open_shop, running_servers
from twin.dags.traffic import calling, visit
from twin.s3 import aws_environment

from infra.constructs.dag_files import FOLDER, imported_files

# Templates, for what Airflow may do there.
from tests.infra.conftest import stages_folder, templates  # noqa: F401
from training.generate_shop import generate_shop
from training.import_events import import_events
from training.moments import parse_moment
from training.shop.simulation import ShopSettings

VISITORS = 40
AS_OF = "2026-01-01T00:00:00Z"
"""The moment that the happy run takes for now: so that it comes to the same every day."""
SETTINGS: dict[str, Any] = {
    "watch_minutes": 0,
    # However busy the machine is.
    "max_canary_seconds": 60,
    "hyperparameters": {
        "als_factors": 8,
        "als_iterations": 3,
        "evaluation_days": 5,
        "evaluation_windows": 1,
    },
}
"""What a run is told: to be quick."""


@dataclass(frozen=True)
class HappyRun:
    """A retrain that went well, from a shop's history and new visits to a version that is live."""

    shop: Shop
    airflow: Airflow
    run: Run
    told: list[dict[str, str]]
    """What people were told."""
    requests: Path
    """Each request to AWS, as moto's recorder writes it."""
    posted: int
    """Events that visitors posted before."""


@pytest.fixture(scope="session")
def deployed_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Airflow has in `/usr/local/airflow/dags`, but for the documents that say where everything is."""
    folder: Path = tmp_path_factory.mktemp("deployed") / FOLDER
    caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / FOLDER, folder, ignore=caches)
    for path in imported_files():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if (PROJECT / path).is_dir():
            shutil.copytree(PROJECT / path, target, ignore=caches)
        else:
            shutil.copyfile(PROJECT / path, target)
    return folder


@pytest.fixture(scope="session")
def requests_to_aws(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that takes each request to AWS."""
    return tmp_path_factory.mktemp("aws") / "requests.json"


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory, requests_to_aws: Path) -> Iterator[Servers]:
    """All that tasks reach, for as many shops as tests need."""
    if not PYTHON.exists():
        pytest.skip("Airflow is not installed: `make build/airflow/installed` does it")
    with running_servers(tmp_path_factory.mktemp("servers"), requests=requests_to_aws) as running:
        yield running


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The events and the catalogue of a small shop, until AS_OF."""
    folder = tmp_path_factory.mktemp("history")
    events, items = folder / "events.parquet", folder / "items.parquet"
    settings = ShopSettings(users=400, items=120, days=40, seed=7, end_ms=parse_moment(AS_OF))
    generate_shop(settings, events, catalogue=items)
    return events, items


@pytest.fixture(scope="session")
def happy_run(
    servers: Servers,
    history: tuple[Path, Path],
    deployed_code: Path,
    requests_to_aws: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[HappyRun]:
    """The first retrain of a shop, with the files that a deployment brings to Airflow and no other."""
    folder = tmp_path_factory.mktemp("happy")
    events, items = history
    with open_shop(servers, folder, name="happy", now=AS_OF) as shop:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in aws_environment(servers.aws_endpoint).items():
                patch.setenv(name, value)
            import_events([str(events)], shop.events_uri, catalogue=[items])
        with calling(shop) as client:
            posted = visit(client, [f"visitor-{number}" for number in range(VISITORS)], ["item-1", "item-2"])
        airflow = Airflow(
            folder / "airflow", deployment=shop.folder, environment=shop.environment, code=[deployed_code]
        )
        airflow.migrate()
        run = airflow.run("retrain", {**SETTINGS, "as_of": AS_OF})
        yield HappyRun(shop, airflow, run, shop.told(), requests_to_aws, posted)
