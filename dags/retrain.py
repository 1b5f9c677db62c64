"""The retrain: from new events to a version that is live, if it is better."""

from datetime import timedelta
from typing import Any

import dag_defaults
from airflow.sdk import Param, dag, get_current_context, task
from dag_defaults import DEFAULT_ARGS, push_metrics, tell_people
from operators.train import TrainOperator
from operators.watch import WatchOperator
from tasks.deployment import retrain_schedule

DOCUMENTATION = """
### The retrain

Exports posted events, looks at all of them, trains in SageMaker, and loads the new version as a canary if
the gate finds it better. It goes live once the real function has answered by it; where it then serves worse,
it is taken back.

**When it fails**, what is served stays as it was, unless the failed step is `watch`, which has gone back to
the version before. The notification names the step, the reason and the log. Any task may be cleared and run
again; a training that is on its way, or done, is found, not made a second time. A run that ends with *kept*
is no failure: the version that is live is better. Step by step: `docs/runbook.md`, *Retrain*.
"""

SHARE: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
PARAMS = {
    "as_of": Param(
        None,
        type=["null", "string"],
        description="The moment to take for now, ISO 8601; what is later is left out. Default: the run's.",
    ),
    "window_days": Param(28, type="integer", minimum=1, description="Days of events that are validated."),
    "max_bad_share": Param(0.05, **SHARE, description="More rejected rows than this share stop the run."),
    "allow_empty_days": Param(
        False, type="boolean", description="Go on where a day of the window has no events at all."
    ),
    "max_drift": Param(
        None,
        type=["null", "number"],
        description="Stop where a distribution changed by more (population stability index). "
        "Default: only tell.",
    ),
    "hyperparameters": Param(
        {},
        type="object",
        description='Of the training, by name, such as {"als_factors": 32}; docs/settings.md lists them.',
    ),
    "max_canary_seconds": Param(
        1.0, type="number", exclusiveMinimum=0, description="The canary's median answer may take so long."
    ),
    "min_canary_overlap": Param(
        0.01, **SHARE, description="Least share of items in common with what is live."
    ),
    "watch_minutes": Param(
        30,
        type="number",
        minimum=0,
        description="How long a new version is watched before it stays; 0: not at all.",
    ),
    "watch_min_requests": Param(
        500, type="integer", minimum=1, description="With fewer requests in that time there is no verdict."
    ),
    "watch_max_more_errors": Param(0.01, **SHARE, description="How much the share of 5xx may grow."),
    "watch_max_more_fallback": Param(
        0.1, **SHARE, description="How much the share of popular-only answers may grow."
    ),
}


@task
def plan() -> dict[str, Any]:
    """Decide which moment the run stands for, what it is called, and what SageMaker is asked for."""
    context = get_current_context()
    refuse_second_run(context)
    return dag_defaults.run(lambda deployment: _plan(deployment, context))


def refuse_second_run(context: Any) -> None:
    """Fail where another run is on its way: both would load and move the same rows."""
    from airflow.sdk.exceptions import AirflowFailException  # noqa: PLC0415

    instance = context["ti"]
    if instance.get_dr_count(dag_id=instance.dag_id, states=["running"]) > 1:
        raise AirflowFailException("another retrain is running: wait for its end, then run this one again")


def _plan(deployment: Any, context: Any) -> dict[str, Any]:
    from tasks.deployment import training_request  # noqa: PLC0415
    from tasks.moment import as_of, name_of  # noqa: PLC0415
    from tasks.training_job import plan_training  # noqa: PLC0415
    from tasks.versions import served_version  # noqa: PLC0415

    params, run = context["params"], context["dag_run"]
    moment = as_of(params["as_of"], context.get("data_interval_end"), run.run_after)
    served = served_version(deployment)
    request = plan_training(
        training_request(),
        deployment,
        moment=moment,
        served_version=served,
        hyperparameters=params["hyperparameters"],
    )
    return {"as_of": moment, "name": name_of(moment), "served_version": served, "request": request}


@task(execution_timeout=timedelta(hours=2))
def export_events() -> dict[str, Any]:
    """Bring posted events from Postgres into the bucket."""
    from tasks.events import export  # noqa: PLC0415

    return dag_defaults.run(export)


@task(execution_timeout=timedelta(hours=2))
def validate_events(planned: dict[str, Any]) -> dict[str, Any]:
    """Look at the latest events; stop where nothing good could be learnt from them."""
    from tasks.events import Demands, validate  # noqa: PLC0415

    params = get_current_context()["params"]
    demands = Demands(
        window_days=params["window_days"],
        max_bad_share=params["max_bad_share"],
        allow_empty_days=params["allow_empty_days"],
        max_drift=params["max_drift"],
    )
    return dag_defaults.run(
        lambda deployment: validate(
            deployment, moment=planned["as_of"], name=f"retrain-{planned['name']}", demands=demands
        )
    )


@task
def gate(trained: dict[str, Any]) -> dict[str, Any]:
    """Read what the training's gate decided."""
    from tasks.gate import read_decision  # noqa: PLC0415

    return dag_defaults.run(lambda _: read_decision(trained["model_uri"]))


@task.short_circuit(ignore_downstream_trigger_rules=False)
def promoted(decision: dict[str, Any]) -> bool:
    """Go on only with a version that is better than what is live."""
    return bool(decision["outcome"] == "promoted")


@task(execution_timeout=timedelta(hours=3))
def load_canary(decision: dict[str, Any]) -> dict[str, Any]:
    """Load the version into Postgres, where only the canary answers by it."""
    from tasks.versions import load  # noqa: PLC0415

    return dag_defaults.run(lambda deployment: load(deployment, decision["version"]))


@task
def try_canary(loaded: dict[str, Any]) -> dict[str, Any]:
    """Ask the real function for it; drop it where an answer isn't as it should be."""
    params = get_current_context()["params"]
    return dag_defaults.run(lambda deployment: _try(deployment, loaded["version"], params))


def _try(deployment: Any, version: str, params: Any) -> dict[str, Any]:
    from tasks.canary import CanaryError, Limits, try_version  # noqa: PLC0415
    from tasks.versions import drop_canary  # noqa: PLC0415

    limits = Limits(max_seconds=params["max_canary_seconds"], min_overlap=params["min_canary_overlap"])
    try:
        return try_version(deployment, version, limits)
    except CanaryError:
        drop_canary(deployment, version)
        raise


@task
def go_live(loaded: dict[str, Any]) -> dict[str, Any]:
    """Move the serving row: from here on everybody is answered by the new version."""
    from tasks.versions import go_live as move  # noqa: PLC0415

    return dag_defaults.run(lambda deployment: move(deployment, loaded["version"]))


@task
def move_alias(live: dict[str, Any]) -> dict[str, Any]:
    """Let MLflow's alias `champion` follow what is live."""
    from tasks.registry import crown  # noqa: PLC0415

    return dag_defaults.run(lambda deployment: crown(deployment, live["version"]))


@dag(
    schedule=retrain_schedule(),
    start_date=dag_defaults.START_DATE,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(days=2),
    default_args=DEFAULT_ARGS,
    params=PARAMS,
    tags=dag_defaults.TAGS,
    description="From new events to a version that is live, if it is better",
    doc_md=DOCUMENTATION,
    on_failure_callback=dag_defaults.tell_time_out,
)
def retrain() -> None:
    """Each step is told by its task."""
    planned = plan()
    validated = validate_events(planned)
    trained = TrainOperator(
        task_id="train",
        request=planned["request"],
        # As long as SageMaker itself lets a job go on; the job has its own, shorter limit.
        execution_timeout=timedelta(days=2),
        doc="Train in SageMaker, ask the gate, publish what it promotes.",
    )
    decision = gate(trained.output)
    is_better = promoted(decision)
    loaded = load_canary(decision)
    tried = try_canary(loaded)
    live = go_live(loaded)
    watched = WatchOperator(task_id="watch", live=live, doc="Go back where the new version serves worse.")
    crowned = move_alias(live)
    planned >> export_events() >> validated >> trained
    is_better >> loaded
    tried >> live
    watched >> crowned
    crowned >> push_metrics().as_teardown() >> tell_people().as_teardown()


retrain()
