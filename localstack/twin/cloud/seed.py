"""A small shop in the deployed cloud: events in S3, a model that SageMaker trains, a version that is live."""

import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from contract.gate import GATE_NAME, GateDecision, Outcome
from training.generate_shop import generate_shop
from training.shop.simulation import ShopSettings
from twin.cloud.clients import client
from twin.cloud.deployment import Deployment

SHOP = ShopSettings(users=600, items=200, days=40, seed=7)
_POLL_SECONDS = 0.5


class SeedError(Exception):
    """The shop could not be brought in; the message says at which step, and why."""


def seed(deployment: Deployment) -> str:
    """Bring it in; the version that is live then. Raises SeedError."""
    described = deployment.described()
    folder = deployment.parts.folder / "shop"
    events, items = folder / "events.parquet", folder / "items.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    generate_shop(SHOP, events, catalogue=items)
    environment = {**deployment.parts.environment(), "RECOMMENDATIONS_URI": described["recommendations_uri"]}
    bring_in = ("--out", described["events_uri"], "--catalogue", str(items), "--allow-empty-days")
    _run(environment, "training.import_events", str(events), *bring_in)
    version = _train(deployment, f"{described['prefix']}-seed-{int(time.time())}")
    environment["DATABASE_URL"] = deployment.parts.database_url
    _run(environment, "training.versions", "load", version)
    _run(environment, "training.catalogue", "load", "--catalogue", described["events_uri"])
    return version


def _train(deployment: Deployment, name: str) -> str:
    """The version that a job as the deployment describes it publishes."""
    parts = deployment.parts
    with client(parts.endpoint, "s3") as s3:
        found = s3.get_object(Bucket=deployment.bucket("Dags"), Key="dags/training_job.json")
        request: dict[str, Any] = json.loads(found["Body"].read())
    request["CheckpointConfig"]["S3Uri"] += name
    with client(parts.sagemaker, "sagemaker") as sagemaker:
        sagemaker.create_training_job(**request, TrainingJobName=name, HyperParameters={})
        while (told := sagemaker.describe_training_job(TrainingJobName=name))["TrainingJobStatus"] in (
            "InProgress",
            "Stopping",
        ):
            time.sleep(_POLL_SECONDS)
    if told["TrainingJobStatus"] != "Completed":
        raise SeedError(f"the training job {name} is {told['TrainingJobStatus']}: {told['FailureReason']}")
    return _promoted(deployment, told["ModelArtifacts"]["S3ModelArtifacts"])


def _promoted(deployment: Deployment, archive: str) -> str:
    """The version that the gate of a job let pass, out of its model's archive in S3."""
    where = urlsplit(archive)
    with client(deployment.parts.endpoint, "s3") as s3:
        content = s3.get_object(Bucket=where.netloc, Key=where.path.lstrip("/"))["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(content)) as model:
        written = model.extractfile(GATE_NAME)
        assert written is not None  # noqa: S101 - a completed training has written it
        decision = GateDecision.from_json(written.read())
    if decision.outcome is not Outcome.PROMOTED:
        raise SeedError(
            f"there is nothing to load: the gate's outcome is {decision.outcome}, {decision.reason}"
        )
    return decision.version


def _run(environment: Mapping[str, str], module: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SeedError(f"`python -m {module} {' '.join(arguments)}` failed: {done.stderr.strip()}")
