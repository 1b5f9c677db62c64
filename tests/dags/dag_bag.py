"""What Airflow makes of the DAGs: a program of Airflow's environment, which knows nothing of ours.

It is given files of DAGs, and prints a JSON object: by file, `errors`, `warnings`, `seconds` of a processor that
the import took on top of what all DAGs import, `modules` that it brought, and `dags`.
"""

import json
import os
import sys
import time
import traceback
import warnings
from typing import Any

TRIES = 3
"""A busy machine makes any one of them slower; none makes it faster."""


def main() -> None:
    answer, sys.stdout = sys.stdout, sys.stderr
    # What every DAG takes, whoever writes it.
    import airflow.providers.amazon.aws.operators.sagemaker  # noqa: PLC0415
    import airflow.sdk  # noqa: F401, PLC0415
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415
    from airflow.serialization.serialized_objects import DagSerialization  # noqa: F401, PLC0415

    told = {}
    for file in sys.argv[1:]:
        tries = [in_a_process_of_its_own(file, DagBag) for _ in range(TRIES)]
        told[file] = min(tries, key=lambda each: each["seconds"])
    json.dump(told, answer)


def in_a_process_of_its_own(file: str, bag: Any) -> Any:
    """So that no DAG finds imported what another one has imported; Airflow itself does it so."""
    out, into = os.pipe()
    if (child := os.fork()) == 0:
        try:
            with os.fdopen(into, "w") as answer:
                json.dump(imported(file, bag), answer)
        except Exception:  # noqa: BLE001 - the other process goes on with nothing, and fails
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(into)
    with os.fdopen(out) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text)


def imported(file: str, bag: Any) -> dict[str, Any]:
    """Import one file."""
    from airflow.serialization.serialized_objects import DagSerialization  # noqa: PLC0415

    before = set(sys.modules)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        started = time.process_time()
        found = bag(file, include_examples=False)
        seconds = time.process_time() - started
        for dag in found.dags.values():
            # Whatever Airflow can't keep in its database fails here.
            DagSerialization.to_dict(dag)
    told = [f"{each.category.__name__}: {each.message}" for each in caught]
    return {
        "errors": list(found.import_errors.values()),
        "warnings": told + [each for many in found.captured_warnings.values() for each in many],
        "seconds": seconds,
        "modules": sorted({name.partition(".")[0] for name in set(sys.modules) - before}),
        "dags": [described(dag) for dag in found.dags.values()],
    }


def described(dag: Any) -> dict[str, Any]:
    return {
        "id": dag.dag_id,
        "schedule": dag.schedule,
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "timeout": dag.dagrun_timeout.total_seconds() if dag.dagrun_timeout else None,
        "tags": sorted(dag.tags),
        "description": dag.description,
        "doc": dag.doc_md,
        "on_failure": names(dag.on_failure_callback),
        "params": {name: dag.params.get_param(name).description for name in dag.params},
        "tasks": [described_task(task) for task in dag.topological_sort()],
    }


def described_task(task: Any) -> dict[str, Any]:
    return {
        "id": task.task_id,
        "downstream": sorted(task.downstream_task_ids),
        "owner": task.owner,
        "retries": task.retries,
        "timeout": task.execution_timeout.total_seconds() if task.execution_timeout else None,
        "on_failure": names(task.on_failure_callback),
        "doc": task.doc_md or task.doc,
        "trigger_rule": str(task.trigger_rule),
        "is_teardown": task.is_teardown,
    }


def names(callbacks: Any) -> list[str]:
    many = callbacks if isinstance(callbacks, list | tuple) else [callbacks] if callbacks else []
    return [each.__name__ for each in many]


if __name__ == "__main__":
    main()
