"""The maintenance: what has had its time goes, and deletions reach the files."""

from datetime import timedelta
from typing import Any

import dag_defaults
from airflow.sdk import Param, dag, get_current_context, task
from dag_defaults import DEFAULT_ARGS, push_metrics, tell_people
from tasks.deployment import retrain_schedule

DOCUMENTATION = """
### The maintenance

Drops old versions and exported days from Postgres; deletes old versions from the bucket, and old runs from
MLflow; aborts uploads that were never ended; takes deleted users out of events, rejected rows and versions.
No part waits for another, or fails with it.

**When it fails**, the parts that are not named have done their work, and answers are as before. Each part may
be cleared and run again: it goes on. Deletions that have not reached the files are those without `unread_at`
in `events/deletions.json`. Part by part: `docs/runbook.md`, *Maintenance*.
"""

# In the day: a training that reads the events while they are rewritten fails, and has to be tried again.
SCHEDULE = "41 13 * * *" if retrain_schedule() else None
DAYS: dict[str, Any] = {"type": "integer", "minimum": 1}


@task
def retire_versions() -> dict[str, Any]:
    """Drop old versions from Postgres."""
    from tasks.maintenance import retire_versions as retire  # noqa: PLC0415

    keep = get_current_context()["params"]["keep_versions"]
    return dag_defaults.run(lambda deployment: retire(deployment, keep=keep))


@task
def drop_events() -> dict[str, Any]:
    """Drop exported days of posted events from Postgres."""
    from tasks.maintenance import drop_events as drop  # noqa: PLC0415

    days = get_current_context()["params"]["keep_event_days"]
    return dag_defaults.run(lambda deployment: drop(deployment, keep_days=days))


@task
def delete_versions() -> dict[str, Any]:
    """Delete old versions from the bucket, and what was said of them."""
    from tasks.maintenance import delete_versions as delete  # noqa: PLC0415

    params = get_current_context()["params"]
    return dag_defaults.run(
        lambda deployment: delete(
            deployment, keep_days=params["keep_version_days"], keep=params["keep_versions"]
        )
    )


@task(execution_timeout=timedelta(hours=12))
def forget_deleted_users() -> dict[str, Any]:
    """Take deleted users out of the files."""
    from tasks.maintenance import forget_deleted_users as forget  # noqa: PLC0415

    return dag_defaults.run(forget)


@task
def delete_runs() -> dict[str, Any]:
    """Delete old runs and models, with their files, from MLflow."""
    from tasks.mlflow_retention import delete_old_runs  # noqa: PLC0415

    params = get_current_context()["params"]
    return dag_defaults.run(
        lambda deployment: delete_old_runs(
            deployment, keep_days=params["keep_run_days"], experiment=params["experiment"]
        )
    )


@task
def abort_uploads() -> dict[str, Any]:
    """Abort uploads that were never ended."""
    from tasks.uploads import abort_uploads as abort  # noqa: PLC0415

    days = get_current_context()["params"]["upload_days"]
    return dag_defaults.run(lambda deployment: abort(deployment, older_than_days=days))


@dag(
    schedule=SCHEDULE,
    start_date=dag_defaults.START_DATE,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=20),
    default_args=DEFAULT_ARGS,
    params={
        "keep_versions": Param(
            3, type="integer", minimum=1, description="Of the newest versions, beside those in use."
        ),
        "keep_event_days": Param(30, **DAYS, description="Of posted events in Postgres, once exported."),
        "keep_version_days": Param(90, **DAYS, description="Of versions in the bucket, beside those in use."),
        "keep_run_days": Param(90, **DAYS, description="Of runs in MLflow, beside those in use."),
        "experiment": Param(
            "shop-recommender", type="string", minLength=1, description="Whose runs these are."
        ),
        "upload_days": Param(7, **DAYS, description="That an upload may take."),
    },
    tags=dag_defaults.TAGS,
    description="What has had its time goes, and deletions reach the files",
    doc_md=DOCUMENTATION,
    on_failure_callback=dag_defaults.tell_time_out,
)
def maintenance() -> None:
    """Each part is its own end, so that a run fails where one of them does."""
    parts = [
        retire_versions(),
        drop_events(),
        delete_versions(),
        forget_deleted_users(),
        delete_runs(),
        abort_uploads(),
    ]
    pushed = push_metrics().as_teardown()
    parts >> pushed
    pushed >> tell_people().as_teardown()


maintenance()
