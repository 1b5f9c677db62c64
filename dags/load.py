"""Loading a finished version again: into a new database, a restored one, or beside the live one."""

from datetime import timedelta
from typing import Any

import dag_defaults
from airflow.sdk import Param, dag, get_current_context, task
from dag_defaults import DEFAULT_ARGS, push_metrics, tell_people

DOCUMENTATION = """
### Load a version

Loads a version that a training has published, by default the newest, and lets it answer for a variant:
`default` is everybody. A variant of another name gets the `share` of the visitors that is given.

**When it fails**, what is served stays as it was; run it again. The error names the versions that there are.
More: `docs/runbook.md`, *Load*.
"""


@task(execution_timeout=timedelta(hours=3))
def load_version() -> dict[str, Any]:
    """Load it, unless it is there, and let it answer for the variant."""
    from tasks.versions import load, newest  # noqa: PLC0415

    params = get_current_context()["params"]
    return dag_defaults.run(
        lambda deployment: load(
            deployment,
            params["version"] or newest(deployment),
            variant=params["variant"],
            share=params["share"],
        )
    )


@task
def move_alias(loaded: dict[str, Any]) -> dict[str, Any]:
    """Let MLflow's alias follow, where everybody is served by it."""
    from tasks.registry import follow  # noqa: PLC0415

    return dag_defaults.run(lambda deployment: follow(deployment, loaded["variant"], loaded["version"]))


@dag(
    schedule=None,
    start_date=dag_defaults.START_DATE,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=12),
    default_args=DEFAULT_ARGS,
    params={
        # Airflow can't tell of a failed run of a DAG that has a parameter without a default.
        "version": Param(
            None,
            type=["null", "string"],
            description="As `recommendations/` names it in the bucket. Default: the newest.",
        ),
        "variant": Param("default", type="string", minLength=1, description="For whom it answers."),
        "share": Param(
            None,
            type=["null", "number"],
            minimum=0,
            maximum=1,
            description="Of the visitors, relative to the sum of all variants' shares. Default: as it is.",
        ),
    },
    tags=dag_defaults.TAGS,
    description="A finished version again: new database, restored backup, second region, another variant",
    doc_md=DOCUMENTATION,
    on_failure_callback=dag_defaults.tell_time_out,
)
def load() -> None:
    """One version into Postgres."""
    loaded = load_version()
    move_alias(loaded) >> push_metrics().as_teardown() >> tell_people().as_teardown()


load()
