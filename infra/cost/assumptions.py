"""What no template tells: how much is asked, and how large and long things are."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.cost.errors import AssumptionError


class Origin(StrEnum):
    """Where a default comes from."""

    GIVEN = "given"
    """There is none: who asks has to say."""
    MEASURED = "measured"
    """With the product itself; the field's docstring says how."""
    GUESSED = "guessed"
    """To be replaced by what the first month shows."""


Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]

Given = Annotated[Amount, Origin.GIVEN]
Measured = Annotated[Amount, Origin.MEASURED]


class Assumptions(BaseModel):
    """Of a month. Each is an option of the command: `write_share` is `--write-share`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    requests_per_month: Given
    """Calls of the API, posts of events included."""
    users: Given
    """Users that have lists of their own."""

    write_share: Share = 0.4
    """Share of the requests that post events."""
    events_per_write: Amount = 2
    """Events in such a request."""
    token_check_share: Share = 0.1
    """With authorization=jwt: share of the requests whose token API Gateway doesn't remember."""
    answer_bytes: Amount = 1800
    """Size of an answer of ten items, with its headers."""
    function_cpu_ms: Measured = 1.69
    """Work of an answer on a whole core: `warm_p50_ms` in docs/benchmarks.md. Lambda gives one at 1,769 MB,
    and less in proportion."""
    function_wait_ms: Amount = 5
    """How long an answer waits meanwhile, for Postgres above all."""
    cold_start_share: Share = 0.001
    """Share of the requests that a new environment answers."""
    cold_start_cpu_ms: Measured = 357.22
    """Work of a start on a whole core, `cold_cpu_ms` in docs/benchmarks.md; SnapStart restores instead."""
    scheduled_ms: Amount = 500
    """Duration of a function that runs by a schedule."""

    function_log_bytes: Measured = 710
    """What an invocation logs: one line of the API's, three of Lambda's, and 26 bytes that CloudWatch adds to
    each."""
    access_log_bytes: Measured = 430
    """What API Gateway logs of a request."""
    quiet_log_gb: Amount = 0.1
    """What each other log group takes."""

    list_bytes_in_postgres: Measured = 2450
    """Of a user, in each version: a list of 100 items and a history of 30 events, in a generated version of
    20,000 users."""
    list_bytes_in_bucket: Measured = 950
    """The same as Parquet."""
    event_bytes_in_postgres: Measured = 306
    """Of a posted event, indexes included, among 200,000."""
    event_bytes_in_bucket: Measured = 43
    """Of the same, exported as Parquet."""
    versions_in_postgres: Amount = 3
    """Versions that are kept to go back to."""
    days_in_postgres: Amount = 14
    """How long posted events stay there after their export."""
    months_in_bucket: Amount = 12
    """How long events and versions have been piling up in the bucket: nothing deletes them there."""

    retrains_per_month: Amount = 30
    """How often it is trained: daily, as prod is set up."""
    training_hours: Amount = 1
    """How long a training runs."""
    spot_share: Share = 0.35
    """What spot capacity costs of the list price."""
    builds_per_month: Amount = 4
    """Deployments that change images."""
    build_minutes: Amount = 6
    """How long CodeBuild takes for one."""
    image_gb: Amount = 0.5
    """Size of an image in ECR."""

    nat_gb: Amount = 20
    """What goes through the NAT gateways: images, packages, calls of AWS."""
    disk_gb: Amount = 5
    """What Prometheus has on its disk, and writes in a month."""
    load_balancer_units: Amount = 0.1
    """Capacity units of the load balancer: only people use it."""
    insights_metrics: Amount = 17
    """Metrics that Container Insights makes of each server."""
    airflow_database_gb: Amount = 10
    """Airflow's own database."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Raises AssumptionError that tells each option, what was given and what is expected."""
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise AssumptionError("\n".join(_explain(dict(problem)) for problem in error.errors())) from None

    @property
    def events_per_month(self) -> float:
        """Posted events."""
        return self.requests_per_month * self.write_share * self.events_per_write

    @property
    def idle(self) -> Self:
        """Nobody calls, nothing is trained or built, and nothing has piled up."""
        return self.model_copy(
            update={
                "requests_per_month": 0.0,
                "users": 0.0,
                "retrains_per_month": 0.0,
                "builds_per_month": 0.0,
            }
        )

    def with_more_requests(self, requests: float) -> Self:
        """The same, but for more requests."""
        return self.model_copy(update={"requests_per_month": self.requests_per_month + requests})

    def by_origin(self) -> dict[Origin, dict[str, float]]:
        """All of them, by where they come from; whatever differs from its default was given."""
        found: dict[Origin, dict[str, float]] = {origin: {} for origin in Origin}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            marked = [mark for mark in field.metadata if isinstance(mark, Origin)]
            origin = marked[0] if marked else Origin.GUESSED
            found[origin if value == field.default else Origin.GIVEN][name] = value
        return found


def option(name: str) -> str:
    """How the command calls an assumption."""
    return f"--{name.replace('_', '-')}"


def _explain(problem: dict[str, Any]) -> str:
    told = str(problem["msg"]).replace("Input should be", "expected")
    return f"{option(str(problem['loc'][0]))}={problem['input']}: {told}"
