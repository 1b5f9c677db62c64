"""What SageMaker does for a job: a thread that takes it from Starting to its end."""

import logging
import tarfile
import tempfile
import threading
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from twin.sagemaker.attempt import Attempt
from twin.sagemaker.channels import NoDataError
from twin.sagemaker.job import MAX_REASON_LENGTH, StopAskedError, TrainingJob
from twin.sagemaker.metrics import Metrics
from twin.sagemaker.s3_prefix import S3Prefix
from twin.sagemaker.surroundings import Surroundings

_INTERNAL_ERROR: Final = "InternalServerError: We encountered an internal error.  Please try again."
_S3_ERRORS: Final = (Boto3Error, BotoCoreError, ClientError)

log = logging.getLogger(__name__)


class FailedError(Exception):
    """The job has failed; the message is its FailureReason."""


class AbandonedError(Exception):
    """The server ends; nobody will ask for the job any more."""


class Run(threading.Thread):
    """The way of one job."""

    def __init__(self, job: TrainingJob, around: Surroundings) -> None:
        super().__init__(name=f"training job {job.training_job_name}", daemon=True)
        self._job = job
        self._around = around
        self._metrics = Metrics(job.request["AlgorithmSpecification"].get("MetricDefinitions", []))
        self._was_interrupted = False
        self._is_abandoned = False

    def run(self) -> None:
        """Train; what comes of it is told by the job."""
        try:
            with tempfile.TemporaryDirectory(dir=self._around.folder, prefix="job-") as folder:
                self._train(folder)
            self._job.complete()
        except StopAskedError:
            self._job.complete()
        except FailedError as error:
            self._job.fail(str(error))
        except AbandonedError:
            pass
        except Exception:
            log.exception("training job %s", self._job.training_job_name)
            self._job.fail(_INTERNAL_ERROR)

    def abandon(self) -> None:
        """End it where it is."""
        self._is_abandoned = True

    def _train(self, folder: str) -> None:
        while (attempt := self._attempt(folder)) is None:
            self._job.enter("Interrupted")
            self._job.enter("Starting")
        self._job.metrics = self._metrics.final()
        self._upload(attempt, Path(folder))

    def _attempt(self, folder: str) -> Attempt | None:
        """The program has ended well, or was stopped; None where it lost its instance. Raises FailedError."""
        self._job.enter("Downloading")
        # Of an instance that was lost nothing is left but what is in S3.
        instance = Path(tempfile.mkdtemp(dir=folder))
        attempt = Attempt(self._job, self._around, instance, self._metrics)
        try:
            attempt.prepare()
        except (NoDataError, *_S3_ERRORS) as error:
            raise FailedError(f"ClientError: Data download failed: {error}") from error
        self._job.enter("Training")
        with attempt:
            status = self._watch(attempt)
            if status is None:
                return None
        if status != 0 and not self._job.stops_as:
            self._job.metrics = self._metrics.final()
            raise FailedError(_reason(attempt.container.failure or "", status))
        return attempt

    def _watch(self, attempt: Attempt) -> int | None:
        """The exit status, 137 after a SIGKILL; None where the instance was lost."""
        while (status := self._look(attempt)) is None:
            if limit := self._job.limit_exceeded():
                self._job.stop(limit)
            if self._job.stops_as:
                return self._end(attempt)
            if self._loses_instance(attempt):
                self._was_interrupted = True
                self._end(attempt)
                return None
        return status

    def _end(self, attempt: Attempt) -> int:
        """SIGTERM, and some time for the program to end by itself."""
        attempt.container.terminate()
        deadline = time.monotonic() + self._around.settings.stop_seconds
        while (status := self._look(attempt)) is None and time.monotonic() < deadline:
            pass
        return 137 if status is None else status

    def _look(self, attempt: Attempt) -> int | None:
        if self._is_abandoned:
            raise AbandonedError
        return attempt.look()

    def _loses_instance(self, attempt: Attempt) -> bool:
        return (
            not self._was_interrupted
            and attempt.has_saved
            and self._job.request.get("EnableManagedSpotTraining", False)
            and fnmatchcase(self._job.training_job_name, self._around.settings.interrupt_spot)
        )

    def _upload(self, attempt: Attempt, folder: Path) -> None:
        """What the program left for S3; a folder without anything is no archive."""
        self._job.enter("Uploading")
        asked = self._job.request["OutputDataConfig"]
        place = f"{asked['S3OutputPath'].rstrip('/')}/{self._job.training_job_name}/output"
        base = attempt.container.base
        for content, name in ((attempt.container.model, "model"), (base / "output/data", "output")):
            if any(content.iterdir()):
                archive = folder / f"{name}.tar.gz"
                _pack(content, archive)
                uri = f"{place}/{archive.name}"
                try:
                    S3Prefix(self._around.s3, uri).upload(archive, key=asked.get("KmsKeyId"))
                except _S3_ERRORS as error:
                    raise FailedError(f"ClientError: Artifact upload failed: {error}") from error
                if name == "model":
                    self._job.artifacts = uri


def _reason(told: str, status: int) -> str:
    """The service's words around the program's, which are cut so that all of the others fit."""
    end = f", exit code: {status}"
    start = f"AlgorithmError: {told}"
    return start[: MAX_REASON_LENGTH - len(end)] + end


def _pack(folder: Path, archive: Path) -> None:
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)


class Runs:
    """All jobs that are on their way."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self._runs: list[Run] = []

    def start(self, job: TrainingJob) -> None:
        """Begin with a job."""
        self._runs = [*(run for run in self._runs if run.is_alive()), Run(job, self.around)]
        self._runs[-1].start()

    def abandon(self) -> None:
        """End all programs and wait for that."""
        for run in self._runs:
            run.abandon()
        for run in self._runs:
            run.join(timeout=10)
