"""What the DAG `maintenance` does, without Airflow."""

import json
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import mlflow
import psycopg
import pytest
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient
from tasks.deployment import Deployment
from tasks.maintenance import delete_versions, drop_events, forget_deleted_users, retire_versions
from tasks.mlflow_retention import MlflowError, delete_old_runs
from tasks.uploads import abort_uploads
from twin.aws import running_aws
from twin.dags.airflow_home import PROJECT, PYTHON, Airflow
from twin.s3 import aws_environment, create_bucket

from contract.s3_layout import gate_key, model_report_key
from tests.dags.aws_calls import requests_of
from tests.dags.deployments import deployment as deployment_of
from tests.infra.conftest import Templates
from tests.infra.deployed import Permissions
from tests.training.posted import ENSURE_TODAY, exported, post
from tests.training.published import manifest, publish, rows_of, table
from training.errors import BadInputError, DatabaseError
from training.export_events import export_events
from training.loader import load_version
from training.publish import publish_version
from training.storage import Folder
from training.tombstones import delete_user
from training.version_retention import delete_old_versions

needs_airflow = pytest.mark.skipif(
    not PYTHON.exists(), reason="Airflow is not installed: `make build/airflow/installed` does it"
)
NOWHERE = deployment_of().mlflow_tracking_uri
HISTORY = b"user_id,item_id,event_type,timestamp\nu7,i1,purchase,2025-01-01T00:00:00Z\n"
URIS = {"events_uri": "s3://events", "recommendations_uri": "s3://recommendations"}
"""As the templates' permissions name the buckets."""
Make = Callable[..., Deployment]


@pytest.fixture
def deployment(bucket: str, database: str) -> Make:
    """Makes one of a real bucket and a real database."""

    def make(**changes: Any) -> Deployment:
        uris = {"events_uri": f"s3://{bucket}", "recommendations_uri": f"s3://{bucket}"}
        return deployment_of(**{**uris, "database_url": database, **changes})

    return make


@pytest.fixture
def used(deployment: Make, database: str) -> Deployment:
    """One with versions, events of an old and of a new day, and a deleted user in all of them."""
    return fill(deployment(), database)


def fill(made: Deployment, database: str) -> Deployment:
    """Use a deployment for a while."""
    publish(made.recommendations, "v1", "v2", "v3")
    for version in ("v1", "v2", "v3"):
        load_version(database, made.recommendations, version)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(ENSURE_TODAY)
        connection.execute("SELECT ensure_events_partition('2026-01-02')")
        post(connection, ["new"], user="u0")
        connection.execute("UPDATE events SET received_on = '2026-01-02' WHERE event_id = 'new'")
        post(connection, ["today"], user="u1")
    export_events(database, made.events)
    delete_user(database, "u0")
    return made


def test_every_part_does_its_own_and_once_is_enough(used: Deployment) -> None:
    assert retire_versions(used, keep=1) == {"dropped": ["v2", "v1"], "pending": [], "kept": ["v3"]}
    assert drop_events(used, keep_days=30) == {"days": ["2026-01-02"]}
    forgotten = forget_deleted_users(used)
    assert (forgotten["sources"], forgotten["events"], forgotten["versions"]) == (1, 1, 3)
    assert exported(used.events) == {("u1", "today"): 1}
    assert delete_versions(used, keep_days=90, keep=2)["versions"] == ["v1"]

    assert retire_versions(used, keep=1) == {"dropped": [], "pending": [], "kept": ["v3"]}
    assert drop_events(used, keep_days=30) == {"days": []}
    again = forget_deleted_users(used)
    assert (again["looked_at"], again["events"], again["versions"]) == (0, 0, 0)
    assert delete_versions(used, keep_days=90, keep=2)["versions"] == []


def test_results_can_be_handed_on(used: Deployment) -> None:
    parts = [retire_versions(used, keep=3), drop_events(used, keep_days=30), forget_deleted_users(used)]
    parts += [delete_versions(used, keep_days=90, keep=3), abort_uploads(used, older_than_days=7)]
    assert json.loads(json.dumps(parts)) == parts


def test_a_database_out_of_reach_is_told_by_each_part_that_needs_it(deployment: Make) -> None:
    lost = deployment(database_url="postgresql://127.0.0.1:1/none")
    parts: list[Callable[[], Any]] = [
        lambda: retire_versions(lost, keep=3),
        lambda: drop_events(lost, keep_days=30),
        lambda: forget_deleted_users(lost),
        lambda: delete_versions(lost, keep_days=90, keep=3),
        lambda: delete_old_runs(lost, keep_days=90),
    ]
    for part in parts:
        with pytest.raises(DatabaseError, match="can't be reached"):
            part()


# Uploads ---------------------------------------------------------------------------------------------
def begin_upload(bucket: str, key: str) -> None:
    client = boto3.client("s3")
    client.create_multipart_upload(Bucket=bucket, Key=key)


def uploads(bucket: str) -> list[str]:
    return [
        each["Key"] for each in boto3.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    ]


def test_uploads_that_were_never_ended_are_aborted(deployment: Make, bucket: str) -> None:
    """The stand-in says of each upload that it began in 2010."""
    for number in range(3):
        begin_upload(bucket, f"events/{number}")
    days_since_2005 = (datetime.now(UTC) - datetime(2005, 1, 1, tzinfo=UTC)).days
    assert abort_uploads(deployment(), older_than_days=days_since_2005) == {"aborted": {bucket: 0}}
    assert len(uploads(bucket)) == 3
    assert abort_uploads(deployment(), older_than_days=7) == {"aborted": {bucket: 3}}
    assert uploads(bucket) == []
    assert abort_uploads(deployment(), older_than_days=7) == {"aborted": {bucket: 0}}


def test_a_bucket_that_refuses_keeps_the_other_one_from_nothing(deployment: Make, bucket: str) -> None:
    begin_upload(bucket, "events/1")
    with pytest.raises(BadInputError, match=r"s3://a-lost-bucket: uploads can't be aborted.*NoSuchBucket"):
        abort_uploads(deployment(events_uri="s3://a-lost-bucket"), older_than_days=7)
    assert uploads(bucket) == []


# MLflow ----------------------------------------------------------------------------------------------
LATER = datetime.now(UTC) + timedelta(days=100)
"""Some time after what the tests make has become old."""


class Registry:
    """Runs with files and models, of an experiment and a model of this test's own."""

    def __init__(self, uri: str, name: str) -> None:
        self.client = MlflowClient(uri)
        self.name = name
        self.experiment_id = self.client.create_experiment(name)
        self.client.create_registered_model(name)

    def train(self) -> str:
        """A run with a file, and a model with a file, registered; its id."""
        run = self.client.create_run(self.experiment_id)
        self.client.log_text(run.info.run_id, "id", "rows.txt")
        model = self.client.create_logged_model(self.experiment_id, source_run_id=run.info.run_id)
        self.client.create_model_version(
            self.name, model.artifact_location, run_id=run.info.run_id, model_id=model.model_id
        )
        self.client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def runs(self) -> set[str]:
        found = self.client.search_runs([self.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)
        return {run.info.run_id for run in found}

    def versions(self) -> set[str]:
        return {str(each.run_id) for each in self.client.search_model_versions(f"name = '{self.name}'")}

    def models(self) -> set[str]:
        return {str(each.source_run_id) for each in self.client.search_logged_models([self.experiment_id])}


@pytest.fixture
def registry(mlflow_server: str, bucket: str, request: pytest.FixtureRequest) -> Registry:
    mlflow.set_tracking_uri(mlflow_server)
    return Registry(mlflow_server, f"{bucket}-{request.node.name}")


def artifacts(run_id: str) -> list[str]:
    return [key for key in Folder("s3://mlflow-artifacts").list() if f"/{run_id}/" in key]


def test_old_runs_and_models_go_with_their_files_and_what_is_in_use_stays(
    deployment: Make, registry: Registry, mlflow_server: str, database: str
) -> None:
    champion, challenger, served, old = (registry.train() for _ in range(4))
    numbers = {
        str(each.run_id): str(each.version)
        for each in registry.client.search_model_versions(f"name = '{registry.name}'")
    }
    registry.client.set_registered_model_alias(registry.name, "champion", numbers[champion])
    registry.client.set_registered_model_alias(registry.name, "challenger", numbers[challenger])
    made = deployment(mlflow_tracking_uri=mlflow_server, mlflow_model=registry.name)
    its_own = manifest("v1")
    its_own.mlflow["run_id"] = served
    publish_version(made.recommendations, [table(rows_of("v1"))], manifest=its_own)
    load_version(database, made.recommendations, "v1")
    assert artifacts(old)

    def delete(**changes: Any) -> dict[str, Any]:
        return delete_old_runs(made, experiment=registry.name, **{"keep_days": 90, **changes})

    assert delete() == {"model_versions": 0, "models": 0, "runs": 0}  # nothing is old yet
    assert delete(now=LATER) == {"model_versions": 1, "models": 1, "runs": 1}
    kept = {champion, challenger, served}
    assert registry.runs() == registry.versions() == registry.models() == kept
    assert artifacts(old) == []
    assert all(artifacts(run_id) for run_id in kept)
    assert delete(now=LATER) == {"model_versions": 0, "models": 0, "runs": 0}


def test_a_shop_that_has_promoted_nothing_yet_has_runs_alone(
    deployment: Make, registry: Registry, mlflow_server: str
) -> None:
    registry.client.create_run(registry.experiment_id)
    made = deployment(mlflow_tracking_uri=mlflow_server, mlflow_model="no-such-model")
    deleted = delete_old_runs(made, keep_days=90, experiment=registry.name, now=LATER)
    assert deleted == {"model_versions": 0, "models": 0, "runs": 1}
    assert delete_old_runs(made, keep_days=90, experiment="no such experiment")["runs"] == 0


def test_mlflow_down_is_told(deployment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MlflowError, match=f"MLflow at {NOWHERE}"):
        delete_old_runs(deployment(), keep_days=90)


# Airflow ---------------------------------------------------------------------------------------------
BODIES = """
import json, sys
from tasks.backfill import import_history
from tasks.deployment import Deployment
from tasks.maintenance import delete_versions, drop_events, forget_deleted_users, retire_versions
from tasks.mlflow_retention import MlflowError, delete_old_runs
from tasks.uploads import abort_uploads

deployment = Deployment.model_validate_json(sys.argv[1])
try:
    delete_old_runs(deployment, keep_days=90)
except MlflowError as error:
    lost = str(error)
print(json.dumps({
    "retired": retire_versions(deployment, keep=1),
    "events": drop_events(deployment, keep_days=30),
    "forgotten": forget_deleted_users(deployment),
    "versions": delete_versions(deployment, keep_days=90, keep=2),
    "uploads": abort_uploads(deployment, older_than_days=7),
    "imported": import_history(deployment, sources=["backfill/"]),
    "mlflow": lost,
}))
"""


@needs_airflow
def test_the_bodies_run_in_airflow_s_environment(used: Deployment) -> None:
    used.events.write("backfill/shop.csv", HISTORY)
    ended = subprocess.run(
        [PYTHON, "-c", BODIES, used.model_dump_json()],
        env={
            **os.environ,
            "PYTHONPATH": f"{PROJECT / 'dags'}:{PROJECT}",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["retired"]["kept"] == ["v3"]
    assert told["events"] == {"days": ["2026-01-02"]}
    assert (told["forgotten"]["events"], told["forgotten"]["versions"]) == (1, 3)
    assert told["versions"]["versions"] == ["v1"]
    assert told["imported"]["events"] == 1
    assert NOWHERE in told["mlflow"]


@pytest.mark.slow
@needs_airflow
def test_a_part_that_fails_keeps_none_of_the_others_and_airflow_s_role_suffices(
    database: str, templates: Templates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = tmp_path / "requests.json"
    with running_aws(log=tmp_path / "aws.log", requests=requests) as endpoint:
        ours = aws_environment(endpoint)
        for name, value in ours.items():
            monkeypatch.setenv(name, value)
        for bucket in ("events", "recommendations"):
            create_bucket(ours, bucket)
        used = fill(deployment_of(**URIS, database_url=database), database)
        used.events.write("backfill/events/shop.csv", HISTORY)
        used.events.write("backfill/items.csv", b"item_id,category_id\ni1,c1\n")
        begin_upload("events", "catalogue/1")
        begin_upload("recommendations", "training-jobs/1")
        (tmp_path / "deployment.json").write_text(used.model_dump_json())
        airflow = Airflow(
            tmp_path / "airflow",
            deployment=tmp_path,
            environment={**ours, "AWS_ACCESS_KEY_ID": "airflow", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
        )
        airflow.migrate()
        kept = airflow.run("maintenance", {"keep_versions": 1})
        imported = airflow.run(
            "backfill", {"sources": ["backfill/events/"], "catalogue": ["backfill/items.csv"]}
        )
        # What becomes old by its time in the bucket alone, no run of today can meet.
        used.recommendations.write(gate_key("refused"), b"{}")
        used.recommendations.write(model_report_key("refused"), b"<p>")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "airflow")
        later = round(LATER.timestamp() * 1000)
        assert delete_old_versions(database, used.recommendations, now_ms=later).reports == 2

    assert kept.state == "failed"
    assert {name for name, state in kept.states.items() if state != "success"} == {"delete_runs"}
    assert kept.results["forget_deleted_users"]["versions"] >= 1
    assert kept.results["retire_versions"]["kept"] == ["v3"]
    assert kept.results["abort_uploads"]["aborted"] == {"events": 1, "recommendations": 1}
    assert imported.state == "success"
    assert imported.results["import_history"]["events"] == 1

    role = Permissions(templates["prod"]["orchestration"], "Role")
    calls = {call for request in requests_of("airflow", requests) for call in request.calls}
    assert {"s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"} <= {call.action for call in calls}
    assert {call for call in calls if not role.allow(*call)} == set()
