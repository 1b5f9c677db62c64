"""`docs/api.md` and `docs/openapi.json` fail here when they are wrong."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lambda_executor import Function
from twin.api_front import ApiFront
from twin.postgres import create_database, drop_database

from lambdas.migrate_database.migrate import migrate
from lambdas.recommendations_api import errors
from lambdas.recommendations_api.app import app
from lambdas.recommendations_api.openapi import document
from tests.lambdas.versions import NOW, load_first

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/api.md").read_text()
HANDLER = "lambdas.recommendations_api.handler.handler"


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    return found


@pytest.fixture(scope="module")
def front(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiFront]:
    database = create_database(postgres_server, "api_documentation")
    migrate(database)
    load_first(database)
    environment = {
        "DATABASE_URL": database,
        "AS_OF": NOW.isoformat(),
        "DATABASE_TIMEOUT_MS": "10000",
        "AUTHORIZATION": "none",
    }
    log = tmp_path_factory.mktemp("logs") / "api.log"
    with (
        Function(handler=HANDLER, code=ROOT, environment=environment, name="api", log_file=log) as function,
        ApiFront(function) as front,
    ):
        yield front
    drop_database(postgres_server, "api_documentation")


def test_the_document_is_that_of_the_code() -> None:
    assert (ROOT / "docs/openapi.json").read_text() == document(), (
        "bring it up to date: python -m lambdas.recommendations_api.openapi > docs/openapi.json"
    )


def test_every_endpoint_is_on_the_page() -> None:
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in PAGE, (method, path)


def test_every_kind_of_problem_is_on_the_page_with_its_status() -> None:
    rows = [line for line in PAGE.splitlines() if re.match(r"\| `[a-z-]+`[^|]*\| \d{3} \|", line)]
    told = {
        (slug, int(row.split("|")[2]))
        for row in rows
        for slug in re.findall(r"`([a-z-]+)`", row.split("|")[1])
    }
    known = {*errors.PROBLEMS.values(), *errors._OF_STATUS.values(), errors.INTERNAL_ERROR}
    assert told == {(problem.slug, problem.status) for problem in known}


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
@pytest.mark.parametrize("block", blocks("sh"))
def test_the_curl_examples_work(front: ApiFront, block: str) -> None:
    script = block.replace("curl -s", "curl -sf")
    done = run(["bash", "-e", "-c", script], front)
    answers = done.stdout.replace("}{", "}\n{").splitlines()
    assert len(answers) == block.count("curl")


def test_the_python_example_works(front: ApiFront) -> None:
    (block,) = blocks("python")
    assert len(eval(run([sys.executable, "-c", block], front).stdout)) == 3  # noqa: S307 - a printed list


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on this machine")
def test_the_javascript_example_works(front: ApiFront) -> None:
    (block,) = blocks("js")
    assert "popular-0" in run(["node", "--input-type=module", "-e", block], front).stdout


def run(command: list[str], front: ApiFront) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        env={**os.environ, "API": front.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done
