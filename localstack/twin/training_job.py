"""A training job without SageMaker's API: the container's program under the `/opt/ml` contract, waited for.

The channels are downloaded from a bucket or a folder, the hyperparameters become strings, the reason of a
failure comes from `output/failure`. `twin.sagemaker` has the API.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from training.storage import Folder
from twin.errors import ServerError
from twin.sagemaker.container import Container

PROGRAM = (sys.executable, "-m", "training.container")


class TrainingJobError(ServerError):
    """The job failed; the message is the container's own reason."""


def run_training_job(
    *,
    name: str,
    events: Folder,
    hyperparameters: Mapping[str, object],
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    catalogue: Folder | None = None,
) -> Path:
    """Run the job in `folder`, which takes the place of `/opt/ml`; the model's folder.

    `events` is the folder in S3 that holds `dt=…/` and `manifests/`, `catalogue` the one with the versions of
    the catalogue, if there are any. The process ends with the call, also when that is interrupted. Raises
    TrainingJobError.
    """
    container = Container(folder)
    _download(events, container.channel("events"))
    if catalogue:
        _download(catalogue, container.channel("catalogue"))
    container.configure("hyperparameters", {key: str(value) for key, value in hyperparameters.items()})
    try:
        container.start(PROGRAM, {**environment, "TRAINING_JOB_NAME": name}, log=log)
        status = container.wait()
    finally:
        container.stop(timeout=10)
    if status != 0:
        reason = container.failure or f"the program ended with status {status}"
        raise TrainingJobError(f"{reason} (log: {log})")
    return container.model


def _download(events: Folder, channel: Path) -> None:
    for key in events.list():
        file = channel / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(events.read(key))
