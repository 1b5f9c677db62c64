"""The training image, built and run as SageMaker runs it: `make training-image`.

A small generated shop is imported and trained on in the container, against a real S3 API and a real MLflow
server; a job with a bad hyperparameter and one that is stopped have to leave their reason. The container can
write to `/opt/ml` and `/tmp` alone.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow.tracking
from rich.console import Console

from contract.gate import GATE_NAME, GateDecision, Outcome
from contract.recommendations import Manifest
from training.errors import UserError
from training.generate_shop import generate_shop
from training.import_events import import_events
from training.publish import read_manifest
from training.shop.simulation import ShopSettings
from training.storage import Folder
from twin.container_engine import ContainerEngine, Ended, Job, find_engine
from twin.debian_base import debian_base, pip_settings
from twin.errors import MissingProgramError, ServerError
from twin.keeper import Interrupted, handle_signals
from twin.mlflow_server import running_mlflow
from twin.postgres import create_database, drop_database, running_postgres
from twin.s3 import aws_environment, create_bucket, running_s3
from twin.story import Story

ROOT = Path(__file__).parents[2]
DOCKERFILE = Path("training/Dockerfile")
IMAGE = "shop-training"
SMALL_SHOP = ShopSettings(users=500, items=100, days=30, seed=7)
HYPERPARAMETERS = {
    "als_factors": "16",
    "evaluation_days": "7",
    "evaluation_windows": "1",
    "fit_windows": "2",
    "ranker_iterations": "20",
}
WRITABLE = ("checkpoints", "model", "output")
"""What a training writes to below `/opt/ml`."""
BUCKET = "shop"
ARTIFACTS_BUCKET = "mlflow-artifacts"
MLFLOW_DATABASE = "shop_training_image_mlflow"
ROOT_USERS = ("", "0", "root")
STOP_SECONDS = 120
"""What SageMaker leaves a job between SIGTERM and SIGKILL."""


class TrainingImageError(Exception):
    """The image isn't as it should be; the message says what was expected."""


@dataclass(frozen=True)
class Services:
    """What a job finds around it."""

    mlflow_uri: str
    aws: Mapping[str, str]
    bucket: str = BUCKET

    @property
    def environment(self) -> dict[str, str]:
        """What SageMaker is told to set."""
        return {
            **self.aws,
            "MLFLOW_TRACKING_URI": self.mlflow_uri,
            "RECOMMENDATIONS_URI": f"s3://{self.bucket}",
        }


def main(arguments: list[str] | None = None) -> int:
    """Build, run, check; the exit status."""
    options = _parser().parse_args(arguments)
    console = Console(soft_wrap=True)
    story = Story(console)
    handle_signals()
    try:
        run(options.base, options.pip_conf, options.folder.absolute(), story)
    except (UserError, ServerError, MissingProgramError, TrainingImageError) as error:
        console.print(f"training-image: failed at the step '{story.current}': {error}", markup=False)
        console.print(f"training-image: logs are in {options.folder}", markup=False)
        return 1
    except Interrupted:
        console.print(f"training-image: interrupted at the step '{story.current}'; everything is stopped")
        return 130
    console.print("training-image: ok", highlight=False)
    return 0


def run(base: str | None, pip_conf: Path | None, folder: Path, story: Story) -> None:
    """Every step. Raises what fails, after stopping whatever was started."""
    empty(folder)
    engine = find_engine()
    commit = commit_of(ROOT)
    with story.step("base", "Finding the image to build on"):
        base = base or default_base()
        if not engine.obtain(base):
            story.say(f"{base} cannot be pulled; Debian's packages make a base instead (a few minutes once)")
            base = debian_base(engine, log=folder / "debootstrap.log")
            pip_conf = pip_conf or pip_settings(folder)
        story.say(f"{engine.name}: {base}")
    image = f"{IMAGE}:{commit}"
    with story.step("build", f"Building {image}"):
        engine.build(
            image,
            dockerfile=DOCKERFILE,
            context=ROOT,
            arguments={"BASE": base, "CODE_VERSION": commit},
            secrets={"pip.conf": pip_conf} if pip_conf else {},
            log=folder / "build.log",
        )
    _expect(engine.user(image) not in ROOT_USERS, "an image whose user isn't root")
    size = engine.size(image)
    with contextlib.ExitStack() as stack:
        with story.step("start", "Starting S3 and MLflow"):
            services = stack.enter_context(running_services(folder / "logs"))
            os.environ.update(services.aws)
        with story.step("train", "Training in the container"):
            told = a_training_ends_in_a_version(engine, image, folder / "trained", services, commit)
        story.say(told)
        with story.step("fail", "Running a job with a bad hyperparameter"):
            told = a_bad_hyperparameter_leaves_its_reason(engine, image, folder / "failed", services)
        story.say(told)
        with story.step("stop", "Stopping a job"):
            told = a_stopped_job_leaves_its_reason(engine, image, folder / "stopped", services)
        story.say(told)
    story.say(f"{image}: {size / 1e6:,.0f} MB")


@contextlib.contextmanager
def running_services(logs: Path) -> Iterator[Services]:
    """An S3 API with two buckets, and MLflow over a database of its own."""
    with (
        running_postgres(log=logs / "postgres.log") as postgres_url,
        running_s3(log=logs / "s3.log") as endpoint,
    ):
        aws = aws_environment(endpoint)
        for bucket in (BUCKET, ARTIFACTS_BUCKET):
            create_bucket(aws, bucket)
        drop_database(postgres_url, MLFLOW_DATABASE)
        try:
            with running_mlflow(
                database_url=create_database(postgres_url, MLFLOW_DATABASE),
                artifacts=f"s3://{ARTIFACTS_BUCKET}",
                aws=aws,
                log=logs / "mlflow.log",
            ) as mlflow_uri:
                yield Services(mlflow_uri, aws)
        finally:
            drop_database(postgres_url, MLFLOW_DATABASE)


def a_training_ends_in_a_version(
    engine: ContainerEngine, image: str, folder: Path, services: Services, commit: str
) -> str:
    """Train on a small shop; what came out. Raises TrainingImageError."""
    job = lay_out(folder, HYPERPARAMETERS, services, with_events=True)
    ended = engine.run(image, job)
    return trained(job, ended, services, commit)


def trained(job: Job, ended: Ended, services: Services, commit: str) -> str:
    """What a job's training came to: a version, published and logged. Raises TrainingImageError."""
    _expect(ended.status == 0, f"status 0, found {ended.status}: {job.failure or ended.tail}")
    gate = job.opt_ml / "model" / GATE_NAME
    _expect(gate.exists(), f"the gate's decision in {gate}: {ended.tail}")
    decision = GateDecision.from_json(gate.read_text())
    _expect(decision.outcome is Outcome.PROMOTED, f"the gate to promote: {decision.reason}")
    manifest = read_manifest(Folder(f"s3://{services.bucket}"), decision.version)
    _expect(manifest.code_version == commit, f"code version {commit}, found {manifest.code_version}")
    _expect_logged(manifest, services)
    return f"{decision.outcome}: {manifest.version}, {len(manifest.files)} files in S3; {decision.reason}"


def a_bad_hyperparameter_leaves_its_reason(
    engine: ContainerEngine, image: str, folder: Path, services: Services
) -> str:
    """Misspell a hyperparameter; the failure's reason. Raises TrainingImageError."""
    job = lay_out(folder, {"als_factor": "16"}, services, with_events=False)
    ended = engine.run(image, job)
    _expect(ended.status == 1, f"status 1, found {ended.status}: {ended.tail}")
    _expect("als_factor is unknown" in job.failure, f"the field in output/failure, found {job.failure!r}")
    return f"status 1: {job.failure}"


def a_stopped_job_leaves_its_reason(
    engine: ContainerEngine, image: str, folder: Path, services: Services
) -> str:
    """Send SIGTERM to a job that is evaluating; the failure's reason. Raises TrainingImageError."""
    job = lay_out(folder, HYPERPARAMETERS, services, with_events=True)
    with engine.started(image, job) as running:
        running.wait_for_line("step=evaluate", timeout=STOP_SECONDS)
        ended = running.stop(timeout=STOP_SECONDS)
    _expect(ended.status == 1, f"status 1, found {ended.status}: {ended.tail}")
    _expect("stopped by SIGTERM" in job.failure, f"the reason in output/failure, found {job.failure!r}")
    return f"status 1: {job.failure}"


def lay_out(
    folder: Path, hyperparameters: Mapping[str, str], services: Services, *, with_events: bool
) -> Job:
    """A job's `/opt/ml`: what it reads, and the folders that the image's user may write to."""
    opt_ml = folder / "opt-ml"
    for name in ("input/config", "input/data", *WRITABLE):
        (opt_ml / name).mkdir(parents=True)
    (opt_ml / "input/config/hyperparameters.json").write_text(json.dumps(dict(hyperparameters)))
    if with_events:
        shop, items = folder / "shop.parquet", folder / "items.csv"
        generate_shop(SMALL_SHOP, shop, catalogue=items)
        # What an import writes are the channels: events/ and catalogue/.
        import_events([shop], opt_ml / "input/data", catalogue=[items], allow_empty_days=True)
    for name in WRITABLE:
        (opt_ml / name).chmod(0o777)  # the image's user is another one here
    return Job(opt_ml, {**services.environment, "TRAINING_JOB_NAME": folder.name}, folder / "container.log")


def empty(folder: Path) -> None:
    """A new folder in the old one's place."""
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except PermissionError as error:
        raise TrainingImageError(f"{error.filename}: is the container's user's; delete {folder}") from error
    folder.mkdir(parents=True)


def default_base() -> str:
    """The base that the Dockerfile names."""
    found = re.search(r"^ARG BASE=(\S+)", (ROOT / DOCKERFILE).read_text(), re.MULTILINE)
    if not found:
        raise TrainingImageError(f"{DOCKERFILE}: expected a line ARG BASE=image")
    return found[1]


def commit_of(checkout: Path) -> str:
    """The commit that is built, `-dirty` where files differ from it; `unknown` where there is no git."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() if told.returncode == 0 else "unknown"


def _expect(holds: bool, expected: str) -> None:
    if not holds:
        raise TrainingImageError(f"expected {expected}")


def _expect_logged(manifest: Manifest, services: Services) -> None:
    client = mlflow.tracking.MlflowClient(services.mlflow_uri)
    logged = client.get_run(manifest.mlflow["run_id"])
    _expect(logged.info.status == "FINISHED", f"a finished run in MLflow, found {logged.info.status}")
    tag = logged.data.tags.get("code_version")
    _expect(tag == manifest.code_version, f"MLflow's tag code_version {manifest.code_version}, found {tag}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m twin.training_image", description=__doc__)
    parser.add_argument("--base", help="the image to build on; default: the one that the Dockerfile names")
    parser.add_argument(
        "--pip-conf", type=Path, help="pip's settings for the build, such as an index of your own"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("build/training-image"), help="where jobs and logs go"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
