"""The training job of a run: its name, its request, and which try is on its way, in the local SageMaker."""

import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from tasks.training_job import MAX_TRIES, Job, describe_failure, find_job, job_name, last_job, plan_training
from twin.aws import running_aws
from twin.s3 import REGION, aws_environment, create_bucket
from twin.sagemaker.settings import TrainingSettings

from tests.dags.deployments import deployment
from training.errors import BadInputError
from training.storage import Folder

PROGRAM = """
import json, os, pathlib, sys, time
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
given = json.loads((base / "input/config/hyperparameters.json").read_text())
if given["do"] == "wait":
    time.sleep(600)
if given["do"] == "fail":
    (base / "output/failure").write_text("too little data")
    sys.exit(1)
(base / "model/done").write_text("x")
"""
MOMENT = "2026-11-30T03:17:00Z"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    program = tmp_path_factory.mktemp("program") / "program.py"
    program.write_text(PROGRAM)
    settings = TrainingSettings(program=(sys.executable, str(program)), stop_seconds=0)
    with running_aws(log=program.with_name("log"), training=settings) as endpoint:
        environment = aws_environment(endpoint)
        create_bucket(environment, "shop")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            Folder("s3://shop").write("events/one", b"x")
        yield environment


@pytest.fixture
def sagemaker(aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in aws.items():
        monkeypatch.setenv(name, value)
    return boto3.client("sagemaker", region_name=REGION)


def template() -> dict[str, Any]:
    return {
        "AlgorithmSpecification": {"TrainingImage": "image:1", "TrainingInputMode": "File"},
        "RoleArn": "arn:aws:iam::000000000000:role/training",
        "InputDataConfig": [channel("events"), channel("catalogue")],
        "OutputDataConfig": {"S3OutputPath": "s3://shop/jobs/"},
        "ResourceConfig": {"InstanceType": "ml.m7i.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "CheckpointConfig": {"S3Uri": "s3://shop/checkpoints/"},
    }


def channel(name: str) -> dict[str, Any]:
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": f"s3://shop/{name}/",
        "S3DataDistributionType": "FullyReplicated",
    }
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def planned(do: str, **hyperparameters: Any) -> dict[str, Any]:
    return plan_training(
        template(),
        deployment(),
        moment=MOMENT,
        served_version=None,
        hyperparameters={"do": do, **hyperparameters},
    )


def made(sagemaker: Any, request: dict[str, Any], name: str, *, wait: bool = True) -> str:
    sagemaker.create_training_job(**{**request, "TrainingJobName": name})
    deadline = time.monotonic() + 60
    while wait and (status := sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]) in (
        "InProgress",
        "Stopping",
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return status if wait else "InProgress"


def test_a_request_says_what_the_run_is_and_leaves_an_empty_catalogue_out(sagemaker: Any) -> None:
    request = planned("publish", als_factors=8)
    assert request["HyperParameters"] == {
        "as_of": MOMENT,
        "served_version": "",
        "do": "publish",
        "als_factors": "8",
    }
    assert [each["ChannelName"] for each in request["InputDataConfig"]] == ["events"]
    assert request["CheckpointConfig"]["S3Uri"] == f"s3://shop/checkpoints/{request['TrainingJobName']}"
    assert request["TrainingJobName"].startswith("shop-local-20261130T031700Z-")


def test_a_catalogue_that_is_there_is_a_channel(sagemaker: Any) -> None:
    folder = Folder("s3://shop")
    folder.write("catalogue/v/manifest.json", b"{}")
    names = [each["ChannelName"] for each in planned("publish")["InputDataConfig"]]
    folder.delete("catalogue/v/manifest.json")
    assert names == ["events", "catalogue"]


def test_the_same_run_has_the_same_name_whatever_is_served_meanwhile(sagemaker: Any) -> None:
    first, again = (
        plan_training(
            template(), deployment(), moment=MOMENT, served_version=served, hyperparameters={"seed": 1}
        )
        for served in (None, "v1")
    )
    other = planned("publish", seed=1)
    assert first["TrainingJobName"] == again["TrainingJobName"] != other["TrainingJobName"]


def test_a_deployment_that_was_made_anew_does_not_find_the_jobs_of_the_one_before(sagemaker: Any) -> None:
    names = {
        plan_training(
            template(),
            deployment(recommendations_uri=uri, events_uri="s3://shop"),
            moment=MOMENT,
            served_version=None,
            hyperparameters={},
        )["TrainingJobName"]
        for uri in ("s3://shop-1", "s3://shop-2")
    }
    assert len(names) == 2


def test_names_have_room_for_every_try_and_a_prefix_that_leaves_none_is_refused() -> None:
    name = job_name("s" * 30, MOMENT, {})
    assert len(f"{name}-{MAX_TRIES}") <= 63
    with pytest.raises(
        BadInputError, match="the prefix s+ has to be of letters, digits and hyphens, at most"
    ):
        job_name("s" * 60, MOMENT, {})
    with pytest.raises(BadInputError, match="has to be of letters"):
        job_name("shop_local", MOMENT, {})


def test_a_first_try_is_made_under_the_planned_name(sagemaker: Any) -> None:
    name = planned("publish", case="first")["TrainingJobName"]
    assert find_job(sagemaker, name) == Job(name, None)
    with pytest.raises(BadInputError, match="there is no training job"):
        last_job(sagemaker, name)


def test_a_job_on_its_way_is_found_and_one_that_was_stopped_has_a_successor(sagemaker: Any) -> None:
    request = planned("wait", case="found")
    name = request["TrainingJobName"]
    made(sagemaker, request, name, wait=False)
    assert find_job(sagemaker, name) == Job(name, "InProgress")
    sagemaker.stop_training_job(TrainingJobName=name)
    assert find_job(sagemaker, name) == Job(f"{name}-2", None)
    assert last_job(sagemaker, name).name == name


def test_a_job_that_is_done_is_taken_as_it_is(sagemaker: Any) -> None:
    request = planned("publish", case="done")
    name = request["TrainingJobName"]
    assert made(sagemaker, request, name) == "Completed"
    assert find_job(sagemaker, name) == Job(name, "Completed")


def test_only_after_a_failure_there_is_another_and_each_says_why(sagemaker: Any) -> None:
    request = planned("fail", case="failed")
    name = request["TrainingJobName"]
    assert made(sagemaker, request, name) == "Failed"
    assert find_job(sagemaker, name) == Job(f"{name}-2", None)
    assert made(sagemaker, request, f"{name}-2") == "Failed"
    assert find_job(sagemaker, name) == Job(f"{name}-3", None)
    told = describe_failure(sagemaker.describe_training_job(TrainingJobName=last_job(sagemaker, name).name))
    assert told == f"the training job {name}-2 is Failed: AlgorithmError: too little data, exit code: 1"


def test_after_too_many_failures_somebody_has_to_look(
    monkeypatch: pytest.MonkeyPatch, sagemaker: Any
) -> None:
    monkeypatch.setattr("tasks.training_job.MAX_TRIES", 1)
    request = planned("fail", case="often")
    made(sagemaker, request, request["TrainingJobName"])
    with pytest.raises(BadInputError, match="1 training jobs .* have failed: mend what they say"):
        find_job(sagemaker, request["TrainingJobName"])
