"""How a run went, for dashboards and alerts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, pushadd_to_gateway

from contract.metrics import (
    DAG_CANARY_OVERLAP,
    DAG_CANARY_SECONDS,
    DAG_EXPORTED_EVENTS,
    DAG_LAST_SUCCESS,
    DAG_REJECTED_SHARE,
    DAG_RUN_OUTCOME,
    DAG_RUN_SECONDS,
    DAG_TASK_FAILED,
    DAG_TASK_SECONDS,
    RUN_OUTCOMES,
    Metric,
)
from training.errors import UserError

JOB: Final = "dags"
TIMEOUT_SECONDS: Final = 10

Value = tuple[Metric, Mapping[str, str], float]


class PushError(UserError):
    """The pushgateway can't be reached."""


@dataclass(frozen=True)
class RunFigures:
    """One run of a DAG, at its end."""

    dag: str
    outcome: str
    """One of RUN_OUTCOMES."""
    seconds: float
    ended_at: float
    """Seconds since 1970 UTC."""
    task_seconds: Mapping[str, float]
    """Of those that ran."""
    failed_tasks: frozenset[str]
    exported_events: int | None = None
    rejected_share: float | None = None
    canary_seconds: float | None = None
    canary_overlap: float | None = None

    def values(self) -> list[Value]:
        """What is pushed; of what the run did not come to there is nothing."""
        of_dag = {"dag": self.dag}
        found: list[Value] = [
            (DAG_RUN_OUTCOME, {**of_dag, "outcome": outcome}, float(outcome == self.outcome))
            for outcome in RUN_OUTCOMES
        ]
        found.append((DAG_RUN_SECONDS, of_dag, self.seconds))
        found += [
            (DAG_TASK_SECONDS, {**of_dag, "task": task}, seconds)
            for task, seconds in self.task_seconds.items()
        ]
        found += [
            (DAG_TASK_FAILED, {**of_dag, "task": task}, float(task in self.failed_tasks))
            for task in {*self.task_seconds, *self.failed_tasks}
        ]
        if self.outcome != "failed":
            found.append((DAG_LAST_SUCCESS, of_dag, self.ended_at))
        optional = (
            (DAG_EXPORTED_EVENTS, self.exported_events),
            (DAG_REJECTED_SHARE, self.rejected_share),
            (DAG_CANARY_SECONDS, self.canary_seconds),
            (DAG_CANARY_OVERLAP, self.canary_overlap),
        )
        found += [(metric, {}, float(value)) for metric, value in optional if value is not None]
        return found


def push(gateway_url: str, figures: RunFigures) -> int:
    """Push a run's figures as the group `{job="dags", dag=…}`; how many there are.

    Families of that group which are not among them stay: after a failure the last success is still known.
    Raises PushError.
    """
    registry = CollectorRegistry()
    gauges: dict[str, Gauge] = {}
    values = figures.values()
    for metric, labels, value in values:
        if metric.name not in gauges:
            gauges[metric.name] = Gauge(metric.name, metric.help, list(labels), registry=registry)
        gauge = gauges[metric.name]
        (gauge.labels(**labels) if labels else gauge).set(value)
    try:
        pushadd_to_gateway(
            gateway_url,
            job=JOB,
            registry=registry,
            grouping_key={"dag": figures.dag},
            timeout=TIMEOUT_SECONDS,
        )
    except OSError as error:
        raise PushError(f"the pushgateway at {gateway_url}: {error}") from error
    return len(values)
