"""Each DAG as Airflow reads it: quick, quiet, documented, limited, and of the structure that is written down."""

import itertools
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from twin.dags.airflow_home import DAGS, PYTHON

from contract.metrics import DAGS as MEASURED

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("dag_bag.py")
README = (DAGS / "README.md").read_text()
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
IGNORED = (DAGS / ".airflowignore").read_text().split()
FILES = sorted(path for path in DAGS.glob("*.py") if path.name not in IGNORED)
SCHEDULE = "17 3 * * *"
MAX_SECONDS = 1.0
"""Of a processor, on top of what importing Airflow's SDK and the SageMaker operator takes."""
HEAVY = {"catboost", "duckdb", "ibis", "implicit", "matplotlib", "mlflow", "pandas", "scipy"}
A_DAY = 86_400


def read(files: list[Path], folder: Path) -> dict[str, Any]:
    """What Airflow makes of files, by their names without the ending; one process for all of them."""
    if not PYTHON.exists():
        pytest.skip("Airflow is not installed: `make build/airflow/installed` does it")
    (folder / "deployment.json").write_text(json.dumps({"retrain_schedule": SCHEDULE}))
    ended = subprocess.run(
        [PYTHON, PROGRAM, *files],
        env={
            "PATH": os.defpath,
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "PYTHONPATH": os.pathsep.join([str(DAGS), str(ROOT)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SHOP_DEPLOYMENT": str(folder),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return {Path(file).stem: told for file, told in json.loads(ended.stdout).items()}


@pytest.fixture(scope="module")
def read_dags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return read(FILES, tmp_path_factory.mktemp("airflow"))


def documented(dag: str) -> tuple[list[list[str]], list[str]]:
    """Of a DAG in dags/README.md: its tasks in order, those of a step side by side; and of which it says more."""
    section = README.partition(f"### `{dag}`\n\n")[2].partition("\n#")[0]
    steps = [re.findall(r"`(\w+)`", step) for step in section.partition("\n\n")[0].split("→")]
    return steps, re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def missing(dag: dict[str, Any]) -> list[str]:
    """What a DAG has not, of all that every one has to have."""
    problems = []
    section = re.search(r"`docs/runbook\.md`, \*([^*]+)\*", dag["doc"] or "")
    if section is None or not re.search(rf"^##+ {section[1]}$", RUNBOOK, re.MULTILINE):
        problems.append("its documentation links no section of docs/runbook.md")
    if "**When it fails**" not in (dag["doc"] or "") or not dag["description"]:
        problems.append("its documentation does not say what to do when it fails")
    if dag["tags"] != ["shop-recommender"] or dag["catchup"] or dag["max_active_runs"] != 1:
        problems.append("tags, catchup or max_active_runs")
    if not dag["timeout"] or "tell_time_out" not in dag["on_failure"]:
        problems.append("nobody is told when it takes too long")
    problems += [f"the param {name} has no description" for name, told in dag["params"].items() if not told]
    for task in dag["tasks"]:
        if task["owner"] != "shop-recommender":
            problems.append(f"{task['id']} has the owner {task['owner']}")
        if not 1 <= task["retries"] <= 3:
            problems.append(f"{task['id']} is tried {task['retries']} times more")
        if not task["timeout"] or task["timeout"] > dag["timeout"]:
            problems.append(f"{task['id']} has no limit of time within the run's")
        if task["on_failure"] != ["tell_failure"]:
            problems.append(f"nobody is told when {task['id']} fails")
        if not task["doc"]:
            problems.append(f"{task['id']} says nothing of itself")
    return problems


@pytest.mark.parametrize("name", [file.stem for file in FILES])
def test_each_dag_is_as_all_have_to_be(read_dags: dict[str, Any], name: str) -> None:
    told = read_dags[name]
    assert (told["errors"], told["warnings"]) == ([], [])
    assert told["seconds"] <= MAX_SECONDS
    assert HEAVY & set(told["modules"]) == set()
    (dag,) = told["dags"]
    assert (dag["id"], name in MEASURED) == (name, True)
    assert missing(dag) == []
    # Each task of a step comes before each of the next one, and no edge leads back.
    tasks = {task["id"]: set(task["downstream"]) for task in dag["tasks"]}
    steps, told_of = documented(name)
    order = {task: number for number, step in enumerate(steps) for task in step}
    assert set(order) == set(tasks) == set(told_of)
    for step, following in itertools.pairwise(steps):
        assert all(set(following) <= tasks[task] for task in step)
    assert all(order[task] < order[other] for task, others in tasks.items() for other in others)
    # Telling and measuring decide nothing, and come whatever happened before.
    last = {task["id"] for task in dag["tasks"] if task["is_teardown"]}
    assert last == {"push_metrics", "tell_people"} == {task for step in steps[-2:] for task in step}


def test_what_runs_by_itself_is_the_retrain_and_the_maintenance(read_dags: dict[str, Any]) -> None:
    schedules = {name: told["dags"][0]["schedule"] for name, told in read_dags.items()}
    by_themselves = {name: schedule for name, schedule in schedules.items() if schedule}
    assert by_themselves == {"retrain": SCHEDULE, "maintenance": "41 13 * * *"}
    # On the hour everybody else's jobs begin as well.
    assert all(schedule.split()[0] not in ("0", "30") for schedule in by_themselves.values())


BAD = """
import warnings
import mlflow
from airflow.sdk import Param, dag, task

warnings.warn("this goes", DeprecationWarning)

@task(retries=0)
def step():
    return 1

@dag(schedule=None, params={"share": Param(0.5, type="number")})
def bad():
    step()

bad()
"""


def test_a_dag_that_is_none_of_this_would_be_told(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(BAD)
    told = read([file], tmp_path)["bad"]
    assert any("this goes" in warning for warning in told["warnings"])
    assert "mlflow" in told["modules"]
    (dag,) = told["dags"]
    assert missing(dag) == [
        "its documentation links no section of docs/runbook.md",
        "its documentation does not say what to do when it fails",
        "tags, catchup or max_active_runs",
        "nobody is told when it takes too long",
        "the param share has no description",
        "step has the owner airflow",
        "step is tried 0 times more",
        "step has no limit of time within the run's",
        "nobody is told when step fails",
        "step says nothing of itself",
    ]
