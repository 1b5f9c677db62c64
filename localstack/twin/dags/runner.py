"""Runs one DAG once, without a scheduler: a program of Airflow's environment, which knows nothing of ours.

Standard input is a JSON object: `dag`, `file`, `conf`, and `run_after`, ISO 8601, or null. Airflow's own log
goes to standard error; standard output is a JSON object: `state`, and for each of `tasks`, `name`, `state`,
`try_number`, `started`, `ended`, `result`.
"""

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

    tell_callbacks_why()
    bag = DagBag(asked["file"], include_examples=False)
    if bag.import_errors:
        sys.exit("\n".join(bag.import_errors.values()))
    after = datetime.fromisoformat(asked["run_after"]) if asked["run_after"] else None
    # As a run that somebody asks for: it has a moment after which it runs, and no logical date.
    run = bag.dags[asked["dag"]].test(run_conf=asked["conf"], logical_date=None, run_after=after)
    json.dump({"run_id": run.run_id, "state": str(run.state), "tasks": tasks(run)}, answer)


def tell_callbacks_why() -> None:
    """Let callbacks of failed tasks find the exception: a worker tells them, `dag.test()` forgets it."""
    from airflow.sdk.execution_time import task_runner  # noqa: PLC0415

    finalize = task_runner.finalize

    def with_exception(ti: Any, state: Any, context: Any, log: Any, error: Any = None) -> None:
        context["exception"] = error
        finalize(ti, state, context, log, error)

    task_runner.finalize = with_exception


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
