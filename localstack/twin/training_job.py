"""A SageMaker training job on this machine: the container's program under the `/opt/ml` contract.

What SageMaker does around the container is done here: the channels are downloaded from S3, the
hyperparameters become strings, the reason of a failure comes from `output/failure`.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from training.storage import Folder
from twin.errors import ServerError
from twin.processes import ending_with_parent, stop_group

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
    _download(events, folder / "input/data/events")
    if catalogue:
        _download(catalogue, folder / "input/data/catalogue")
    config = folder / "input/config/hyperparameters.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(json.dumps({key: str(value) for key, value in hyperparameters.items()}))
    (folder / "model").mkdir(exist_ok=True)
    failure = folder / "output/failure"
    failure.unlink(missing_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*ending_with_parent(signal.SIGTERM), *PROGRAM],
            env={**environment, "SAGEMAKER_BASE_DIR": str(folder), "TRAINING_JOB_NAME": name},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        status = process.wait()
    finally:
        stop_group(process.pid, signal.SIGTERM, lambda: process.poll() is not None, timeout=10)
        process.wait()
    if status != 0:
        reason = failure.read_text() if failure.exists() else f"the program ended with status {status}"
        raise TrainingJobError(f"{reason} (log: {log})")
    return folder / "model"


def _download(events: Folder, channel: Path) -> None:
    for key in events.list():
        file = channel / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(events.read(key))
