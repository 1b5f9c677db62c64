"""The API's operations that differ from moto's."""

import json
from typing import cast

from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.responses import SageMakerResponse

from twin.sagemaker.api_model import RequestError, refuse_violations
from twin.sagemaker.listing import listed
from twin.sagemaker.models import TrainingBackend


class TrainingResponse(SageMakerResponse):
    """moto calls the method that is named as the operation."""

    def create_training_job(self) -> ActionResult:
        """CreateTrainingJob, with all of the request: moto's own takes a part."""
        return ActionResult({"TrainingJobArn": self._backend.train(json.loads(self.body)).arn})

    def describe_training_job(self) -> ActionResult:
        """DescribeTrainingJob."""
        return ActionResult(self._backend.job(self._name()).describe())

    def stop_training_job(self) -> ActionResult:
        """StopTrainingJob, which moto doesn't have."""
        self._backend.stop(self._name())
        return EmptyResult()

    def list_training_jobs(self) -> ActionResult:
        """ListTrainingJobs, sorted, and in pages of what the filters leave."""
        self._refuse_violations()
        return ActionResult(listed(self._backend.training_jobs.values(), self.params))

    @property
    def _backend(self) -> TrainingBackend:
        return cast(TrainingBackend, self.sagemaker_backend)

    def _name(self) -> str:
        self._refuse_violations()
        return str(self._get_param("TrainingJobName"))

    def _refuse_violations(self) -> None:
        try:
            refuse_violations(self._get_action(), json.loads(self.body))
        except RequestError as error:
            raise ValidationError(message=str(error)) from error
