"""The training job of a run: one name for all tries, so that none is ever trained twice at the same time."""

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from contract.s3_layout import CATALOGUE_PREFIX
from tasks.deployment import Deployment
from tasks.moment import name_of
from training.errors import BadInputError

MAX_TRIES: Final = 20
MAX_NAME_LENGTH: Final = 63
_DIGEST_LENGTH: Final = 8
_ENDED_BADLY: Final = ("Failed", "Stopped", "Stopping")


@dataclass(frozen=True)
class Job:
    """One try of a training."""

    name: str
    status: str | None
    """SageMaker's `TrainingJobStatus`; None where there is no such job yet."""

    @property
    def exists(self) -> bool:
        """Whether it is to be followed instead of made."""
        return self.status is not None


def plan_training(
    template: Mapping[str, Any],
    deployment: Deployment,
    *,
    moment: str,
    served_version: str | None,
    hyperparameters: Mapping[str, Any],
) -> dict[str, Any]:
    """The request to SageMaker, under the name of the first try.

    The same moment, image, hyperparameters and buckets give the same name: a run that is repeated finds the
    job of the run before. What is served does not count, because that changes with the first run.
    """
    request = copy.deepcopy(dict(template))
    given = {name: str(value) for name, value in hyperparameters.items()}
    what = {
        "image": request["AlgorithmSpecification"],
        "given": given,
        # SageMaker remembers jobs for ever, also those of a deployment of this name that is gone.
        "places": [deployment.events_uri, deployment.recommendations_uri],
    }
    base = job_name(deployment.prefix, moment, what)
    request["TrainingJobName"] = base
    request["HyperParameters"] = {"as_of": moment, "served_version": served_version or "", **given}
    request["InputDataConfig"] = [
        channel
        for channel in request["InputDataConfig"]
        if channel["ChannelName"] != "catalogue" or _has_catalogue(deployment)
    ]
    if "CheckpointConfig" in request:
        request["CheckpointConfig"]["S3Uri"] += base
    return request


def job_name(prefix: str, moment: str, what: Mapping[str, Any]) -> str:
    """At most 63 letters, digits and hyphens, with room for the number of a try.

    Raises BadInputError where the deployment's prefix is no beginning of such a name.
    """
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:_DIGEST_LENGTH]
    name = f"{prefix}-{name_of(moment)}-{digest}"
    longest = MAX_NAME_LENGTH - len(f"-{MAX_TRIES}")
    if not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", name) or len(name) > longest:
        raise BadInputError(
            f"the training job can't be called {name}: the prefix {prefix} has to be of letters, digits and "
            f"hyphens, at most {longest - len(name) + len(prefix)} of them"
        )
    return name


def find_job(sagemaker: Any, base: str) -> Job:
    """The try that is on its way or done; else the next one, which is to be made.

    Raises BadInputError where too many have failed.
    """
    for name in _names(base):
        status = _status(sagemaker, name)
        if status not in _ENDED_BADLY:
            return Job(name, status)
    raise BadInputError(
        f"{MAX_TRIES} training jobs {base}… have failed: mend what they say, then give another as_of"
    )


def last_job(sagemaker: Any, base: str) -> Job:
    """The latest try that was made. Raises BadInputError where there was none."""
    made = [Job(name, status) for name in _names(base) if (status := _status(sagemaker, name)) is not None]
    if not made:
        raise BadInputError(f"there is no training job {base}: clear this task, and it is made")
    return made[-1]


def describe_failure(description: Mapping[str, Any]) -> str:
    """Why a job did not complete, in SageMaker's own words as far as it has any."""
    name, status = description["TrainingJobName"], description["TrainingJobStatus"]
    reason = description.get("FailureReason") or description.get("SecondaryStatus") or "no reason was told"
    return f"the training job {name} is {status}: {reason}"


def _names(base: str) -> Iterator[str]:
    yield base
    yield from (f"{base}-{number}" for number in range(2, MAX_TRIES + 1))


def _status(sagemaker: Any, name: str) -> str | None:
    try:
        return str(sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"])
    except ClientError as error:
        # SageMaker has no code of its own for it.
        if "not found" in error.response["Error"]["Message"].lower():
            return None
        raise


def _has_catalogue(deployment: Deployment) -> bool:
    return any(True for _ in deployment.events.list(CATALOGUE_PREFIX))
