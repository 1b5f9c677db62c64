"""The training container's program, run as SageMaker runs it, against real MLflow and a real S3 API."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import mlflow
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient
from twin.processes import Server
from twin.s3 import aws_environment, create_bucket

from contract.recommendations import ListKind
from contract.s3_layout import lists_name, version_prefix
from tests.training.shops import DAY, events_table, two_camps
from training.compare import compare
from training.container import Stop, StoppedError, reason_of
from training.events import dataset_fingerprint, read_events
from training.generate_shop import generate_shop
from training.import_events import import_events
from training.publish import read_manifest
from training.settings import Hyperparameters
from training.shop.simulation import ShopSettings
from training.storage import Folder

HYPERPARAMETERS = {
    "als_factors": "8",
    "als_iterations": "3",
    "evaluation_days": "5",
    "evaluation_windows": "2",
}


class Job:
    """One training job in its own `/opt/ml`."""

    def __init__(self, base: Path, *, bucket: str, mlflow_uri: str, hyperparameters: dict[str, str]) -> None:
        self.base = base
        self.output = Folder(f"s3://{bucket}")
        config = base / "input/config/hyperparameters.json"
        config.parent.mkdir(parents=True)
        config.write_text(json.dumps(hyperparameters))
        self.environment = {
            **os.environ,
            "SAGEMAKER_BASE_DIR": str(base),
            "MLFLOW_TRACKING_URI": mlflow_uri,
            "RECOMMENDATIONS_URI": f"s3://{bucket}",
            "TRAINING_JOB_NAME": base.name,
            "GIT_PYTHON_REFRESH": "quiet",
        }

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "training.container"]

    @property
    def failure(self) -> str:
        return (self.base / "output/failure").read_text()

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )

    def another(self, name: str, **hyperparameters: str) -> "Job":
        """A later job on the same events, beside this one."""
        later = Job(
            self.base.parent / name,
            bucket=str(self.output).removeprefix("s3://"),
            mlflow_uri=self.environment["MLFLOW_TRACKING_URI"],
            hyperparameters={**HYPERPARAMETERS, **hyperparameters},
        )
        _made(later.base / "input").joinpath("data").symlink_to(self.base / "input/data")
        return later

    @property
    def gate(self) -> dict[str, Any]:
        """What the gate said, as it lies beside the model."""
        document: dict[str, Any] = json.loads((self.base / "model/gate.json").read_text())
        return document

    def versions(self) -> list[str]:
        """Versions in S3 that can be loaded: those with a manifest."""
        return [
            key.split("/")[1]
            for key in self.output.list("recommendations/")
            if key.endswith("/manifest.json")
        ]


@pytest.fixture
def job(tmp_path: Path, bucket: str, mlflow_server: str) -> Job:
    return Job(tmp_path / "job", bucket=bucket, mlflow_uri=mlflow_server, hyperparameters=HYPERPARAMETERS)


@pytest.fixture(scope="module")
def finished(s3_server: str, mlflow_server: str, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job that ended well, to compare others with, which find their way to S3 by the fixture `bucket`."""
    base = tmp_path_factory.mktemp("finished") / "job"
    aws = aws_environment(s3_server)
    create_bucket(aws, "finished")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws.items():
            patch.setenv(name, value)
        job = Job(base, bucket="finished", mlflow_uri=mlflow_server, hyperparameters=HYPERPARAMETERS)
    give_events(job, base.parent)
    done = job.run()
    assert done.returncode == 0, done.stdout + done.stderr
    return job


def give_events(job: Job, tmp_path: Path) -> None:
    """A small shop in the channel `events`."""
    file = tmp_path / "shop.parquet"
    generate_shop(ShopSettings(users=200, items=60, days=30, seed=1), file)
    import_events([file], tmp_path / "imported")
    (tmp_path / "imported/events").rename(_made(job.base / "input/data") / "events")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_job_leaves_a_version_a_run_and_a_registered_model(
    job: Job, tmp_path: Path, mlflow_server: str
) -> None:
    give_events(job, tmp_path)
    done = job.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (job.base / "output/failure").exists()

    (version,) = job.versions()
    manifest = read_manifest(job.output, version)
    events = read_events(job.base / "input/data/events")
    assert manifest.counts["events"] == len(events)
    assert manifest.dataset_fingerprint == dataset_fingerprint(events)
    assert manifest.counts[ListKind.PERSONAL] == manifest.counts["users"]
    served = manifest.metrics["session"]["served"]
    assert served["users"] == manifest.metrics["batch"]["popular"]["users"] > 20
    assert served["recall@10"] > manifest.metrics["session"]["popular"]["recall@10"]

    client = MlflowClient(mlflow_server)
    run = client.get_run(manifest.mlflow["run_id"])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "job"
    assert run.data.params["als_factors"] == "8"
    assert run.data.metrics["session.served.recall_at_10"] == pytest.approx(served["recall@10"])
    assert run.data.tags["dataset_fingerprint"] == manifest.dataset_fingerprint
    model = client.get_model_version_by_alias(manifest.mlflow["model"], "challenger")
    assert model.version == manifest.mlflow["model_version"]

    mlflow.set_tracking_uri(mlflow_server)
    loaded = mlflow.pyfunc.load_model(
        f"models:/{manifest.mlflow['model']}@challenger", dst_path=str(_made(tmp_path / "loaded"))
    )
    known = events["user_id"][0].as_py()
    answers = loaded.predict(pd.DataFrame({"user_id": [known, "nobody"]}), params={"limit": 3})
    assert [len(items) for items in answers["item_ids"]] == [3, 3]
    lists = pq.read_table(job.base / "model" / version_prefix(version) / lists_name(0)).to_pylist()
    (popular,) = [row for row in lists if row["kind"] == ListKind.POPULAR]
    assert answers["item_ids"][1] == popular["item_ids"][:3]


@pytest.mark.usefixtures("bucket")
def test_a_run_is_found_again_by_all_that_it_was_made_of(finished: Job, mlflow_server: str) -> None:
    other = finished.another("other", ranker="boosted", ranker_iterations="7")
    assert other.run().returncode == 0
    client = MlflowClient(mlflow_server)
    one, two = (
        client.get_run(read_manifest(finished.output, each.gate["version"]).mlflow["run_id"])
        for each in (finished, other)
    )
    assert set(one.data.params) == set(two.data.params) == set(Hyperparameters.model_fields)
    changed = {name for name, value in one.data.params.items() if two.data.params[name] != value}
    assert changed == {"ranker", "ranker_iterations"}
    for tag in ("dataset_fingerprint", "code_fingerprint", "catalogue_version", "as_of"):
        assert one.data.tags[tag] == two.data.tags[tag]
    (dataset,) = one.inputs.dataset_inputs
    assert dataset.dataset.name == "events"
    assert one.data.tags["dataset_fingerprint"].startswith(dataset.dataset.digest)

    steps = {"read", "evaluate", "gate", "fit", "inspect", "report", "publish"}
    assert {f"seconds.{step}" for step in steps} <= one.data.metrics.keys()
    for protocol in ("batch", "session"):
        for model in ("served", "popular", "recent_popular", "item_item"):
            name = f"{protocol}.{model}.recall_at_10"
            figures = [one.data.metrics[f"{name}{suffix}"] for suffix in ("_low", "", "_high")]
            assert figures == sorted(figures)
    for curve in ("learnt", "unseen"):
        losses = client.get_metric_history(two.info.run_id, f"ranking.boosted.logloss_{curve}")
        assert [loss.step for loss in losses] == list(range(1, 8))
        assert losses[-1].value < losses[0].value

    artifacts = {artifact.path for artifact in client.list_artifacts(one.info.run_id)}
    reports = {"report.html", "data_report.html", "data_report.json", "gate.json", "notes.json"}
    assert reports | {"evaluation_rows.parquet"} <= artifacts
    version = one.data.tags["as_of"].translate({ord(sign): None for sign in "-:"})
    (page,) = [key for key in finished.output.list("model_reports/") if one.info.run_id[:8] in key]
    logged = mlflow.artifacts.load_text(f"{one.info.artifact_uri}/report.html")
    assert logged.encode() == finished.output.read(page)
    assert version[:15] in page
    assert compare(client, one.info.run_id, two.info.run_id).metrics[0].paired


@pytest.mark.usefixtures("bucket")
def test_the_same_job_twice_gives_the_same_lists(finished: Job) -> None:
    first = finished.gate["version"]
    assert finished.run().returncode == 0
    second = finished.gate["version"]
    assert first != second
    assert {first, second} <= set(finished.versions())
    assert sums(finished, first) == sums(finished, second) != []


AS_OF = "2025-12-20T00:00:00Z"


def gate_lets_pass(job: Job, outcome: str) -> dict[str, Any]:
    """Run a job whose gate decides so, and look at what every outcome must leave; the decision."""
    before = job.versions()
    done = job.run()
    assert done.returncode == 0, done.stdout + done.stderr
    gate = job.gate
    assert gate["outcome"] == outcome, gate["reason"]
    assert gate["reason"] in done.stdout.replace('\\"', '"')
    assert json.loads(job.output.read(f"gates/{gate['version']}.json")) == gate
    published = [gate["version"]] if outcome == "promoted" else []
    assert sorted(job.versions()) == sorted([*before, *published])
    in_model = [path.name for path in (job.base / "model").glob("recommendations/*")]
    assert in_model == published
    return gate


def test_the_gate_lets_pass_what_is_good_and_leaves_word_of_what_is_not(
    job: Job, tmp_path: Path, mlflow_server: str
) -> None:
    give_events(job, tmp_path)
    client = MlflowClient(mlflow_server)
    first = gate_lets_pass(job.another("first", as_of=AS_OF), "promoted")
    assert "first version" in first["reason"]
    assert first["served_version"] is None

    served = {"served_version": first["version"], "gate_min_users": "20"}
    later = gate_lets_pass(job.another("later", **served), "promoted")
    assert "not worse than the served version" in later["reason"]
    assert later["users_since_cut_off"] >= 20
    assert {each["difference"]["value"] for each in later["against_served"]} == {0.0}
    assert later["lists"]["overlap"] > 0.1
    (run,) = client.search_runs(
        [client.get_experiment_by_name("shop-recommender").experiment_id],
        filter_string="attributes.run_name = 'later'",
        max_results=1,
    )
    assert run.data.tags["gate.outcome"] == "promoted"
    assert run.data.tags["gate.reason"] == later["reason"]
    figures = run.data.metrics
    name = "gate.popular.evaluation_windows.session.recall_at_10"
    assert figures[f"{name}_low"] <= figures[name] <= figures[f"{name}_high"]
    assert json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/gate.json")) == later

    challenger = client.get_model_version_by_alias("shop-recommender", "challenger").version
    short = {"personal_length": "1", "similar_length": "1", "popular_length": "1"}
    worse = gate_lets_pass(job.another("worse", **served, **short), "kept")
    assert f"worse than the served version {first['version']}" in worse["reason"]
    assert worse["lists"] is None
    odd = gate_lets_pass(job.another("odd", **served, gate_min_overlap="1"), "rejected")
    assert "stays, expected is at least 100%" in odd["reason"]
    assert client.get_model_version_by_alias("shop-recommender", "challenger").version == challenger
    older = job.another("older", as_of=AS_OF, served_version=later["version"])
    assert "knows events up to" in gate_lets_pass(older, "kept")["reason"]


def test_a_served_version_that_is_not_there_is_named(job: Job, tmp_path: Path) -> None:
    give_events(job, tmp_path)
    lost = job.another("lost", served_version="lost")
    fails(lost, "served_version=lost", "there is no such version; there are none")
    assert not list(job.output.list("gates/"))


def fails(job: Job, *reasons: str) -> None:
    done = job.run()
    assert done.returncode == 1, done.stdout + done.stderr
    for reason in reasons:
        assert reason in job.failure
    assert len(job.failure) <= 1024
    assert job.versions() == []


def test_a_place_that_cannot_be_written_is_named_before_anything_is_done(job: Job) -> None:
    (job.base / "model").touch()
    fails(job, "model: user id", "can't write here (File exists)")


def test_a_reason_that_cannot_be_left_is_in_the_log(job: Job) -> None:
    (job.base / "output").touch()
    done = job.run()
    assert done.returncode == 1
    assert "the reason could not be left" in done.stdout
    assert "can't write here" in done.stdout


def test_an_unknown_hyperparameter_is_named(job: Job) -> None:
    (job.base / "input/config/hyperparameters.json").write_text('{"als_factor": "8"}')
    fails(job, "als_factor is unknown; the nearest is als_factors")


def test_an_empty_channel_says_what_was_expected(job: Job) -> None:
    _made(job.base / "input/data/events")
    fails(job, "holds no events; `python -m training.import_events` brings them in")


def test_events_without_a_target_are_refused(job: Job, tmp_path: Path) -> None:
    table = events_table([(user, item, "view", n * DAY) for n, (user, item, _, _) in enumerate(two_camps())])
    pq.write_table(table, tmp_path / "views.parquet")
    import_events([tmp_path / "views.parquet"], tmp_path / "imported", allow_no_targets=True)
    (tmp_path / "imported/events").rename(_made(job.base / "input/data") / "events")
    fails(job, "no add_to_cart and no purchase among 80 events")


def test_an_mlflow_that_is_not_there_is_named(job: Job, tmp_path: Path) -> None:
    give_events(job, tmp_path)
    job.environment |= {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    fails(job, "MLflow at http://127.0.0.1:9")


def test_where_mlflow_is_not_required_a_run_goes_on_without_it_and_its_version_says_so(
    job: Job, tmp_path: Path
) -> None:
    give_events(job, tmp_path)
    job.environment |= {
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_REQUIRED": "false",
    }
    done = job.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not recorded" in done.stdout
    (version,) = job.versions()
    assert job.gate["outcome"] == "promoted"
    assert read_manifest(job.output, version).mlflow == {}


def test_sigterm_ends_the_job_with_a_reason_and_no_version(job: Job, tmp_path: Path) -> None:
    give_events(job, tmp_path)
    (job.base / "input/config/hyperparameters.json").write_text('{"als_iterations": "100000"}')
    log = tmp_path / "log"
    with Server("training", job.command, log=log, environment=job.environment) as server:
        server.wait_until(lambda: "step=evaluate" in log.read_text(), timeout=120)
        os.kill(server.pid, signal.SIGTERM)
        server.stop(timeout=60)
    assert "stopped by SIGTERM" in job.failure
    assert "goes on from its checkpoint" in job.failure
    assert job.versions() == []


def test_a_stop_in_the_middle_of_a_query_is_told_as_a_stop() -> None:
    """DuckDB asks for signals while it works, and makes an error of its own out of what a handler raises.

    It may first end what another thread of it is at: the query is long enough to be met, and not longer.
    """
    stop = Stop()
    before = signal.signal(signal.SIGALRM, stop)
    try:
        with duckdb.connect() as connection:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises((StoppedError, RuntimeError)) as raised:
                connection.execute("SELECT sum(sin(range)) FROM range(50_000_000)").fetchall()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert reason_of(raised.value, is_stopped=stop.has_come).startswith("stopped by SIGTERM")


def sums(job: Job, version: str) -> list[str]:
    return [entry.sha256 for entry in read_manifest(job.output, version).files]


def stopped_and_started_again(job: Job, log: Path, moments: Iterable[float]) -> int:
    """Stop the job so many seconds after it began to evaluate, each time anew, then let it end; the stops."""
    stops = 0
    for moment in moments:
        if stopped_at(job, log, moment) == 0:
            return stops
        assert "stopped by SIGTERM" in job.failure
        stops += 1
    done = job.run()
    log.write_text(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    return stops


def stopped_at(job: Job, log: Path, moment: float) -> int:
    """Run the job, and send it SIGTERM unless it ended before; its exit status."""
    with log.open("w") as output:
        process = subprocess.Popen(job.command, env=job.environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        while process.poll() is None and "step=evaluate" not in log.read_text():
            time.sleep(0.05)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        process.terminate()
        return process.wait(60)
    finally:
        process.kill()
        process.wait()


def resumes_to_the_same_lists(
    finished: Job, tmp_path: Path, mlflow_server: str, moments: list[float]
) -> None:
    undisturbed = sums(finished, finished.gate["version"])
    disturbed = finished.another(f"disturbed-{tmp_path.name}")
    stops = stopped_and_started_again(disturbed, tmp_path / "log", moments)
    assert stops > 0
    assert "taken from the checkpoint" in (tmp_path / "log").read_text()
    assert sums(disturbed, disturbed.gate["version"]) == undisturbed
    assert disturbed.gate["outcome"] == finished.gate["outcome"]

    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("shop-recommender").experiment_id
    run_id = read_manifest(disturbed.output, disturbed.gate["version"]).mlflow["run_id"]
    (run,) = client.search_runs([experiment], filter_string=f"attributes.run_name = '{disturbed.base.name}'")
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    models = client.search_model_versions(f"run_id = '{run.info.run_id}'")
    assert len(models) == 1
    assert list((disturbed.base / "checkpoints").iterdir()) == []


@pytest.mark.usefixtures("bucket")
def test_a_job_that_was_stopped_goes_on_and_gives_the_lists_of_one_that_was_not(
    finished: Job, tmp_path: Path, mlflow_server: str
) -> None:
    resumes_to_the_same_lists(finished, tmp_path, mlflow_server, [2.0, 1.0, 3.0])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.usefixtures("bucket")
def test_a_job_can_be_stopped_at_any_moment(
    finished: Job, tmp_path: Path, mlflow_server: str, seed: int
) -> None:
    random = Random(seed)
    moments = [random.uniform(0.5, 15) for _ in range(4)]
    resumes_to_the_same_lists(finished, tmp_path, mlflow_server, moments)
