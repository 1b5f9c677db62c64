"""Which jobs ListTrainingJobs shows, and in what order."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from twin.sagemaker.job import TrainingJob

_DEFAULT_PAGE: Final = 10
_ORDERS: Final = {
    "Name": lambda job: job.training_job_name,
    "CreationTime": lambda job: job.creation_time,
    "Status": lambda job: job.training_job_status,
}


def listed(jobs: Iterable[TrainingJob], asked: Mapping[str, Any]) -> dict[str, Any]:
    """The answer; `asked` are the request's parameters. A page goes on after the job that NextToken names."""
    found = sorted(
        (job for job in jobs if _is_asked_for(job, asked)),
        key=_ORDERS[asked.get("SortBy", "CreationTime")],
        reverse=asked.get("SortOrder", "Ascending") == "Descending",
    )
    names = [job.training_job_name for job in found]
    first = names.index(asked["NextToken"]) + 1 if asked.get("NextToken") in names else 0
    last = first + asked.get("MaxResults", _DEFAULT_PAGE)
    page = {"TrainingJobSummaries": [job.summary() for job in found[first:last]]}
    return {**page, "NextToken": names[last - 1]} if last < len(found) else page


def _is_asked_for(job: TrainingJob, asked: Mapping[str, Any]) -> bool:
    return (
        asked.get("NameContains", "").lower() in job.training_job_name.lower()
        and asked.get("StatusEquals", job.training_job_status) == job.training_job_status
        and _is_within(job.creation_time, asked, "CreationTime")
        and _is_within(job.last_modified_time, asked, "LastModifiedTime")
    )


def _is_within(moment: datetime, asked: Mapping[str, Any], name: str) -> bool:
    # moto reads moments of UTC without saying so.
    after, before = (
        asked[limit].replace(tzinfo=UTC) if limit in asked else moment
        for limit in (f"{name}After", f"{name}Before")
    )
    return bool(after <= moment <= before)
