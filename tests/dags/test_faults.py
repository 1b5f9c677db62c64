"""The retrain where something is in its way, in Airflow, with a quick program in place of the training."""

import contextlib
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from twin.dags.airflow_home import Airflow, Run, require_airflow
from twin.dags.shop import Servers, Shop, open_shop, running_servers
from twin.dags.traffic import calling
from twin.errors import MissingProgramError
from twin.monitoring import running_prometheus
from twin.sagemaker.settings import TrainingSettings

from tests.training.posted import ENSURE_TODAY, exported, post
from training.generate_shop import generate_shop
from training.import_events import import_events
from training.shop.simulation import ShopSettings
from training.storage import Folder

ROOT = Path(__file__).parents[2]
SETTINGS = TrainingSettings(program=(sys.executable, "-m", "tests.dags.quick_training"), stop_seconds=0)
AS_OF = "2026-01-01T00:00:00Z"
CONF = {"as_of": AS_OF, "watch_minutes": 0, "allow_empty_days": True, "max_canary_seconds": 60}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    try:
        require_airflow()
    except MissingProgramError as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        # Jobs are started by the server, and find the quick program by this.
        patch.setenv("PYTHONPATH", str(ROOT))
        with running_servers(tmp_path_factory.mktemp("servers"), training=SETTINGS) as servers:
            yield servers


@pytest.fixture(scope="module")
def metadata(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Airflow's database, empty: made once, and copied."""
    airflow = Airflow(tmp_path_factory.mktemp("airflow"), deployment=Path("/"), environment={})
    airflow.migrate()
    return airflow.database


@pytest.fixture
def shop(servers: Servers, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A shop with a history, two posted events, and nothing that is live."""
    name = f"s{abs(hash(request.node.name)) % 10**8}"
    with open_shop(servers, tmp_path / name, name=name, now=AS_OF) as shop:
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in shop.environment.items():
                patch.setenv(variable, value)
            file = tmp_path / "events.parquet"
            generate_shop(ShopSettings(users=100, items=40, days=20), file)
            import_events([file], shop.events_uri, allow_empty_days=True)
        with psycopg.connect(shop.database_url) as connection:
            connection.execute(ENSURE_TODAY)
            post(connection, ["e1", "e2"])
        yield shop


@pytest.fixture
def airflow(shop: Shop, metadata: Path, tmp_path: Path) -> Airflow:
    airflow = Airflow(tmp_path / "airflow", deployment=shop.folder, environment=shop.environment)
    airflow.migrate(like=metadata)
    return airflow


def live(shop: Shop) -> str | None:
    with psycopg.connect(shop.database_url) as connection:
        row = connection.execute(
            "SELECT name FROM serving JOIN versions ON number = version WHERE variant = 'default'"
        ).fetchone()
    return row[0] if row else None


def variants(shop: Shop) -> set[str]:
    with psycopg.connect(shop.database_url) as connection:
        return {row[0] for row in connection.execute("SELECT variant FROM serving")}


def subjects(shop: Shop) -> list[str]:
    return [message["Subject"] for message in shop.told()]


def retrain(
    airflow: Airflow, *, do: str = "publish", version: str = "v1", again: bool = False, **conf: object
) -> Run:
    given = {"do": do, "version": version}
    return airflow.run("retrain", {**CONF, "hyperparameters": given, **conf}, again=again)


def test_where_the_gate_keeps_what_is_live_the_run_is_a_success_that_says_so(
    shop: Shop, airflow: Airflow
) -> None:
    done = retrain(airflow, do="keep")
    assert done.state == "success"
    assert done.states | {"load_canary": "skipped", "go_live": "skipped"} == done.states
    assert done.results["push_metrics"]["outcome"] == "kept"
    (message,) = shop.told()
    assert message["Subject"] == "shop-local retrain: nothing stays live, kept"
    assert "gate: kept: what is served is better" in message["Message"]
    assert live(shop) is None


@pytest.mark.slow
def test_why_a_training_failed_reaches_people_after_every_try(shop: Shop, airflow: Airflow) -> None:
    done = retrain(airflow, do="fail")
    assert (done.state, done.states["train"]) == ("failed", "failed")
    (message,) = shop.told()
    assert message["Subject"] == "shop-local retrain failed at train"
    assert "no add_to_cart and no purchase among 80 events" in message["Message"]
    jobs = shop.client("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    mine = [
        job for job in jobs if done.results["plan"]["request"]["TrainingJobName"] in job["TrainingJobName"]
    ]
    assert {job["TrainingJobStatus"] for job in mine} == {"Failed"}
    assert len(mine) == 3
    assert done.results["push_metrics"]["outcome"] == "failed"


@pytest.mark.slow
def test_a_load_that_dies_half_way_is_tried_again(shop: Shop, airflow: Airflow) -> None:
    with cut_once(shop.database_url) as was_cut:
        done = airflow.run("retrain", {**CONF, "hyperparameters": {"version": "v1", "users": 300_000}})
    assert was_cut.is_set()
    assert done.state == "success"
    assert next(task.try_number for task in done.tasks if task.name == "load_canary") == 2
    assert live(shop) == "v1"


@contextlib.contextmanager
def cut_once(database_url: str) -> Iterator[threading.Event]:
    """Cut the first connection that copies lists in."""
    was_cut, is_over = threading.Event(), threading.Event()

    def cut() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            while not (was_cut.is_set() or is_over.is_set()):
                rows = connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE query LIKE 'COPY \"recommendations%' AND pid <> pg_backend_pid()"
                ).fetchall()
                if rows:
                    was_cut.set()
                time.sleep(0.01)

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        yield was_cut
    finally:
        is_over.set()
        thread.join()


@pytest.mark.slow
def test_a_canary_that_fails_is_dropped_and_what_is_live_stays(shop: Shop, airflow: Airflow) -> None:
    assert retrain(airflow).state == "success"
    done = retrain(airflow, version="v2", max_canary_seconds=1e-9)
    assert (done.state, done.states["try_canary"], done.states["go_live"]) == (
        "failed",
        "failed",
        "upstream_failed",
    )
    assert next(task.try_number for task in done.tasks if task.name == "try_canary") == 1
    assert (live(shop), variants(shop)) == ("v1", {"default"})
    assert subjects(shop)[-1] == "shop-local retrain failed at try_canary"
    with psycopg.connect(shop.database_url) as connection:
        assert connection.execute("SELECT name FROM versions").fetchall() == [("v1",)]


@pytest.mark.slow
def test_a_version_that_serves_worse_is_taken_back_by_itself(
    shop: Shop, airflow: Airflow, tmp_path: Path
) -> None:
    assert retrain(airflow).state == "success"
    with worse_by_the_second(tmp_path / "prometheus") as prometheus_url:
        shop.change(prometheus_url=prometheus_url)
        done = retrain(airflow, version="v2", watch_minutes=0.1, watch_min_requests=1)
    assert (done.state, done.states["go_live"], done.states["watch"]) == ("failed", "success", "failed")
    assert (live(shop), done.states["move_alias"]) == ("v1", "upstream_failed")
    *_, message = shop.told()
    assert message["Subject"] == "shop-local retrain failed at watch"
    assert "went back to v1, because since" in message["Message"]
    assert "the share of errors went from" in message["Message"]


@contextlib.contextmanager
def worse_by_the_second(folder: Path) -> Iterator[str]:
    """A Prometheus that has seen, and will have seen, the share of errors grow all the time."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool on this machine")
    folder.mkdir()
    now, lines = int(time.time()), ["# TYPE shop_api_requests counter"]
    for status in ("2xx", "5xx"):
        total = 0.0
        for second in range(600):
            share = second / 600
            total += 100 * (share if status == "5xx" else 1 - share)
            lines.append(f'shop_api_requests_total{{status="{status}"}} {total:.3f} {now - 60 + second}')
    (folder / "traffic").write_text("\n".join([*lines, "# EOF\n"]))
    subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", folder / "traffic", folder / "data"],
        check=True,
        capture_output=True,
    )
    with running_prometheus(pushgateway_url="http://127.0.0.1:9", folder=folder, log=folder / "log") as url:
        yield url


@pytest.mark.slow
def test_a_second_run_at_once_is_refused(shop: Shop, airflow: Airflow) -> None:
    asked = {
        "dag": "retrain",
        "file": str(ROOT / "dags/retrain.py"),
        "run_after": None,
        "logical_date": AS_OF.replace("Z", "+00:00"),
    }
    first = airflow.start({**asked, "conf": {**CONF, "hyperparameters": {"do": "wait"}}})
    try:
        wait_for_job(shop, "InProgress")
        second = retrain(airflow)
    finally:
        first.kill()
        first.communicate()
    assert (second.state, second.states["plan"]) == ("failed", "failed")
    (message,) = shop.told()
    assert "another retrain is running" in message["Message"]


def wait_for_job(shop: Shop, status: str) -> None:
    sagemaker = shop.client("sagemaker")
    deadline = time.monotonic() + 180
    while status not in {
        job["TrainingJobStatus"] for job in sagemaker.list_training_jobs()["TrainingJobSummaries"]
    }:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
def test_the_same_moment_twice_gives_the_same_and_trains_once(shop: Shop, airflow: Airflow) -> None:
    first, second = retrain(airflow), retrain(airflow)
    assert (first.state, second.state) == ("success", "success")
    assert first.results["train"]["job"] == second.results["train"]["job"]
    assert second.results["load_canary"]["reused"]
    assert (second.results["go_live"]["moved"], live(shop)) == (False, "v1")
    assert variants(shop) == {"default"}


@pytest.mark.slow
def test_each_task_may_be_run_again_when_all_are_done(shop: Shop, airflow: Airflow) -> None:
    done = retrain(airflow, again=True)
    assert {task.state for task in done.tasks} == {"success"}
    assert min(task.try_number for task in done.tasks) == 2
    assert (live(shop), variants(shop)) == ("v1", {"default"})
    jobs = shop.client("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    name = done.results["plan"]["request"]["TrainingJobName"]
    assert [job["TrainingJobName"] for job in jobs if job["TrainingJobName"].startswith(name)] == [name]


@pytest.mark.slow
def test_without_mlflow_and_pushgateway_a_version_goes_live_and_the_run_says_what_it_could_not_do(
    shop: Shop, airflow: Airflow
) -> None:
    shop.change(mlflow_tracking_uri="http://127.0.0.1:9", pushgateway_url="http://127.0.0.1:9")
    done = airflow.run(
        "retrain",
        {**CONF, "hyperparameters": {"version": "v1"}},
        environment={"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
    )
    assert (done.state, live(shop)) == ("success", "v1")
    (message,) = shop.told()
    assert "could not be done: " in message["Message"]
    assert "the pushgateway at http://127.0.0.1:9" in message["Message"]


@pytest.mark.slow
def test_a_partition_of_a_foreign_schema_stops_the_run_before_anything_is_trained(
    shop: Shop, airflow: Airflow
) -> None:
    s3 = shop.client("s3")
    bucket = shop.events_uri.removeprefix("s3://")
    (key, *_) = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket, Prefix="events/dt=")["Contents"]]
    s3.put_object(Bucket=bucket, Key=key, Body=b"no Parquet")
    done = retrain(airflow)
    assert (done.state, done.states["validate_events"]) == ("failed", "failed")
    (message,) = shop.told()
    assert "cannot be read as Parquet" in message["Message"]
    assert key in message["Message"]


@pytest.mark.slow
def test_load_and_rollback_move_what_is_live_and_the_rollback_takes_no_time(
    shop: Shop, airflow: Airflow
) -> None:
    retrain(airflow)
    retrain(airflow, version="v2", as_of="2025-12-31T00:00:00Z")
    back = airflow.run("rollback", {})
    assert (back.state, live(shop)) == ("success", "v1")
    loaded = airflow.run("load")
    assert (loaded.state, live(shop)) == ("success", "v2")
    assert airflow.run("load", {"version": "nothing"}).state == "failed"
    assert live(shop) == "v2"
    assert [subject for subject in subjects(shop) if "load" in subject or "rollback" in subject] == [
        "shop-local rollback: done",
        "shop-local load: done",
        "shop-local load failed at load_version",
    ]


def started(shop: Shop, version: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.dags.without_airflow", version],
        env={
            **os.environ,
            **shop.environment,
            "SHOP_DEPLOYMENT": str(shop.folder),
            "PYTHONPATH": f"{ROOT / 'dags'}:{ROOT}",
        },
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(shop: Shop, version: str) -> None:
    process = started(shop, version)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, 50])
def test_killed_anywhere_and_run_again_it_loses_no_event_and_doubles_none(
    shop: Shop, kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in shop.environment.items():
        monkeypatch.setenv(name, value)
    rng = random.Random(kills)
    began = time.monotonic()
    finished(shop, f"v{kills}-first")
    takes = time.monotonic() - began
    number = killed = 0
    while killed < kills:
        number += 1
        assert number <= 10 * kills
        with psycopg.connect(shop.database_url) as connection:
            post(connection, [f"{kills}-{number}-{event}" for event in range(20)])
        process = started(shop, f"v{kills}-{number}")
        time.sleep(rng.uniform(0, takes))
        process.kill()
        process.communicate()
        if process.returncode == 0:
            # The first run may have been slower than those that follow.
            takes *= 0.8
        else:
            killed += 1
        finished(shop, f"v{kills}-{number}")
    found = {
        key: times
        for key, times in exported(Folder(shop.events_uri)).items()
        if key[1].startswith(f"{kills}-")
    }
    assert len(found) == 20 * number
    assert set(found.values()) == {1}
    with psycopg.connect(shop.database_url) as connection:
        served = connection.execute(
            "SELECT variant, name, state FROM serving JOIN versions ON number = version"
        ).fetchall()
        states = connection.execute("SELECT DISTINCT state FROM versions").fetchall()
    assert served == [("default", f"v{kills}-{number}", "ready")]
    assert states == [("ready",)]
    with calling(shop) as client:
        assert client.recommendations("u0")["model_version"] == f"v{kills}-{number}"
