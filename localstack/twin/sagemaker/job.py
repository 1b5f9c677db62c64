"""A training job: what was asked for, the states it went through, and what the API tells of it."""

import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from twin.sagemaker.api_model import output_of

# The service's own words, but for those of Interrupted and of the two limits, which we have not seen.
MESSAGES: Final = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Interrupted": "Managed spot training instances were interrupted",
    "Stopping": "Stopping the training job",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided",
}
ENDS: Final = {
    "Completed": "Completed",
    "Failed": "Failed",
    "Stopped": "Stopped",
    "MaxRuntimeExceeded": "Stopped",
    "MaxWaitTimeExceeded": "Stopped",
}
"""The statuses that a job ends with, by secondary status."""

SUMMARY: Final = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingEndTime",
    "LastModifiedTime",
    "TrainingJobStatus",
    "SecondaryStatus",
)

# An instance is there, and costs, in these.
_ON_INSTANCE: Final = ("Downloading", "Training", "Stopping", "Uploading")
_BEFORE_THE_END: Final = ("Starting", "Downloading", "Training", "Interrupted")
MAX_REASON_LENGTH: Final = 1024


class StopAskedError(Exception):
    """Somebody stops the job, or its time is up: it doesn't go on."""


@dataclass
class Transition:
    """A stay in one secondary status."""

    status: str
    start: datetime
    end: datetime | None = None

    def seconds(self, now: datetime) -> float:
        """How long it is, or is by now."""
        return ((self.end or now) - self.start).total_seconds()


class TrainingJob:
    """One job. Attributes that moto's own listings, tags and searches read bear moto's names."""

    def __init__(self, request: Mapping[str, Any], *, arn: str) -> None:
        now = _now()
        self.request = request
        self.arn = arn
        self.training_job_name: str = request["TrainingJobName"]
        self.tags: list[dict[str, str]] = [*request.get("Tags", [])]
        self.creation_time = self.last_modified_time = now
        self.artifacts: str | None = None
        self.metrics: list[dict[str, Any]] = []
        self.failure_reason: str | None = None
        self._transitions = [Transition("Starting", now)]
        self._lock = threading.RLock()
        self._stops_as: str | None = None

    @property
    def secondary_status(self) -> str:
        """Where the job is."""
        return self._transitions[-1].status

    @property
    def training_job_status(self) -> str:
        """The coarse status."""
        return ENDS.get(self.secondary_status) or ("Stopping" if self._stops_as else "InProgress")

    @property
    def training_end_time(self) -> datetime | None:
        """When it ended; None while it goes on."""
        return self._transitions[-1].start if self.secondary_status in ENDS else None

    @property
    def stops_as(self) -> str | None:
        """The secondary status to end with, once the job is being stopped."""
        return self._stops_as

    def enter(self, status: str) -> None:
        """Go on to a secondary status. Raises StopAskedError where the job is to end instead."""
        with self._lock:
            if self._stops_as and status in _BEFORE_THE_END:
                raise StopAskedError
            self._move(status)

    def stop(self, ends_as: str = "Stopped") -> bool:
        """Let it be stopped; False where it isn't in progress."""
        with self._lock:
            if self.training_job_status != "InProgress":
                return False
            self._stops_as = ends_as
            self._move("Stopping")
            return True

    def complete(self) -> None:
        """It went well, or was stopped."""
        with self._lock:
            self._move(self._stops_as or "Completed")

    def fail(self, reason: str) -> None:
        """It went wrong. A job that is being stopped may: nobody asks it for success any more."""
        with self._lock:
            if not self._stops_as:
                self.failure_reason = reason[:MAX_REASON_LENGTH]
            self._move(self._stops_as or "Failed")

    def limit_exceeded(self) -> str | None:
        """The status that tells which time limit the job has come to, if it has."""
        limits = self.request["StoppingCondition"]
        now = _now()
        if (now - self.creation_time).total_seconds() >= limits.get("MaxWaitTimeInSeconds", float("inf")):
            return "MaxWaitTimeExceeded"
        if self._seconds_on_instance(now) >= limits.get("MaxRuntimeInSeconds", float("inf")):
            return "MaxRuntimeExceeded"
        return None

    def describe(self) -> dict[str, Any]:
        """The answer of DescribeTrainingJob."""
        with self._lock:
            members = output_of("DescribeTrainingJob").members
            return {
                "EnableNetworkIsolation": False,
                "EnableInterContainerTrafficEncryption": False,
                "EnableManagedSpotTraining": False,
                **{name: value for name, value in self.request.items() if name in members},
                "TrainingJobArn": self.arn,
                "TrainingJobStatus": self.training_job_status,
                "SecondaryStatus": self.secondary_status,
                "CreationTime": self.creation_time,
                "LastModifiedTime": self.last_modified_time,
                "SecondaryStatusTransitions": [_described(each) for each in self._transitions],
                **{name: value for name, value in self._findings().items() if value},
            }

    gen_response_object = describe
    """As moto's search asks for it."""

    def summary(self) -> dict[str, Any]:
        """What ListTrainingJobs tells of it."""
        with self._lock:
            return {name: value for name, value in self.describe().items() if name in SUMMARY}

    def _findings(self) -> dict[str, Any]:
        """What comes to be known as the job goes on."""
        on_instance = self._on_instance()
        end = self.training_end_time
        seconds = max(1, round(self._seconds_on_instance(end))) if end and on_instance else None
        return {
            "ModelArtifacts": self.artifacts and {"S3ModelArtifacts": self.artifacts},
            "FailureReason": self.failure_reason,
            "FinalMetricDataList": self.metrics,
            "TrainingStartTime": on_instance[0].start if on_instance else None,
            "TrainingEndTime": end,
            "TrainingTimeInSeconds": seconds,
            "BillableTimeInSeconds": seconds,
        }

    def _move(self, status: str) -> None:
        now = _now()
        self._transitions[-1].end = self.last_modified_time = now
        self._transitions.append(Transition(status, now, now if status in ENDS else None))

    def _seconds_on_instance(self, now: datetime) -> float:
        return sum(each.seconds(now) for each in self._on_instance())

    def _on_instance(self) -> list[Transition]:
        """Where the job had an instance, which it has from the first download on."""
        before = itertools.takewhile(lambda each: each.status != "Downloading", self._transitions)
        since = self._transitions[len([*before]) :]
        return [each for each in since if each.status in _ON_INSTANCE]


def _described(transition: Transition) -> dict[str, Any]:
    told = {
        "Status": transition.status,
        "StartTime": transition.start,
        "EndTime": transition.end,
        "StatusMessage": MESSAGES[transition.status],
    }
    return {name: value for name, value in told.items() if value}


def _now() -> datetime:
    """In milliseconds, which are all that the API tells."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
