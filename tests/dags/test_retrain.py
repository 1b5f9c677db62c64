"""The retrain, in Airflow and with everything real that its tasks reach."""

import copy
import re
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient
from prometheus_client.parser import text_string_to_metric_families
from twin.dags.shop import AIRFLOW_KEY, READ_FUNCTION
from twin.dags.traffic import calling

from contract.metrics import METRICS
from tests.dags.aws_calls import Call, requests_of
from tests.dags.conftest import HappyRun
from tests.infra.conftest import Templates
from tests.infra.deployed import ACCOUNT, REGION, Permissions, listed, read_document
from training.storage import Folder

TASKS = [
    *("plan", "export_events", "validate_events", "train", "gate", "promoted", "load_canary", "try_canary"),
    *("go_live", "watch", "move_alias", "push_metrics", "tell_people"),
]

OF_A_RUN = {metric.name for metric in METRICS if metric.name.startswith("shop_dag_")}

ASKED = {
    "lambda:InvokeFunction",
    "logs:DescribeLogStreams",
    "s3:GetObject",
    "s3:ListBucket",
    "s3:PutObject",
    "sagemaker:CreateTrainingJob",
    "sagemaker:DescribeTrainingJob",
    "sns:Publish",
}
"""What the tasks of a retrain ask for when all goes well."""


def test_a_retrain_that_goes_well_ends_with_every_task_done_in_its_order(happy_run: HappyRun) -> None:
    assert happy_run.run.state == "success", happy_run.airflow.log.read_text()[-2_000:]
    assert [(task.name, task.state) for task in happy_run.run.tasks] == [(name, "success") for name in TASKS]
    assert {task.try_number for task in happy_run.run.tasks} == {1}


def test_each_posted_event_is_exported_once(happy_run: HappyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in happy_run.shop.environment.items():
        monkeypatch.setenv(name, value)
    assert happy_run.run.results["export_events"]["events"] == happy_run.posted
    with psycopg.connect(happy_run.shop.database_url) as connection:
        posted = connection.execute("SELECT event_id FROM events").fetchall()
    assert len(posted) == happy_run.posted
    bucket = Folder(happy_run.shop.events_uri)
    files = [key for key in bucket.list("events/") if re.match(r"events/dt=.*/export-", key)]
    tables = [pq.read_table(bucket.path(key), filesystem=bucket.filesystem) for key in files]
    exported = [event_id for table in tables for event_id in table["event_id"].to_pylist()]
    assert sorted(exported) == sorted(event_id for (event_id,) in posted)


def test_what_was_trained_is_live_and_answers(happy_run: HappyRun) -> None:
    results = happy_run.run.results
    version = results["gate"]["version"]
    assert (results["gate"]["outcome"], results["go_live"]["previous"]) == ("promoted", None)
    with psycopg.connect(happy_run.shop.database_url) as connection:
        served = connection.execute(
            "SELECT variant, name FROM serving JOIN versions ON number = version"
        ).fetchall()
        (user,) = connection.execute(
            "SELECT min(key) FROM recommendations WHERE kind = 'personal'"
        ).fetchone() or (None,)
    assert served == [("default", version)]
    with calling(happy_run.shop) as client:
        answer = client.recommendations(str(user))
    assert client.traffic.problems == []
    assert (answer["model_version"], answer["source"]) == (version, "personalized")


def test_mlflow_s_alias_is_the_version_that_is_live(happy_run: HappyRun) -> None:
    moved = happy_run.run.results["move_alias"]
    client = MlflowClient(happy_run.shop.servers.mlflow_uri)
    champion = client.get_model_version_by_alias("shop-recommender", "champion")
    assert champion.version == moved["model_version"]
    assert str(champion.run_id) in moved["run_url"]


def test_people_are_told_once_and_with_the_numbers(happy_run: HappyRun) -> None:
    (message,) = happy_run.told
    version = happy_run.run.results["gate"]["version"]
    assert message["Subject"] == f"shop-local retrain: {version} is live"
    assert f"events exported: {happy_run.posted}" in message["Message"]
    assert "could not be done" not in message["Message"]


def test_the_pushgateway_has_the_run_by_the_names_of_the_contract(happy_run: HappyRun) -> None:
    url = happy_run.shop.servers.pushgateway_url
    if url is None:
        pytest.skip(happy_run.shop.servers.missing[0])
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [
        sample for family in families for sample in family.samples if sample.labels.get("dag") == "retrain"
    ]
    ours = {sample.name for sample in samples if sample.name.startswith("shop_")}
    # Nothing was live before, that the version could have items in common with.
    assert ours == OF_A_RUN - {"shop_dag_canary_overlap"}
    outcomes = {
        sample.labels["outcome"]: sample.value for sample in samples if sample.name == "shop_dag_run_outcome"
    }
    assert outcomes == {"live": 1, "kept": 0, "done": 0, "failed": 0}


LOGS = "logs:GetLogEvents"
"""Asked for where a training has written a line while somebody looks, which a quick one may not."""

MORE: Mapping[str, str] = {
    "airflow:PublishMetrics": "of the environment itself, as AWS demands",
    "cloudwatch:PutMetricData": "of the environment itself, as AWS demands",
    "iam:PassRole": "CreateTrainingJob takes it, without a request of its own",
    "kms:Decrypt": "S3, SNS and SQS take it for what is encrypted",
    "kms:DescribeKey": "of the environment itself, as AWS demands",
    "kms:Encrypt": "of the environment itself, as AWS demands",
    "kms:GenerateDataKey*": "S3, SNS and SQS take it for what they encrypt",
    "rds-db:connect": "logging in with a token takes it; no request asks for a token",
    "secretsmanager:DescribeSecret": "of what reads the secret of the local Postgres",
    "secretsmanager:GetSecretValue": "logging in to the local Postgres, where a secret says how",
    "s3:AbortMultipartUpload": "files of more than one part, which a small shop has none of",
    "s3:DeleteObject": "an export that was cut off is taken back",
    "s3:GetAccountPublicAccessBlock": "of the environment itself, as AWS demands",
    "s3:GetBucket*": "of the environment itself, as AWS demands",
    "s3:GetObject*": "of the environment itself, as AWS demands",
    "s3:List*": "of the environment itself, as AWS demands",
    "s3:ListBucketMultipartUploads": "the maintenance aborts uploads that were never ended",
    "sagemaker:AddTags": "CreateTrainingJob takes it for the tags of a job",
    "sagemaker:StopTrainingJob": "a task that is stopped stops its job",
}
"""What the role allows beside: by action, why no task of a retrain that goes well asks for it."""


class Account:
    """What a stage's stack comes to in an account."""

    def __init__(self, template: Mapping[str, Any], document: Mapping[str, Any]) -> None:
        self.role = Permissions(template, "Role")
        self._document = document

    def there(self, call: Call, local: Mapping[str, Any]) -> Call:
        """The call with that account's names instead of the local ones, as `deployment.json` tells them."""
        resource = call.resource
        for name in ("events_uri", "recommendations_uri"):
            bucket, there = (told[name].removeprefix("s3://") for told in (local, self._document))
            resource = re.sub(rf"^(arn:aws:s3:::){bucket}(/|$)", rf"\g<1>{there}\2", resource)
        for name in ("notification_topic", "read_function"):
            resource = self._document[name] if resource == local[name] else resource
        resource = resource.replace(f"/{local['prefix']}-", f"/{self._document['prefix']}-")
        resource = resource.replace(f":{local['prefix']}-", f":{self._document['prefix']}-")
        resource = re.sub(
            r"^(arn:aws:\w+):::(?=training-job|log-group)", rf"\1:{REGION}:{ACCOUNT}:", resource
        )
        return Call(call.action, resource)


@pytest.fixture(params=["prod", "local"])
def account(
    request: pytest.FixtureRequest, templates: Templates, stages_folder: Path, tmp_path: Path
) -> Account:
    stage: str = request.param
    template = templates[stage]["orchestration"]
    document = read_document(stages_folder / stage, template, "deployment.json", tmp_path / "files")
    return Account(template, document)


def asked_of_aws(run: HappyRun) -> set[Call]:
    """What the tasks asked for, recorded where it arrived."""
    recorded = {call for request in requests_of(AIRFLOW_KEY, run.requests) for call in request.calls}
    return recorded | {Call("lambda:InvokeFunction", name) for name in run.shop.invoked}


def test_the_role_allows_each_call_that_the_tasks_made(happy_run: HappyRun, account: Account) -> None:
    asked = asked_of_aws(happy_run)
    assert {call.action for call in asked} - {LOGS} == ASKED
    assert set(happy_run.shop.invoked) == {READ_FUNCTION}
    there = {account.there(call, happy_run.shop.deployment) for call in asked}
    assert {call for call in there if not account.role.allow(*call)} == set()


def test_a_permission_that_is_missing_would_be_told(happy_run: HappyRun, account: Account) -> None:
    asked = {account.there(call, happy_run.shop.deployment) for call in asked_of_aws(happy_run)}
    for sid in ("WriteEvents", "ReadVersions", "SeeEvents", "Train", "TryVersion", "TellPeople"):
        fewer = copy.copy(account.role)
        fewer.statements = [each for each in account.role.statements if each.get("Sid") != sid]
        assert len(fewer.statements) == len(account.role.statements) - 1, sid
        assert any(not fewer.allow(*call) for call in asked), sid


def test_what_the_role_allows_beside_has_a_reason(templates: Templates) -> None:
    roles = [Permissions(templates[stage]["orchestration"], "Role") for stage in ("prod", "local")]
    statements = [each for role in roles for each in role.statements]
    allowed = {action for each in statements for action in listed(each["Action"])}
    # Airflow's own queue and logs, and the log of a training.
    airflow_s = {action for action in allowed if action.startswith(("sqs:", "logs:"))}
    assert allowed - airflow_s - ASKED == set(MORE)
