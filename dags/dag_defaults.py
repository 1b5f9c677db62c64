"""What all DAGs have in common: how a task runs, what is tried again, and who is told."""

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException

OWNER = "shop-recommender"
TAGS = ["shop-recommender"]
START_DATE = datetime(2026, 1, 1, tzinfo=UTC)
"""Before it nothing was scheduled; what lies between it and today is not caught up with."""


def run(body: Callable[[Any], Mapping[str, Any] | None]) -> dict[str, Any]:
    """What a task's body returns, and how many `seconds` it took; the body is given the deployment.

    What another try could mend is raised as it is, and tried again; what it would find again fails at once.
    """
    # Not while DAGs are parsed, which is done all day long.
    from tasks.deployment import Deployment  # noqa: PLC0415
    from tasks.notification import NotificationError  # noqa: PLC0415

    from training.errors import BadInputError, DatabaseError, UserError, VersionError  # noqa: PLC0415

    started = time.monotonic()
    deployment = Deployment.read()
    os.environ.setdefault("AWS_DEFAULT_REGION", deployment.region)
    try:
        result = body(deployment)
    except (BadInputError, DatabaseError, VersionError, NotificationError):
        raise
    except UserError as error:
        raise AirflowFailException(str(error)) from error
    return {**(result or {}), "seconds": round(time.monotonic() - started, 3)}


def tell_failure(context: Mapping[str, Any]) -> None:
    """Tell people which step failed, why, and where its log is; called when no try is left."""
    from tasks.deployment import Deployment  # noqa: PLC0415
    from tasks.notification import failure, send  # noqa: PLC0415

    instance = context["ti"]
    deployment = Deployment.read()
    send(
        deployment,
        failure(
            deployment,
            dag=instance.dag_id,
            task=instance.task_id,
            reason=str(context.get("exception") or context.get("reason") or "no reason was told"),
            log_url=getattr(instance, "log_url", None),
        ),
    )


def tell_time_out(context: Mapping[str, Any]) -> None:
    """Tell people that a run took too long; what else failed, the task has told."""
    if context.get("reason") == "timed_out":
        from tasks.deployment import Deployment  # noqa: PLC0415
        from tasks.notification import failure, send  # noqa: PLC0415

        deployment = Deployment.read()
        dag = str(context["dag"].dag_id)
        send(deployment, failure(deployment, dag=dag, task=None, reason="it took too long", log_url=None))


DEFAULT_ARGS: dict[str, Any] = {
    "owner": OWNER,
    "retries": 2,
    "retry_delay": timedelta(seconds=int(os.environ.get("SHOP_RETRY_SECONDS", "120"))),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=20),
    "execution_timeout": timedelta(hours=1),
    "on_failure_callback": tell_failure,
}
"""Of every task: all of them may be repeated without harm."""


def states(context: Mapping[str, Any]) -> dict[str, str]:
    """How the tasks of this run stand, by their ids; those that have not begun are missing."""
    instance = context["ti"]
    told = instance.get_task_states(dag_id=instance.dag_id, run_ids=[context["run_id"]])
    return {name: str(state) for name, state in told.get(context["run_id"], {}).items() if state}


def results(context: Mapping[str, Any], task_ids: list[str]) -> dict[str, dict[str, Any]]:
    """What the tasks of this run returned, by their ids; those that returned nothing are missing."""
    values = {name: context["ti"].xcom_pull(task_ids=name) for name in task_ids}
    return {name: value for name, value in values.items() if isinstance(value, dict)}


@task(trigger_rule="all_done")
def tell_people() -> dict[str, Any]:
    """Tell people how it went; of a failure the failed task has told them. A teardown, as `push_metrics`."""
    from airflow.sdk import get_current_context  # noqa: PLC0415

    context = get_current_context()
    return run(lambda deployment: _tell(deployment, context))


def _tell(deployment: Any, context: Mapping[str, Any]) -> dict[str, Any]:
    from tasks.notification import send  # noqa: PLC0415
    from tasks.story import told  # noqa: PLC0415

    stand = states(context)
    found = results(context, list(stand))
    if outcome(stand, found) == "failed":
        return {"told": []}
    return {"told": send(deployment, told(deployment, context["ti"].dag_id, found))}


@task(retries=1, trigger_rule="all_done")
def push_metrics() -> dict[str, Any]:
    """Push how the run went. It is a teardown: it runs whatever happened, and decides nothing."""
    from airflow.sdk import get_current_context  # noqa: PLC0415

    context = get_current_context()
    return run(lambda deployment: _push(deployment, context))


def _push(deployment: Any, context: Mapping[str, Any]) -> dict[str, Any]:
    from tasks.run_metrics import PushError, RunFigures, push  # noqa: PLC0415

    if deployment.pushgateway_url is None:
        return {"not_pushed": "there is no pushgateway"}
    stand = states(context)
    found = results(context, list(stand))
    failed = frozenset(name for name, state in stand.items() if state in ("failed", "upstream_failed"))
    now = datetime.now(UTC)
    began = context["dag_run"].start_date or now
    canary = found.get("try_canary", {})
    figures = RunFigures(
        dag=context["ti"].dag_id,
        outcome=outcome(stand, found),
        seconds=(now - began).total_seconds(),
        ended_at=now.timestamp(),
        task_seconds={name: value["seconds"] for name, value in found.items() if "seconds" in value},
        failed_tasks=failed,
        exported_events=found.get("export_events", {}).get("events"),
        rejected_share=found.get("validate_events", {}).get("rejected_share"),
        canary_seconds=canary.get("median_seconds"),
        canary_overlap=canary.get("overlap"),
    )
    try:
        return {"outcome": figures.outcome, "pushed": push(deployment.pushgateway_url, figures)}
    except PushError as error:
        # A run is worth more than its figures; people are told by the next task.
        return {"outcome": figures.outcome, "not_pushed": str(error)}


def outcome(stand: Mapping[str, str], found: Mapping[str, Mapping[str, Any]]) -> str:
    """One of `contract.metrics.RUN_OUTCOMES`."""
    if any(state in ("failed", "upstream_failed") for state in stand.values()):
        return "failed"
    if "gate" not in found:
        return "done"
    return "live" if found["gate"].get("outcome") == "promoted" else "kept"
