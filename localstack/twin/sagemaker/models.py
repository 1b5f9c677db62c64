"""moto's SageMaker with training jobs that run.

The names of this file, of `responses.py` and of `urls.py` are moto's: it looks for the URLs of a backend in
the module beside the backend's own.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from moto.sagemaker.exceptions import ResourceInUseException, ValidationError
from moto.sagemaker.models import FakeTrainingJob, SageMakerModelBackend, sagemaker_backends

from twin.sagemaker.api_model import RequestError
from twin.sagemaker.channels import NoDataError, channels
from twin.sagemaker.job import TrainingJob
from twin.sagemaker.request import refuse
from twin.sagemaker.run import Runs


class TrainingBackend(SageMakerModelBackend):
    """The jobs of an account in a region."""

    runs: ClassVar[Runs]
    """moto makes backends itself, out of an account and a region: what runs jobs can't be an argument."""

    training_jobs: dict[str, TrainingJob]  # type: ignore[assignment]

    def train(self, request: Mapping[str, Any]) -> TrainingJob:
        """Start a job. Raises moto's exceptions, which become the API's errors."""
        try:
            refuse(request)
            name = request["TrainingJobName"]
            arn = FakeTrainingJob.arn_formatter(name, self.account_id, self.region_name)
            if name in self.training_jobs:
                raise ResourceInUseException(
                    message="Training job names must be unique within an AWS account and region, and a "
                    f"training job with this name already exists ({arn})"
                )
            channels(request, self.runs.around.s3)
        except (RequestError, NoDataError) as error:
            raise ValidationError(message=str(error)) from error
        job = self.training_jobs[name] = TrainingJob(request, arn=arn)
        self.runs.start(job)
        return job

    def job(self, name: str) -> TrainingJob:
        """The job. Raises ValidationError, as the service does, where there is none."""
        if name not in self.training_jobs:
            raise ValidationError(message="Requested resource not found.")
        return self.training_jobs[name]

    def stop(self, name: str) -> None:
        """Stop a job that is in progress. Raises ValidationError for any other."""
        job = self.job(name)
        if not job.stop():
            raise ValidationError(
                message="The request was rejected because the training job is in status "
                f"{job.training_job_status}."
            )

    def reset(self) -> None:
        """Forget all, as moto's own reset does; the programs end."""
        self.runs.abandon()
        super().reset()


def register(runs: Runs) -> None:
    """Let moto make these backends from now on, in place of its own."""
    TrainingBackend.runs = runs
    sagemaker_backends.clear()
    sagemaker_backends.backend = TrainingBackend
