"""The backfill: a shop's history, from a bucket to where the training reads it."""

from datetime import timedelta
from typing import Any

import dag_defaults
from airflow.sdk import Param, dag, get_current_context, task
from dag_defaults import DEFAULT_ARGS, push_metrics, tell_people

DOCUMENTATION = """
### The backfill

Imports files of events, and of a catalogue if there is one. Put them below `backfill/` in the bucket of
events and name them by their keys, or name any `s3://…` that Airflow's role may read. The next retrain learns
from them.

**When it fails**, nobody reads anything of what was imported, and the error says which file or row is wrong.
Run again with the same files and options, it writes the same again. More: `docs/runbook.md`, *Backfill*.
"""

SOURCES: dict[str, Any] = {"type": "array", "items": {"type": "string", "minLength": 1}}
NAMES: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}


@task(execution_timeout=timedelta(hours=12))
def import_history() -> dict[str, Any]:
    """Import the files; what the import tells is the result."""
    from tasks.backfill import Understanding  # noqa: PLC0415
    from tasks.backfill import import_history as bring  # noqa: PLC0415

    params = get_current_context()["params"]
    how = Understanding(
        file_format=params["format"],
        columns=params["columns"],
        event_types=params["event_types"],
        as_of=params["as_of"],
        max_bad_share=params["max_bad_share"],
        allow_empty_days=params["allow_empty_days"],
        allow_no_targets=params["allow_no_targets"],
    )
    return dag_defaults.run(
        lambda deployment: bring(
            deployment, sources=params["sources"], catalogue=params["catalogue"], understanding=how
        )
    )


@dag(
    schedule=None,
    start_date=dag_defaults.START_DATE,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(days=1),
    default_args=DEFAULT_ARGS,
    params={
        "sources": Param(
            ["backfill/"],
            **SOURCES,
            minItems=1,
            description="Files or folders with events: keys in the bucket of events, or s3://….",
        ),
        "catalogue": Param([], **SOURCES, description="Files or folders with items or categories alone."),
        "format": Param(
            "auto",
            enum=["auto", "native", "retailrocket", "personalize"],
            description="Whose files they are; auto tells by their columns.",
        ),
        "columns": Param({}, **NAMES, description='Unusual columns, as in {"buyer": "user_id"}.'),
        "event_types": Param({}, **NAMES, description='Unusual kinds, as in {"checkout": "purchase"}.'),
        "as_of": Param(
            None, type=["null", "string"], description="Events after this moment, ISO 8601, are rejected."
        ),
        "max_bad_share": Param(
            0.01, type="number", minimum=0, maximum=1, description="More bad rows than this share stop it."
        ),
        "allow_empty_days": Param(
            False, type="boolean", description="Go on where a day between the first and the last has none."
        ),
        "allow_no_targets": Param(
            False, type="boolean", description="Go on where nothing was carted or bought."
        ),
    },
    tags=dag_defaults.TAGS,
    description="A shop's history, from a bucket to where the training reads it",
    doc_md=DOCUMENTATION,
    on_failure_callback=dag_defaults.tell_time_out,
)
def backfill() -> None:
    """One import."""
    import_history() >> push_metrics().as_teardown() >> tell_people().as_teardown()


backfill()
