"""The training job as a task: deferred while SageMaker trains, and attached to where it is already."""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.sdk.exceptions import AirflowException, TaskDeferralError

CHECK_SECONDS = int(os.environ.get("SHOP_CHECK_SECONDS", "30"))


class TrainOperator(SageMakerTrainingOperator):
    """Runs a planned training, so that each try of the task finds what the tries before it have begun.

    A job that is on its way is followed, one that is done is taken as it is; only after one that failed a new
    one is made. What it returns: `job`, `model_uri`, `train_seconds`, `billable_seconds`.
    """

    template_fields = ("request",)

    def __init__(self, *, request: Any, check_seconds: int = CHECK_SECONDS, **arguments: Any) -> None:
        """`request` is what `tasks.training_job.plan_training` made."""
        super().__init__(
            config={},
            deferrable=True,
            wait_for_completion=True,
            # The name is found before, and nobody else makes jobs of it.
            check_if_job_exists=False,
            print_log=True,
            check_interval=check_seconds,
            **arguments,
        )
        self.request = request

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Make the job, or find it, and wait outside of the worker."""
        from tasks.training_job import find_job  # noqa: PLC0415

        job = find_job(self.hook.conn, self.request["TrainingJobName"])
        self.config = {**self.request, "TrainingJobName": job.name}
        # The trigger gives up after so many looks: the job's own limit has to come first.
        self.max_attempts = round(longest(self.request).total_seconds() / self.check_interval) + 10
        if job.status == "Completed":
            self.log.info("%s is done already", job.name)
            return self._result(job.name)
        if job.exists:
            self.log.info("%s is on its way already", job.name)
            self._follow(job.name)
        super().execute(context)
        return self._result(job.name)

    def execute_complete(
        self,
        context: Mapping[str, Any],  # noqa: ARG002 - Airflow's
        event: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Read what became of the job."""
        if event is None or event.get("status") != "success":
            raise AirflowException(self._why_it_failed())
        return self._result(str(event["job_name"]))

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Mapping[str, Any]
    ) -> Any:
        """Go on after the wait; where that failed, say what SageMaker says."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralError as error:
            raise AirflowException(self._why_it_failed()) from error

    def _why_it_failed(self) -> str:
        from tasks.training_job import describe_failure, last_job  # noqa: PLC0415

        job = last_job(self.hook.conn, self.request["TrainingJobName"])
        return describe_failure(self.hook.describe_training_job(job.name))

    def _follow(self, name: str) -> None:
        from airflow.providers.amazon.aws.triggers.sagemaker import SageMakerTrigger  # noqa: PLC0415

        self.defer(
            timeout=self.execution_timeout,
            trigger=SageMakerTrigger(
                job_name=name,
                job_type="Training",
                poke_interval=self.check_interval,
                max_attempts=self.max_attempts,
                aws_conn_id=self.aws_conn_id,
            ),
            method_name="execute_complete",
        )

    def _result(self, name: str) -> dict[str, Any]:
        from tasks.training_job import describe_failure  # noqa: PLC0415

        description = self.hook.describe_training_job(name)
        if description["TrainingJobStatus"] != "Completed":
            raise AirflowException(describe_failure(description))
        seconds = description.get("TrainingTimeInSeconds", 0)
        return {
            "job": name,
            "model_uri": description["ModelArtifacts"]["S3ModelArtifacts"],
            "train_seconds": seconds,
            "billable_seconds": description.get("BillableTimeInSeconds", seconds),
            "seconds": seconds,
        }


def longest(request: Mapping[str, Any]) -> timedelta:
    """How long a job may take, waiting for spot capacity included."""
    limits = request["StoppingCondition"]
    return timedelta(seconds=limits.get("MaxWaitTimeInSeconds") or limits["MaxRuntimeInSeconds"])
