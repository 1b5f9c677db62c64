"""Runs one DAG once, without a scheduler: a program of Airflow's environment, which knows nothing of ours.

Standard input is a JSON object: `dag`, `file`, `conf`; `run_after` and `logical_date`, ISO 8601, or null;
`again`, whether each task is run once more when all are done. Airflow's own log goes to standard error.
Standard output is a JSON object: `run_id`, `state`; of each of `tasks`, `name`, `state`, `try_number`,
`started`, `ended`, `result`.

`dag.test()` is not quite a worker and a triggerer. What those do for callbacks and for triggers that fail is
done here.
"""

import functools
import json
import sys
from datetime import datetime
from typing import Any


def main() -> None:
    """Run it; the state that it ends in is no matter of the exit status."""
    asked = json.load(sys.stdin)
    # Whatever a library prints is no part of the answer.
    answer, sys.stdout = sys.stdout, sys.stderr

    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415

    make_one_api()
    tell_callbacks_why()
    resume_where_triggers_fail()
    bag = DagBag(asked["file"], include_examples=False)
    if bag.import_errors:
        sys.exit("\n".join(bag.import_errors.values()))
    after = datetime.fromisoformat(asked["run_after"]) if asked["run_after"] else None
    # As a run that somebody asks for: it has a moment after which it runs, and no logical date. `dag.test()`
    # deletes another run of the same date, or of none.
    date = asked.get("logical_date") and datetime.fromisoformat(asked["logical_date"])
    dag = bag.dags[asked["dag"]]
    run = dag.test(run_conf=asked["conf"], logical_date=date, run_after=after)
    if asked.get("again"):
        run_again(dag, run)
    json.dump({"run_id": run.run_id, "state": str(run.state), "tasks": tasks(run)}, answer)


def make_one_api() -> None:
    """Let tasks share the API that they speak with: `dag.test()` makes a new one for each, in seconds."""
    from airflow.sdk.execution_time import supervisor  # noqa: PLC0415

    supervisor.in_process_api_server = functools.cache(supervisor.in_process_api_server)


def tell_callbacks_why() -> None:
    """Let callbacks of failed tasks find the exception: a worker tells them, `dag.test()` forgets it."""
    from airflow.sdk.execution_time import task_runner  # noqa: PLC0415

    finalize = task_runner.finalize

    def with_exception(ti: Any, state: Any, context: Any, log: Any, error: Any = None) -> None:
        context["exception"] = error
        finalize(ti, state, context, log, error)

    task_runner.finalize = with_exception


def resume_where_triggers_fail() -> None:
    """Give a task whose trigger failed an event that says so: `dag.test()` would end it then and there."""
    from airflow.sdk.definitions import dag  # noqa: PLC0415
    from airflow.triggers.base import TriggerEvent  # noqa: PLC0415

    run_inline = dag._run_inline_trigger  # noqa: SLF001

    def with_event(trigger: Any, instance: Any) -> Any:
        try:
            return run_inline(trigger, instance)
        except Exception as error:  # noqa: BLE001 - whatever it is, the task hears it
            return TriggerEvent({"status": "error", "message": str(error)})

    dag._run_inline_trigger = with_event  # noqa: SLF001


def run_again(dag: Any, run: Any) -> None:
    """Run each task once more, as it is when somebody clears it and nothing else."""
    from airflow.sdk.definitions.dag import _run_task  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415

    for name in dag.task_dict:
        with create_session() as session:
            instance = run.get_task_instance(name, session=session)
            if str(instance.state) == "skipped":
                continue
            instance.try_number += 1
            instance.state = "scheduled"
        with create_session() as session:
            _run_task(
                ti=run.get_task_instance(name, session=session), task=dag.task_dict[name], run_triggerer=True
            )


def tasks(run: Any) -> list[dict[str, Any]]:
    """Every task, in the order in which they ended."""
    from airflow.models.xcom import XComModel  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import select  # noqa: PLC0415

    with create_session() as session:
        values = {
            each.task_id: XComModel.deserialize_value(each)
            for each in session.scalars(
                select(XComModel).where(XComModel.run_id == run.run_id, XComModel.key == "return_value")
            )
        }
        instances = run.get_task_instances(session=session)
        return [
            {
                "name": each.task_id,
                "state": str(each.state),
                "try_number": each.try_number,
                "started": each.start_date.isoformat() if each.start_date else None,
                "ended": each.end_date.isoformat() if each.end_date else None,
                "result": values.get(each.task_id),
            }
            for each in sorted(instances, key=lambda each: (each.end_date is None, str(each.end_date)))
        ]


if __name__ == "__main__":
    main()
