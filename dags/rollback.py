"""Going back to a version that was served before."""

from datetime import timedelta
from typing import Any

import dag_defaults
from airflow.sdk import Param, dag, get_current_context, task
from dag_defaults import DEFAULT_ARGS, push_metrics, tell_people

DOCUMENTATION = """
### Roll back

Moves a variant's row back to the version before, or to the one that is named. Answers come from it with the
next request; nothing is loaded, and no lock is waited for.

**When it fails**, nothing has moved. The error names the versions that are still in Postgres; one that is not
can be loaded by the DAG `load`. More: `docs/runbook.md`, *Rollback*.
"""


@task(execution_timeout=timedelta(minutes=5))
def choose() -> dict[str, Any]:
    """Decide where to go, once for all tries."""
    from tasks.versions import choose as chosen  # noqa: PLC0415

    params = get_current_context()["params"]
    return dag_defaults.run(lambda deployment: chosen(deployment, params["version"], params["variant"]))


@task(execution_timeout=timedelta(minutes=5))
def move_back(aim: dict[str, Any]) -> dict[str, Any]:
    """Move the serving row."""
    from tasks.versions import go_back  # noqa: PLC0415

    return dag_defaults.run(lambda deployment: go_back(deployment, aim["version"], aim["variant"]))


@task
def move_alias(moved: dict[str, Any]) -> dict[str, Any]:
    """Let MLflow's alias follow, where everybody is served by it."""
    from tasks.registry import follow  # noqa: PLC0415

    return dag_defaults.run(lambda deployment: follow(deployment, moved["variant"], moved["version"]))


@dag(
    schedule=None,
    start_date=dag_defaults.START_DATE,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
    default_args=DEFAULT_ARGS,
    params={
        "version": Param(
            None, type=["null", "string"], description="Where to go. Default: what was served before."
        ),
        "variant": Param("default", type="string", minLength=1, description="Whose row is moved."),
    },
    tags=dag_defaults.TAGS,
    description="Back to a version that was served before",
    doc_md=DOCUMENTATION,
    on_failure_callback=dag_defaults.tell_time_out,
)
def rollback() -> None:
    """One row, then the alias."""
    moved = move_back(choose())
    move_alias(moved) >> push_metrics().as_teardown() >> tell_people().as_teardown()


rollback()
