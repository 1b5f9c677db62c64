"""What happens on one instance: the program, with its channels, its log and its checkpoints."""

from pathlib import Path
from typing import Final, Self

from twin.sagemaker.channels import channels, configuration
from twin.sagemaker.checkpoints import Checkpoints
from twin.sagemaker.container import Container
from twin.sagemaker.job import TrainingJob
from twin.sagemaker.log_stream import LogStream
from twin.sagemaker.metrics import Metrics
from twin.sagemaker.request import BASE
from twin.sagemaker.s3_prefix import S3Prefix
from twin.sagemaker.surroundings import Surroundings

_HOST: Final = "algo-1"
_LOOK_SECONDS: Final = 0.1


class Attempt:
    """A job's program in a new folder; entering starts it, leaving ends it and all that it started."""

    def __init__(self, job: TrainingJob, around: Surroundings, folder: Path, metrics: Metrics) -> None:
        self._job = job
        self._around = around
        self.container = Container(folder / "ml")
        self._log = folder / "log"
        self._stream = LogStream(around.logs, self._stream_name(), file=self._log, metrics=metrics)
        self._checkpoints = self._place_for_checkpoints()
        self.has_saved = False
        """Whether checkpoints, or log lines where the job has no place for checkpoints, have left."""

    def prepare(self) -> None:
        """Bring what the program reads. Raises NoDataError and what S3 raises."""
        request = self._job.request
        for name, prefix in channels(request, self._around.s3).items():
            prefix.download(self.container.channel(name))
        if self._checkpoints:
            self._checkpoints.restore()
            self.container.configure("checkpointconfig", request["CheckpointConfig"])
        self.container.configure("hyperparameters", request.get("HyperParameters", {}))
        self.container.configure("inputdataconfig", configuration(request))
        self.container.configure(
            "resourceconfig",
            {
                "current_host": _HOST,
                "current_instance_type": request["ResourceConfig"].get("InstanceType"),
                "hosts": [_HOST],
                "network_interface_name": "eth0",
            },
        )

    def __enter__(self) -> Self:
        self._stream.create()
        environment = {
            **self._around.environment,
            "TRAINING_JOB_NAME": self._job.training_job_name,
            "TRAINING_JOB_ARN": self._job.arn,
            **self._job.request.get("Environment", {}),
        }
        self.container.start(self._around.settings.program, environment, log=self._log)
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.container.kill()
        if error is None:
            self._take_along(is_over=True)

    def look(self) -> int | None:
        """Wait a moment and take along what the program wrote; its exit status once it has ended."""
        status = self.container.wait(_LOOK_SECONDS)
        if status is None:
            self._take_along()
        return status

    def _take_along(self, *, is_over: bool = False) -> None:
        self._stream.forward(is_over=is_over)
        has_new = self._checkpoints.save() if self._checkpoints else self._stream.lines > 0
        self.has_saved = self.has_saved or has_new

    def _stream_name(self) -> str:
        return f"{self._job.training_job_name}/{_HOST}-{int(self._job.last_modified_time.timestamp() * 1000)}"

    def _place_for_checkpoints(self) -> Checkpoints | None:
        asked = self._job.request.get("CheckpointConfig")
        if not asked:
            return None
        local = Path(asked.get("LocalPath", f"{BASE}/checkpoints")).relative_to(BASE)
        return Checkpoints(self.container.base / local, S3Prefix(self._around.s3, asked["S3Uri"]))
