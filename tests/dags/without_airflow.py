"""The retrain's tasks one after the other, in one process that can be killed anywhere."""

import json
import sys
import time

import boto3
from tasks.canary import Limits, try_version
from tasks.deployment import Deployment, training_request
from tasks.events import Demands, export, validate
from tasks.gate import read_decision
from tasks.registry import crown
from tasks.training_job import find_job, plan_training
from tasks.versions import go_live, load, served_version

DEMANDS = Demands(window_days=28, max_bad_share=0.05, allow_empty_days=True, max_drift=None)


def main(version: str) -> None:
    """Do all of it, so that `version` is live."""
    deployment, moment = Deployment.read(), "2026-01-01T00:00:00Z"
    request = plan_training(
        training_request(),
        deployment,
        moment=moment,
        served_version=served_version(deployment),
        hyperparameters={"version": version},
    )
    export(deployment)
    validate(deployment, moment=moment, name=version, demands=DEMANDS)
    decision = read_decision(train(request))
    load(deployment, decision["version"])
    try_version(deployment, version, Limits(max_seconds=60, min_overlap=0))
    live = go_live(deployment, version)
    crown(deployment, version)
    json.dump(live, sys.stdout)


def train(request: dict[str, object]) -> str:
    """The model of the job, which is made, or found where an earlier try has made it."""
    sagemaker = boto3.client("sagemaker")
    job = find_job(sagemaker, str(request["TrainingJobName"]))
    if not job.exists:
        sagemaker.create_training_job(**{**request, "TrainingJobName": job.name})
    while (told := sagemaker.describe_training_job(TrainingJobName=job.name))[
        "TrainingJobStatus"
    ] == "InProgress":
        time.sleep(0.05)
    return str(told["ModelArtifacts"]["S3ModelArtifacts"])


if __name__ == "__main__":
    main(sys.argv[1])
