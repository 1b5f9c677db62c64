"""The local SageMaker, asked by boto3, with a light program in place of the training but for one real one."""

import dataclasses
import io
import itertools
import json
import os
import signal
import sys
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from mlflow.tracking import MlflowClient
from moto.core.utils import method_names_from_class
from moto.sagemaker.models import SageMakerModelBackend, sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse
from twin.aws import running_aws
from twin.s3 import REGION, aws_environment
from twin.sagemaker.job import TrainingJob
from twin.sagemaker.log_stream import GROUP
from twin.sagemaker.models import TrainingBackend
from twin.sagemaker.responses import TrainingResponse
from twin.sagemaker.run import Run
from twin.sagemaker.settings import TrainingSettings
from twin.sagemaker.surroundings import Surroundings

from contract.gate import GATE_NAME, GateDecision, Outcome
from infra.config import Config
from infra.training_job import metric_definitions, training_job
from tests.localstack.test_processes import is_alive, wait_until_dead
from training.generate_shop import generate_shop
from training.import_events import import_events
from training.publish import read_manifest
from training.shop.simulation import ShopSettings
from training.storage import Folder

PROGRAM = """
import json, os, pathlib, signal, sys, time

base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
config = {file.stem: json.loads(file.read_text()) for file in (base / "input/config").iterdir()}


def stop(*_):
    (base / "model/stopped").write_text("by SIGTERM")
    sys.exit(0)


def report():
    data = base / "input/data"
    files = {str(file.relative_to(data)): file.read_text() for file in data.rglob("*") if file.is_file()}
    seen = {"arguments": sys.argv[1:], "config": config, "files": files, "environment": dict(os.environ)}
    (base / "model/seen.json").write_text(json.dumps(seen))
    (base / "model/below").mkdir()
    (base / "model/below/it").write_text("as well")
    (base / "output/data/debug").write_text("by the way")
    print("recall=0.25\\n\\nrecall=0.5")


def fail():
    print("recall=0.125", flush=True)
    (base / "output/failure").write_text(config["hyperparameters"]["reason"])
    sys.exit(1)


def fall_over():
    os.kill(os.getpid(), signal.SIGSEGV)


def wait():
    signal.signal(signal.SIGTERM, stop)
    print("waiting", flush=True)
    time.sleep(600)


def refuse_to_stop():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(os.getpid(), flush=True)
    time.sleep(600)


def count():
    kept = base / "checkpoints/count"
    counted = int(kept.read_text()) if kept.exists() else 0
    print(f"begins with {counted}", flush=True)
    kept.with_name("part").write_text(str(counted + 1))
    kept.with_name("part").rename(kept)
    if config["hyperparameters"]["until"] == str(counted + 1):
        (base / "model/count").write_text(kept.read_text())
    else:
        wait()


globals()[config["hyperparameters"]["do"]]()
"""
HYPERPARAMETERS = {
    "als_factors": "8",
    "als_iterations": "3",
    "evaluation_days": "5",
    "evaluation_windows": "1",
}
# Whose descriptions of the services are read once.
SESSION = boto3.session.Session(aws_access_key_id="local", aws_secret_access_key="local")
ROLE = "arn:aws:iam::123456789012:role/training"


@dataclass(frozen=True)
class Aws:
    """Clients of a local AWS."""

    endpoint: str
    s3: Any
    sagemaker: Any
    logs: Any

    @classmethod
    def at(cls, endpoint: str) -> "Aws":
        clients = {
            name: SESSION.client(name, endpoint_url=endpoint, region_name=REGION)
            for name in ("s3", "sagemaker", "logs")
        }
        return cls(endpoint, **clients)

    def close(self) -> None:
        for client in (self.s3, self.sagemaker, self.logs):
            client.close()

    def start(self, name: str, do: str, /, *, asked: Any = None, **hyperparameters: str) -> None:
        self.sagemaker.create_training_job(
            **request(name, HyperParameters={"do": do, **hyperparameters}, **(asked or {}))
        )

    def describe(self, name: str) -> dict[str, Any]:
        told: dict[str, Any] = self.sagemaker.describe_training_job(TrainingJobName=name)
        return told

    def ended(self, name: str, *, every: float = 0.05) -> dict[str, Any]:
        until(lambda: self.describe(name)["TrainingJobStatus"] not in ("InProgress", "Stopping"), every=every)
        return self.describe(name)

    def streams(self, name: str) -> list[str]:
        found = self.logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")
        return [stream["logStreamName"] for stream in found["logStreams"]]

    def lines(self, name: str) -> list[str]:
        """All of the job's log; empty before it has one."""
        try:
            streams = self.streams(name)
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        events = [
            self.logs.get_log_events(logGroupName=GROUP, logStreamName=stream, startFromHead=True)
            for stream in streams
        ]
        return [event["message"] for each in events for event in each["events"]]

    def archive(self, uri: str) -> dict[str, bytes]:
        """The files of an archive in S3."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        content = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            return {
                member.name: opened.read()
                for member in tar.getmembers()
                if (opened := tar.extractfile(member)) is not None
            }


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """A local AWS with a bucket `shop` that has events; jobs named `spot-…` lose an instance."""
    folder = tmp_path_factory.mktemp("aws")
    (folder / "program.py").write_text(PROGRAM)
    training = TrainingSettings(
        # Without site-packages, which this program has no need of.
        program=(sys.executable, "-I", "-S", str(folder / "program.py")),
        image_environment={"CODE_VERSION": "abc", "OF_IMAGE": "1"},
        stop_seconds=0.3,
        interrupt_spot="spot-*",
    )
    with running_aws(log=folder / "log", training=training) as endpoint:
        clients = Aws.at(endpoint)
        clients.s3.create_bucket(Bucket="shop")
        clients.s3.put_object(Bucket="shop", Key="events/dt=2026-01-01/a", Body=b"one")
        clients.s3.put_object(Bucket="shop", Key="events/manifests/m", Body=b"two")
        clients.s3.put_object(Bucket="shop", Key="catalogue/v/items", Body=b"three")
        yield clients
        clients.close()


def request(name: str, **asked: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": "training:1",
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": "recall", "Regex": "recall=([0-9.]+)"},
                {"Name": "ndcg", "Regex": "ndcg=([0-9.]+)"},
            ],
        },
        "RoleArn": ROLE,
        "InputDataConfig": [channel("events", "s3://shop/events/")],
        "OutputDataConfig": {"S3OutputPath": "s3://shop/jobs/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **asked,
    }


def channel(name: str, uri: str) -> dict[str, Any]:
    return {
        "ChannelName": name,
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}},
    }


def spot(checkpoints: str) -> dict[str, Any]:
    return {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
        "CheckpointConfig": {"S3Uri": f"s3://shop/{checkpoints}"},
    }


def until(is_so: Callable[[], bool], *, every: float = 0.05) -> None:
    deadline = time.monotonic() + 300
    while not is_so():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(every)


def states(described: dict[str, Any]) -> list[str]:
    return [each["Status"] for each in described["SecondaryStatusTransitions"]]


def test_a_job_trains_under_the_contract_and_leaves_its_model(aws: Aws) -> None:
    key = "arn:aws:kms:us-east-1:123456789012:key/1"
    asked = {
        "InputDataConfig": [
            channel("events", "s3://shop/events/"),
            channel("catalogue", "s3://shop/catalogue"),
            channel("one", "s3://shop/events/manifests/m"),
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://shop/jobs", "KmsKeyId": key},
        "Environment": {"MLFLOW_TRACKING_URI": "http://mlflow", "OF_IMAGE": "2"},
        "Tags": [{"Key": "stage", "Value": "test"}],
    }
    aws.start("report", "report", asked=asked, epochs="3")
    told = aws.ended("report")

    assert told["TrainingJobStatus"] == told["SecondaryStatus"] == "Completed"
    assert states(told) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    artifacts = told["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifacts == "s3://shop/jobs/report/output/model.tar.gz"
    model = aws.archive(artifacts)
    assert model["below/it"] == b"as well"
    assert aws.archive("s3://shop/jobs/report/output/output.tar.gz") == {"debug": b"by the way"}
    assert aws.s3.head_object(Bucket="shop", Key="jobs/report/output/model.tar.gz")["SSEKMSKeyId"] == key

    seen = json.loads(model["seen.json"])
    assert seen["arguments"] == ["train"]
    assert seen["files"] == {
        "events/dt=2026-01-01/a": "one",
        "events/manifests/m": "two",
        "catalogue/v/items": "three",
        "one/m": "two",
    }
    assert seen["config"]["hyperparameters"] == {"do": "report", "epochs": "3"}
    assert seen["config"]["resourceconfig"]["hosts"] == ["algo-1"]
    assert set(seen["config"]["inputdataconfig"]) == {"events", "catalogue", "one"}
    environment = seen["environment"]
    assert (environment["MLFLOW_TRACKING_URI"], environment["OF_IMAGE"]) == ("http://mlflow", "2")
    assert (environment["TRAINING_JOB_NAME"], environment["CODE_VERSION"]) == ("report", "abc")
    assert environment["AWS_ENDPOINT_URL"] == aws.endpoint
    assert "PYTEST_CURRENT_TEST" not in environment

    assert aws.lines("report") == ["recall=0.25", "recall=0.5"]
    (metric,) = told["FinalMetricDataList"]
    assert (metric["MetricName"], metric["Value"]) == ("recall", 0.5)
    (tag,) = aws.sagemaker.list_tags(ResourceArn=told["TrainingJobArn"])["Tags"]
    assert tag == {"Key": "stage", "Value": "test"}
    found = aws.sagemaker.search(
        Resource="TrainingJob",
        SearchExpression={"Filters": [{"Name": "Tags.stage", "Operator": "Equals", "Value": "test"}]},
    )
    assert [each["TrainingJob"]["TrainingJobName"] for each in found["Results"]] == ["report"]


def test_a_job_tells_what_was_asked_for_and_when_it_was_where(aws: Aws) -> None:
    aws.start("told", "report", asked={"Environment": {"A": "1"}})
    told = aws.ended("told")
    asked = request("told", HyperParameters={"do": "report"}, Environment={"A": "1"})
    assert {name: told[name] for name in asked} == asked
    assert told["EnableManagedSpotTraining"] is False

    moments = [(each["StartTime"], each["EndTime"]) for each in told["SecondaryStatusTransitions"]]
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(moments))
    assert told["CreationTime"] == moments[0][0]
    assert told["TrainingStartTime"] == moments[1][0]
    assert told["TrainingEndTime"] == told["LastModifiedTime"] == moments[-1][0] == moments[-1][1]
    seconds = (told["TrainingEndTime"] - told["TrainingStartTime"]).total_seconds()
    assert told["TrainingTimeInSeconds"] == told["BillableTimeInSeconds"] == max(1, round(seconds))


@pytest.mark.parametrize(
    ("name", "do", "told"),
    [
        ("reason", "fail", "AlgorithmError: the shop is empty, exit code: 1"),
        ("silent", "fall_over", "AlgorithmError: , exit code: 139"),
    ],
)
def test_a_failure_has_the_programs_reason(aws: Aws, name: str, do: str, told: str) -> None:
    aws.start(name, do, reason="the shop is empty")
    failed = aws.ended(name)
    assert failed["TrainingJobStatus"] == failed["SecondaryStatus"] == "Failed"
    assert failed["FailureReason"] == told
    assert states(failed) == ["Starting", "Downloading", "Training", "Failed"]
    assert "ModelArtifacts" not in failed


def test_a_long_reason_is_cut_so_that_the_exit_code_is_told(aws: Aws) -> None:
    aws.start("long", "fail", reason="x" * 1024)
    failed = aws.ended("long")
    assert len(failed["FailureReason"]) == 1024
    assert failed["FailureReason"].endswith("xxx, exit code: 1")
    assert [each["Value"] for each in failed["FinalMetricDataList"]] == [0.125]


@pytest.mark.parametrize("uri", ["s3://shop/nothing/", "s3://no-such-bucket/events/"])
def test_a_channel_of_nothing_is_refused(aws: Aws, uri: str) -> None:
    with pytest.raises(ClientError, match="ValidationException") as refused:
        aws.start("empty", "report", asked={"InputDataConfig": [channel("events", uri)]})
    told = refused.value.response["Error"]["Message"]
    assert told.startswith(f'No S3 objects found under S3 URL "{uri}" given in input data source.')
    with pytest.raises(ClientError, match="Requested resource not found"):
        aws.describe("empty")


@pytest.fixture
def around(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    """For runs in this process, without the API before them."""
    for name, value in aws_environment(aws.endpoint).items():
        monkeypatch.setenv(name, value)
    return Surroundings.of_this_process(TrainingSettings(), tmp_path)


def test_data_that_went_away_before_the_download_fails_the_job(around: Surroundings) -> None:
    asked = request("late", InputDataConfig=[channel("events", "s3://shop/gone/")])
    job = TrainingJob(asked, arn="arn")
    Run(job, around).run()
    told = job.describe()
    assert told["FailureReason"].startswith(
        "ClientError: Data download failed: No S3 objects found under S3 URL"
    )
    assert states(told) == ["Starting", "Downloading", "Failed"]
    assert not [*around.folder.iterdir()]


def test_a_job_that_is_stopped_before_it_has_an_instance_costs_nothing(around: Surroundings) -> None:
    job = TrainingJob(request("early"), arn="arn")
    assert job.stop()
    assert not job.stop()
    assert job.training_job_status == "Stopping"
    Run(job, around).run()
    told = job.describe()
    assert states(told) == ["Starting", "Stopping", "Stopped"]
    assert not {"TrainingStartTime", "TrainingTimeInSeconds", "BillableTimeInSeconds"} & told.keys()
    assert told["TrainingJobStatus"] == "Stopped"


def test_a_mistake_of_the_stand_in_fails_the_job_and_is_logged(
    around: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    job = TrainingJob(request("broken"), arn="arn")
    Run(job, dataclasses.replace(around, s3=None)).run()
    assert job.describe()["FailureReason"].startswith("InternalServerError: ")
    assert "AttributeError" in caplog.text


def test_a_model_that_has_nowhere_to_go_fails_the_job(aws: Aws) -> None:
    aws.start("nowhere", "report", asked={"OutputDataConfig": {"S3OutputPath": "s3://no-such-bucket/jobs"}})
    failed = aws.ended("nowhere")
    assert failed["FailureReason"].startswith("ClientError: Artifact upload failed: ")
    assert "NoSuchBucket" in failed["FailureReason"]


def test_a_stopped_job_gets_sigterm_and_its_model_is_kept(aws: Aws) -> None:
    aws.start("stopped", "wait")
    until(lambda: aws.lines("stopped") == ["waiting"])
    assert aws.describe("stopped")["SecondaryStatus"] == "Training"
    aws.sagemaker.stop_training_job(TrainingJobName="stopped")
    assert aws.describe("stopped")["TrainingJobStatus"] in ("Stopping", "Stopped")
    told = aws.ended("stopped")
    assert told["TrainingJobStatus"] == told["SecondaryStatus"] == "Stopped"
    assert states(told) == ["Starting", "Downloading", "Training", "Stopping", "Uploading", "Stopped"]
    assert aws.archive(told["ModelArtifacts"]["S3ModelArtifacts"]) == {"stopped": b"by SIGTERM"}
    assert "FailureReason" not in told

    with pytest.raises(ClientError, match="rejected because the training job is in status Stopped"):
        aws.sagemaker.stop_training_job(TrainingJobName="stopped")
    with pytest.raises(ClientError, match="Requested resource not found"):
        aws.sagemaker.stop_training_job(TrainingJobName="unknown")


def test_a_program_that_ignores_sigterm_is_killed(aws: Aws) -> None:
    aws.start("stubborn", "refuse_to_stop")
    until(lambda: len(aws.lines("stubborn")) == 1)
    (pid,) = map(int, aws.lines("stubborn"))
    assert is_alive(pid)
    aws.sagemaker.stop_training_job(TrainingJobName="stubborn")
    told = aws.ended("stubborn")
    assert (told["TrainingJobStatus"], told["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert not is_alive(pid)
    assert "ModelArtifacts" not in told


@pytest.mark.parametrize(
    ("name", "limits", "status"),
    [
        ("too-long", {"MaxRuntimeInSeconds": 1}, "MaxRuntimeExceeded"),
        ("too-late", {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}, "MaxWaitTimeExceeded"),
    ],
)
def test_a_job_ends_when_its_time_is_up(aws: Aws, name: str, limits: dict[str, int], status: str) -> None:
    asked = {"StoppingCondition": limits, "EnableManagedSpotTraining": "MaxWaitTimeInSeconds" in limits}
    aws.start(name, "wait", asked=asked)
    told = aws.ended(name)
    assert (told["TrainingJobStatus"], told["SecondaryStatus"]) == ("Stopped", status)
    assert states(told)[-3:] == ["Stopping", "Uploading", status]
    assert told["TrainingTimeInSeconds"] >= 1


def test_a_spot_job_loses_its_instance_once_and_goes_on_from_its_checkpoint(aws: Aws) -> None:
    aws.start("spot-job", "count", asked=spot("kept/spot"), until="2")
    told = aws.ended("spot-job")
    once = ["Starting", "Downloading", "Training"]
    assert states(told) == [*once, "Interrupted", *once, "Uploading", "Completed"]
    # What the first instance had in the folder of the model went with it.
    assert aws.archive(told["ModelArtifacts"]["S3ModelArtifacts"]) == {"count": b"2"}
    assert len(aws.streams("spot-job")) == 2
    assert aws.lines("spot-job") == ["begins with 0", "waiting", "begins with 1"]

    times = {each["Status"]: each for each in told["SecondaryStatusTransitions"]}
    assert told["TrainingTimeInSeconds"] == told["BillableTimeInSeconds"]
    assert told["TrainingStartTime"] < times["Interrupted"]["StartTime"] < told["TrainingEndTime"]


def test_a_spot_job_without_checkpoints_begins_anew(aws: Aws) -> None:
    asked = spot("nowhere")
    del asked["CheckpointConfig"]
    aws.start("spot-anew", "wait", asked=asked)
    until(lambda: aws.lines("spot-anew") == ["waiting", "waiting"])
    aws.sagemaker.stop_training_job(TrainingJobName="spot-anew")
    assert states(aws.ended("spot-anew")).count("Interrupted") == 1


def test_another_job_of_the_same_place_goes_on_from_its_checkpoint(aws: Aws) -> None:
    aws.start("first", "count", asked=spot("kept/shared"), until="1")
    assert aws.ended("first")["TrainingJobStatus"] == "Completed"
    aws.start("second", "count", asked=spot("kept/shared/"), until="2")
    assert aws.archive(aws.ended("second")["ModelArtifacts"]["S3ModelArtifacts"]) == {"count": b"2"}
    assert aws.lines("second") == ["begins with 1"]
    kept = aws.s3.list_objects_v2(Bucket="shop", Prefix="kept/shared/")["Contents"]
    assert "kept/shared/count" in [each["Key"] for each in kept]


def test_a_name_is_taken_for_good(aws: Aws) -> None:
    aws.start("taken", "fail", reason="no matter")
    aws.ended("taken")
    with pytest.raises(aws.sagemaker.exceptions.ResourceInUse) as refused:
        aws.start("taken", "report")
    arn = "arn:aws:sagemaker:us-east-1:123456789012:training-job/taken"
    assert refused.value.response["Error"]["Message"] == (
        "Training job names must be unique within an AWS account and region, and a training job with this "
        f"name already exists ({arn})"
    )
    assert aws.describe("taken")["TrainingJobStatus"] == "Failed"


METRIC = {"TrainingImage": "i", "TrainingInputMode": "File"}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"TrainingJobName": "a_b"},
            r"1 validation error detected: Value 'a_b' at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular expression pattern: \[a-zA-Z0-9\]\(-\*\[a-zA-Z0-9\]\)\{0,62\}$",
        ),
        ({"TrainingJobName": "a" * 64}, "at 'trainingJobName' .* length less than or equal to 63"),
        (
            {"ResourceConfig": {"InstanceType": "ml.none", "InstanceCount": 1, "VolumeSizeInGB": 1}},
            r"Value 'ml.none' at 'resourceConfig.instanceType' .* enum value set: \[.*ml.m5.large",
        ),
        (
            {"InputDataConfig": [channel("events", "ftp://shop/events")]},
            r"'inputDataConfig.1.member.dataSource.s3DataSource.s3Uri' .* regular expression",
        ),
        ({"HyperParameters": {"do": "x" * 2501}}, "at 'hyperParameters.do.member' .* length"),
        (
            {"RoleArn": "the role for trainings", "TrainingJobName": "-"},
            r"2 validation errors detected: (?=.*'roleArn')(?=.*'trainingJobName').*; ",
        ),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}}, "only supported when"),
        ({"EnableManagedSpotTraining": True}, "Invalid MaxWaitTimeInSeconds. It must be present"),
        (
            {"InputDataConfig": [channel("events", "s3://shop/events/")] * 2},
            "Channel names must be unique; events is there 2 times",
        ),
        (
            {"AlgorithmSpecification": {**METRIC, "MetricDefinitions": [{"Name": "a", "Regex": "a=("}]}},
            "Invalid regular expression of the metric a: missing",
        ),
        (
            {"AlgorithmSpecification": {**METRIC, "MetricDefinitions": [{"Name": "a", "Regex": "a=."}]}},
            "Invalid regular expression of the metric a: it has no group",
        ),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}},
            "The local SageMaker can't do this: ResourceConfig of more than one instance",
        ),
        (
            {"CheckpointConfig": {"S3Uri": "s3://shop/c", "LocalPath": "/opt/mlx"}},
            "can't do this: CheckpointConfig.LocalPath /opt/mlx, which isn't below /opt/ml",
        ),
        (
            {"InputDataConfig": [channel("events", "https://s3.amazonaws.com/shop/events")]},
            "can't do this: https://s3.amazonaws.com/shop/events, which doesn't begin with s3://",
        ),
        (
            {"AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "Pipe"}},
            "can't do this: the input mode Pipe",
        ),
    ],
)
def test_a_bad_request_is_refused_with_the_field_and_what_it_takes(
    aws: Aws, asked: dict[str, Any], told: str
) -> None:
    with pytest.raises(ClientError, match=rf"\(ValidationException\).*: .*{told}"):
        aws.sagemaker.create_training_job(**{**request("bad"), **asked})


def test_jobs_are_listed_by_name_status_and_time_in_pages(aws: Aws) -> None:
    for number in (1, 2, 3):
        aws.start(f"listed-{number}", "fail", reason="no matter")
    ended = [aws.ended(f"listed-{number}") for number in (1, 2, 3)]

    def names(**asked: Any) -> list[str]:
        pages = aws.sagemaker.get_paginator("list_training_jobs").paginate(NameContains="LISTED-", **asked)
        return [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]

    assert names(MaxResults=2) == names() == ["listed-1", "listed-2", "listed-3"]
    assert names(SortOrder="Descending", SortBy="Name", MaxResults=1) == ["listed-3", "listed-2", "listed-1"]
    assert names(StatusEquals="Completed") == []
    assert names(CreationTimeAfter=ended[1]["CreationTime"]) == ["listed-2", "listed-3"]
    assert names(CreationTimeBefore=ended[1]["CreationTime"]) == ["listed-1", "listed-2"]
    (first,) = aws.sagemaker.list_training_jobs(NameContains="listed-1")["TrainingJobSummaries"]
    assert first == {name: ended[0][name] for name in first}
    assert {"TrainingJobStatus", "SecondaryStatus", "TrainingEndTime"} <= first.keys()
    with pytest.raises(ClientError, match="at 'sortBy' failed to satisfy constraint"):
        names(SortBy="Colour")


def start_stubborn(aws: Aws) -> int:
    """The process of a job that nothing but SIGKILL ends, on an AWS that has nothing yet."""
    aws.s3.create_bucket(Bucket="shop")
    aws.s3.put_object(Bucket="shop", Key="events/a", Body=b"one")
    aws.start("job", "refuse_to_stop")
    until(lambda: len(aws.lines("job")) == 1)
    (pid,) = map(int, aws.lines("job"))
    assert is_alive(pid)
    return pid


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.parametrize("is_killed", [True, False])
def test_jobs_end_with_a_reset_and_with_the_server(tmp_path: Path, is_killed: bool) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    training = TrainingSettings(program=(sys.executable, "-I", "-S", str(tmp_path / "program.py")))
    with running_aws(log=tmp_path / "log", training=training) as endpoint:
        aws = Aws.at(endpoint)
        pid = start_stubborn(aws)
        server = int(Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[1])
        arguments = Path(f"/proc/{server}/cmdline").read_text().split("\0")
        folder = Path(arguments[arguments.index("--folder") + 1])
        assert [*folder.iterdir()]

        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")).close()
        assert not is_alive(pid)
        assert not [*folder.iterdir()]
        with pytest.raises(ClientError, match="Requested resource not found"):
            aws.describe("job")

        pid = start_stubborn(aws)
        aws.close()
        if is_killed:
            os.kill(server, signal.SIGKILL)
            wait_until_dead(pid)
    assert not is_alive(pid)
    assert not folder.exists()


def test_moto_is_as_this_relies_on() -> None:
    """A new moto that fails here has to be looked at: the server would answer as if nothing were registered."""
    assert sagemaker_backends.backend is SageMakerModelBackend
    assert isinstance(SageMakerModelBackend(REGION, "1").training_jobs, dict)
    backend = TrainingBackend(REGION, "1")
    assert backend.url_paths == {"/$": TrainingResponse.dispatch}
    ours = {"create_training_job", "describe_training_job", "list_training_jobs", "stop_training_job"}
    assert ours <= set(method_names_from_class(TrainingResponse))
    assert not hasattr(SageMakerResponse, "stop_training_job"), "moto stops jobs now: is ours still needed?"


def test_a_shop_is_trained_on_as_the_deployed_request_asks_though_the_instance_is_lost(
    bucket: str, s3_server: str, mlflow_server: str, tmp_path: Path
) -> None:
    generate_shop(ShopSettings(users=200, items=60, days=30, seed=1), tmp_path / "shop.parquet")
    import_events([tmp_path / "shop.parquet"], f"s3://{bucket}")
    asked = training_job(
        Config.of({"stage": "dev"}),
        image="training:1",
        role=ROLE,
        key="arn:aws:kms:us-east-1:123456789012:key/1",
        events=bucket,
        recommendations=bucket,
        subnets=["subnet-1"],
        security_group="sg-1",
        environment={"RECOMMENDATIONS_URI": f"s3://{bucket}", "MLFLOW_TRACKING_URI": mlflow_server},
    )
    # As whoever starts a job does: there is no catalogue.
    asked["InputDataConfig"] = asked["InputDataConfig"][:1]
    asked["CheckpointConfig"]["S3Uri"] += "run-1"
    name = "shop-dev-retrain-1"
    training = TrainingSettings(image_environment={"CODE_VERSION": "abc"}, interrupt_spot="shop-dev-*")
    elsewhere = dict.fromkeys(("AWS_ENDPOINT_URL_S3", "MLFLOW_S3_ENDPOINT_URL"), s3_server)
    with running_aws(log=tmp_path / "log", training=training, elsewhere=elsewhere) as endpoint:
        aws = Aws.at(endpoint)
        aws.sagemaker.create_training_job(TrainingJobName=name, HyperParameters=HYPERPARAMETERS, **asked)
        told = aws.ended(name, every=1)
        lines = aws.lines(name)
        aws.close()

    assert told["TrainingJobStatus"] == "Completed", told.get("FailureReason")
    once = ["Starting", "Downloading", "Training"]
    assert states(told) == [*once, "Interrupted", *once, "Uploading", "Completed"]
    assert any("stopped by SIGTERM" in line for line in lines)
    assert any("taken from the checkpoint" in line for line in lines)

    uri = told["ModelArtifacts"]["S3ModelArtifacts"].removeprefix(f"s3://{bucket}/")
    with tarfile.open(fileobj=io.BytesIO(Folder(f"s3://{bucket}").read(uri))) as tar:
        gate = tar.extractfile(GATE_NAME)
        assert gate is not None
        decision = GateDecision.from_json(gate.read())
    assert decision.outcome is Outcome.PROMOTED
    manifest = read_manifest(Folder(f"s3://{bucket}"), decision.version)
    run = MlflowClient(mlflow_server).get_run(manifest.mlflow["run_id"])
    assert run.info.run_name == name
    assert manifest.code_version == "abc"

    found = {metric["MetricName"]: metric["Value"] for metric in told["FinalMetricDataList"]}
    assert found.keys() == {metric["Name"] for metric in metric_definitions()}
    assert found["session.served.recall_at_10"] == pytest.approx(
        manifest.metrics["session"]["served"]["recall@10"], abs=1e-3
    )
