"""What the retrain's tasks do, each by itself: real Postgres, S3 API, MLflow and pushgateway; no Airflow."""

import io
import json
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import boto3
import psycopg
import pytest
from mlflow.tracking import MlflowClient
from prometheus_client.parser import text_string_to_metric_families
from tasks.deployment import Deployment, retrain_schedule, training_request
from tasks.events import Demands, export, validate
from tasks.gate import read_decision
from tasks.moment import as_of, name_of
from tasks.notification import MAX_SUBJECT_LENGTH, Notification, NotificationError, failure, send, shown
from tasks.registry import crown, follow
from tasks.run_metrics import PushError, RunFigures, push
from tasks.versions import choose, drop_canary, go_back, go_live, load, newest, served_version
from twin.errors import MissingProgramError
from twin.monitoring import running_pushgateway

from contract.recommendations import CANARY_VARIANT
from tests.dags.deployments import deployment
from tests.training.posted import ENSURE_TODAY, exported, post
from tests.training.published import publish
from training.errors import BadInputError, DatabaseError, TooLittleDataError, UserError, VersionError
from training.generate_shop import generate_shop
from training.import_events import import_events
from training.shop.simulation import ShopSettings
from training.storage import Folder

RUN_AFTER = datetime(2026, 11, 30, 3, 17, 0, 250_000, UTC)


def test_a_run_stands_for_what_was_given_then_for_its_interval_then_for_its_start() -> None:
    end = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
    assert as_of("2026-11-01T00:00:00Z", end, RUN_AFTER) == "2026-11-01T00:00:00Z"
    assert as_of(None, end, RUN_AFTER) == "2026-11-30T03:00:00Z"
    assert as_of(None, None, RUN_AFTER) == "2026-11-30T03:17:00Z"
    assert name_of("2026-11-30T03:17:00Z") == "20261130T031700Z"
    with pytest.raises(BadInputError):
        as_of("yesterday", end, RUN_AFTER)


def test_a_deployment_that_lacks_something_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        BadInputError, match=r"deployment.json is missing: the deployment writes it, deploy again"
    ):
        Deployment.read(tmp_path)
    (tmp_path / "deployment.json").write_text("{")
    with pytest.raises(BadInputError, match="is no JSON"):
        Deployment.read(tmp_path)
    (tmp_path / "deployment.json").write_text('{"stage": "dev"}')
    with pytest.raises(BadInputError, match="region: Field required; prefix: Field required"):
        Deployment.read(tmp_path)
    with pytest.raises(BadInputError, match=r"training_job.json is missing"):
        training_request(tmp_path)


def test_a_schedule_that_cannot_be_read_is_none_because_dags_are_parsed_by_it(tmp_path: Path) -> None:
    assert retrain_schedule(tmp_path) is None
    (tmp_path / "deployment.json").write_text('["no object"]')
    assert retrain_schedule(tmp_path) is None
    (tmp_path / "deployment.json").write_text('{"retrain_schedule": "17 3 * * *"}')
    assert retrain_schedule(tmp_path) == "17 3 * * *"


def test_posted_events_are_exported_once_however_often_the_task_runs(database: str, bucket: str) -> None:
    of_shop = deployment(database_url=database, events_uri=f"s3://{bucket}")
    with psycopg.connect(database) as connection:
        connection.execute(ENSURE_TODAY)
        post(connection, ["e1", "e2"])
    assert export(of_shop)["events"] == 2
    assert export(of_shop) == {"events": 0, "manifests": [], "deleted_users": 0}
    assert exported(Folder(of_shop.events_uri)) == {("u", "e1"): 1, ("u", "e2"): 1}


def test_a_database_that_only_reads_is_named(database: str, bucket: str) -> None:
    of_shop = deployment(
        database_url=f"{database}?options=-c%20default_transaction_read_only%3Don",
        events_uri=f"s3://{bucket}",
    )
    with pytest.raises(DatabaseError, match="the database refuses"):
        export(of_shop)
    publish(Folder(f"s3://{bucket}"), "v1")
    with pytest.raises(DatabaseError, match="the database refuses"):
        load(of_shop.model_copy(update={"recommendations_uri": f"s3://{bucket}"}), "v1")


def test_without_events_validation_stops_and_says_what_to_do(bucket: str) -> None:
    demands = Demands(window_days=28, max_bad_share=0.05, allow_empty_days=False, max_drift=None)
    with pytest.raises(UserError, match="holds no events"):
        validate(
            deployment(events_uri=f"s3://{bucket}"),
            moment="2026-11-30T03:17:00Z",
            name="retrain-x",
            demands=demands,
        )


def archive(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


def test_the_gate_s_decision_is_found_wherever_the_archive_has_it(bucket: str) -> None:
    decision = {"schema_version": 1, "version": "v1", "outcome": "kept", "reason": "worse", "more": 1}
    Folder(f"s3://{bucket}").write(
        "jobs/model.tar.gz", archive({"a": b"x" * 100_000, "./gate.json": json.dumps(decision).encode()})
    )
    assert read_decision(f"s3://{bucket}/jobs/model.tar.gz") == {
        "version": "v1",
        "outcome": "kept",
        "reason": "worse",
    }


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (archive({"other": b""}), "there is no gate.json in it"),
        (archive({"gate.json": b"{"}), "is not JSON"),
        (b"no archive", "not a gzip file"),
        (archive({"gate.json": b"x" * 5000})[:40], "holds no gate.json that can be read"),
    ],
    ids=["another file", "half a document", "another format", "half an archive"],
)
def test_a_model_without_a_decision_is_never_taken_for_one(bucket: str, content: bytes, told: str) -> None:
    Folder(f"s3://{bucket}").write("model.tar.gz", content)
    with pytest.raises(BadInputError, match=told):
        read_decision(f"s3://{bucket}/model.tar.gz")


def test_a_model_that_is_not_there_is_named(bucket: str) -> None:
    with pytest.raises(BadInputError, match=r"nothing/model.tar.gz: holds no gate.json"):
        read_decision(f"s3://{bucket}/nothing/model.tar.gz")


@pytest.fixture
def of_shop(database: str, bucket: str) -> Deployment:
    """A shop with two published versions, of which none is loaded."""
    publish(Folder(f"s3://{bucket}"), "v1", "v2")
    return deployment(
        database_url=database, events_uri=f"s3://{bucket}", recommendations_uri=f"s3://{bucket}"
    )


def test_a_version_is_a_canary_before_it_is_live_and_none_afterwards(of_shop: Deployment) -> None:
    assert served_version(of_shop) is None
    load(of_shop, "v1")
    assert (served_version(of_shop), served_version(of_shop, CANARY_VARIANT)) == (None, "v1")
    moved = go_live(of_shop, "v1")
    assert (moved["previous"], moved["moved"]) == (None, True)
    assert (served_version(of_shop), served_version(of_shop, CANARY_VARIANT)) == ("v1", None)


def test_each_step_may_be_done_twice(of_shop: Deployment) -> None:
    assert [load(of_shop, "v1")["reused"] for _ in range(2)] == [False, True]
    first, again = (go_live(of_shop, "v1") for _ in range(2))
    assert (again["moved"], again["since"]) == (False, first["since"])
    load(of_shop, "v2")
    for _ in range(2):
        drop_canary(of_shop, "v2")
    assert served_version(of_shop) == "v1"


def test_a_first_version_that_fails_as_the_canary_leaves_nothing(of_shop: Deployment) -> None:
    load(of_shop, "v1")
    drop_canary(of_shop, "v1")
    assert served_version(of_shop, CANARY_VARIANT) is None
    with pytest.raises(VersionError, match="there is no version 'v1' in the database; there are none"):
        go_live(of_shop, "v1")


def test_what_is_live_is_not_dropped_with_its_canary(of_shop: Deployment) -> None:
    load(of_shop, "v1")
    go_live(of_shop, "v1")
    load(of_shop, "v1")
    drop_canary(of_shop, "v1")
    assert served_version(of_shop) == "v1"


def test_where_to_go_back_to_is_chosen_once_for_all_tries(of_shop: Deployment) -> None:
    for version in ("v1", "v2"):
        load(of_shop, version)
        go_live(of_shop, version)
    aim = choose(of_shop, None, "default")
    assert aim["version"] == "v1"
    assert [go_back(of_shop, aim["version"], "default")["moved"] for _ in range(2)] == [True, False]
    assert served_version(of_shop) == "v1"
    with pytest.raises(VersionError, match="served no version before v1"):
        choose(of_shop, None, "default")


def test_the_newest_version_is_found_and_an_empty_bucket_is_told(of_shop: Deployment, bucket: str) -> None:
    assert newest(of_shop) == "v2"
    with pytest.raises(VersionError, match="no version was published: run the retrain first"):
        newest(of_shop.model_copy(update={"recommendations_uri": f"s3://{bucket}/elsewhere"}))


def test_a_variant_gets_its_share(of_shop: Deployment) -> None:
    load(of_shop, "v1")
    go_live(of_shop, "v1")
    assert load(of_shop, "v2", variant="b", share=0.25)["shares"] == {"b": 0.25, "default": 1.0}


def test_a_version_whose_files_were_deleted_by_hand_is_named_and_what_is_live_stays(
    of_shop: Deployment,
) -> None:
    load(of_shop, "v1")
    go_live(of_shop, "v1")
    for key in list(of_shop.recommendations.list("recommendations/v2/")):
        of_shop.recommendations.delete(key)
    with pytest.raises(VersionError, match="v2"):
        load(of_shop, "v2")
    assert served_version(of_shop) == "v1"


def test_a_bucket_that_may_not_be_read_is_named(of_shop: Deployment) -> None:
    elsewhere = of_shop.model_copy(update={"recommendations_uri": "s3://not-ours"})
    with pytest.raises(UserError, match="not-ours"):
        load(elsewhere, "v1")


def registered(mlflow_server: str) -> tuple[str, str]:
    """A run with a model in the registry: its id, and the model's version."""
    client = MlflowClient(mlflow_server)
    run = client.create_run(client.create_experiment("of the registry"))
    client.create_registered_model("shop-recommender-of-a-test")
    version = client.create_model_version(
        "shop-recommender-of-a-test", source=f"runs:/{run.info.run_id}/recommender", run_id=run.info.run_id
    )
    return run.info.run_id, str(version.version)


def test_the_alias_follows_what_is_live(of_shop: Deployment, mlflow_server: str) -> None:
    run_id, number = registered(mlflow_server)
    rewrite_manifest(of_shop, "v1", mlflow={"run_id": run_id, "experiment": "shop"})
    of_shop = of_shop.model_copy(update={"mlflow_tracking_uri": mlflow_server})
    crowned = crown(of_shop, "v1")
    assert (crowned["alias"], crowned["model_version"]) == ("champion", number)
    assert crowned["run_url"].endswith(f"/runs/{run_id}")
    known = MlflowClient(mlflow_server).get_model_version_by_alias("shop-recommender-of-a-test", "champion")
    assert known.run_id == run_id
    assert "follows the variant default" in follow(of_shop, "b", "v1")["not_moved"]


def test_where_mlflow_is_down_or_does_not_know_the_run_the_alias_stays_and_nothing_fails(
    of_shop: Deployment, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert "v1 was trained without MLflow" in crown(of_shop, "v1")["not_moved"]
    rewrite_manifest(of_shop, "v1", mlflow={"run_id": "0" * 32, "experiment": "shop"})
    assert "MLflow at http://127.0.0.1:9" in crown(of_shop, "v1")["not_moved"]
    reached = of_shop.model_copy(update={"mlflow_tracking_uri": mlflow_server})
    assert "no model of the run 0000" in crown(reached, "v1")["not_moved"]


def rewrite_manifest(of_shop: Deployment, version: str, **values: Any) -> None:
    key = f"recommendations/{version}/manifest.json"
    document = json.loads(of_shop.recommendations.read(key))
    of_shop.recommendations.write(key, json.dumps({**document, **values}).encode())


class Webhook(BaseHTTPRequestHandler):
    """Takes what Slack would, and answers as it was told."""

    status: ClassVar[int] = 200
    received: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        Webhook.received.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(Webhook.status)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def webhook(bucket: str) -> Iterator[str]:
    """The name of a secret with the URL of a webhook, in place of Slack's own."""
    Webhook.received, Webhook.status = [], 200
    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    name = f"webhook-{bucket}"
    boto3.client("secretsmanager").create_secret(
        Name=name, SecretString=f"http://127.0.0.1:{server.server_port}/hook"
    )
    yield name
    server.shutdown()
    server.server_close()


@pytest.fixture
def topic(bucket: str) -> tuple[str, str]:
    """A topic, and the URL of a queue that hears it."""
    queue = boto3.client("sqs").create_queue(QueueName=f"told-{bucket}")["QueueUrl"]
    arn = boto3.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    topic = boto3.client("sns").create_topic(Name=f"topic-{bucket}")["TopicArn"]
    boto3.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"])
    return topic, queue


def heard(queue: str) -> list[dict[str, Any]]:
    found = boto3.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in found]


def test_a_failure_tells_step_reason_log_and_what_to_do(topic: tuple[str, str], webhook: str) -> None:
    of_shop = deployment(notification_topic=topic[0], slack_webhook_secret=webhook)
    told = failure(of_shop, dag="retrain", task="train", reason="too little data", log_url="http://log")
    assert send(of_shop, told) == ["sns", "slack"]
    (message,) = heard(topic[1])
    assert message["Subject"] == "shop-local retrain failed at train"
    for part in ("Step: train", "Reason: too little data", "Log: http://log", "docs/runbook.md#retrain"):
        assert part in message["Message"]
        assert part in json.loads(Webhook.received[0])["text"]


def test_of_two_who_are_to_be_told_one_is_told_where_the_other_is_out_of_reach(
    topic: tuple[str, str], webhook: str
) -> None:
    of_shop = deployment(notification_topic=f"{topic[0]}-gone", slack_webhook_secret=webhook)
    with pytest.raises(NotificationError, match="not told: sns: "):
        send(of_shop, Notification("subject", "text"))
    assert len(Webhook.received) == 1
    Webhook.status = 500
    of_shop = deployment(notification_topic=topic[0], slack_webhook_secret=webhook)
    with pytest.raises(NotificationError, match="slack: the webhook answered 500"):
        send(of_shop, Notification("subject", "text"))
    assert len(heard(topic[1])) == 1


def test_nobody_is_told_where_nobody_is_set() -> None:
    assert send(deployment(), Notification("subject", "text")) == []


def test_a_subject_is_what_sns_takes(topic: tuple[str, str]) -> None:
    of_shop = deployment(notification_topic=topic[0])
    assert send(of_shop, Notification(f"läuft\nnicht {'x' * 200}", "täxt")) == ["sns"]
    (message,) = heard(topic[1])
    assert message["Subject"].startswith("l?uft nicht xxx")
    assert len(message["Subject"]) == MAX_SUBJECT_LENGTH
    assert "täxt" in message["Message"]


@pytest.mark.parametrize(
    ("value", "text"), [(1_234_567, "1,234,567"), (0.123456, "0.1235"), ("v1", "v1"), (True, "True")]
)
def test_figures_are_shown_for_people(value: Any, text: str) -> None:
    assert shown(value) == text


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        with running_pushgateway(log=tmp_path_factory.mktemp("gateway") / "log") as url:
            yield url
    except MissingProgramError as error:
        pytest.skip(str(error))


def figures(outcome: str, *, failed: frozenset[str] = frozenset(), **values: Any) -> RunFigures:
    return RunFigures(
        dag="retrain",
        outcome=outcome,
        seconds=60.0,
        ended_at=1_800_000_000.0,
        task_seconds={"plan": 1.0, "train": 50.0},
        failed_tasks=failed,
        **values,
    )


def test_a_failed_run_leaves_the_moment_of_the_last_success_as_it_was(gateway: str) -> None:
    push(gateway, figures("live", exported_events=40, rejected_share=0.0, canary_seconds=0.01))
    push(gateway, figures("failed", failed=frozenset({"train"})))
    known = pushed(gateway)
    assert known["shop_dag_last_success_timestamp_seconds", "retrain"] == 1_800_000_000
    assert known["shop_dag_run_outcome", "failed"] == 1
    assert known["shop_dag_run_outcome", "live"] == 0
    assert known["shop_dag_task_failed", "train"] == 1
    assert known["shop_dag_exported_events", "retrain"] == 40


def pushed(gateway: str) -> dict[tuple[str, str], float]:
    """Values by name and by what tells them apart."""
    with urllib.request.urlopen(f"{gateway}/metrics") as response:
        text = response.read().decode()
    return {
        (sample.name, sample.labels.get("outcome") or sample.labels.get("task") or sample.labels["dag"]): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("shop_")
    }


def test_a_gateway_that_is_down_is_named() -> None:
    with pytest.raises(PushError, match="the pushgateway at http://127.0.0.1:9"):
        push("http://127.0.0.1:9", figures("done"))


def test_an_interval_that_holds_no_event_is_too_little(bucket: str, tmp_path: Path) -> None:
    file = tmp_path / "shop.parquet"
    generate_shop(ShopSettings(users=50, items=20, days=10), file)
    import_events([file], f"s3://{bucket}", allow_empty_days=True, allow_no_targets=True)
    demands = Demands(window_days=7, max_bad_share=0.05, allow_empty_days=False, max_drift=None)
    of_shop = deployment(events_uri=f"s3://{bucket}")
    with pytest.raises(TooLittleDataError):
        validate(of_shop, moment="2020-01-01T00:00:00Z", name="early", demands=demands)
    found = validate(of_shop, moment="2026-01-01T00:00:00Z", name="all", demands=demands)
    assert found["events"] > 0
    assert found["rejected_share"] == 0
    # Two days without anybody.
    with pytest.raises(UserError, match=r"no events from 2026-01-01 on, the latest one is of 2025-12-31"):
        validate(of_shop, moment="2026-01-03T00:00:00Z", name="gap", demands=demands)
