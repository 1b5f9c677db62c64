"""`docs/api.md` and `docs/openapi.json` fail here when they are wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from lambda_executor import Function
from twin.api_front import ApiFront, Authorizer
from twin.postgres import create_database, drop_database

from lambdas.jwt_authorizer.authorizer import Authorizer as TokenAuthorizer
from lambdas.jwt_authorizer.settings import Settings as AuthorizerSettings
from lambdas.migrate_database.migrate import migrate
from lambdas.recommendations_api import errors
from lambdas.recommendations_api.app import app
from lambdas.recommendations_api.openapi import document
from tests.lambdas.edges import API_KEY, CREDENTIALS, REGION, by_key, by_signature, by_token
from tests.lambdas.issuer import AUDIENCE, ec_key, running_issuer
from tests.lambdas.versions import NOW, load_first

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/api.md").read_text()
KEYS = {
    "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key,
    "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_key,
    "AWS_REGION": REGION,
}
HANDLER = "lambdas.recommendations_api.handler.handler"


class Tokens(NamedTuple):
    issuer: str
    make: Callable[[], str]


Start = Callable[..., ApiFront]


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    return found


@pytest.fixture(scope="module")
def start(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts the API in a mode, behind an edge that finds out who calls."""
    database = create_database(postgres_server, "api_documentation")
    migrate(database)
    load_first(database)
    environment = {
        "DATABASE_URL": database,
        "AS_OF": NOW.isoformat(),
        "DATABASE_TIMEOUT_MS": "10000",
    }
    logs = tmp_path_factory.mktemp("logs")
    with ExitStack() as started:

        def start(mode: str, authorizer: Authorizer | None) -> ApiFront:
            variables = {**environment, "AUTHORIZATION": mode}
            log = logs / f"{mode}.log"
            function = Function(handler=HANDLER, code=ROOT, environment=variables, name=mode, log_file=log)
            started.enter_context(function)
            return started.enter_context(ApiFront(function, authorizer=authorizer))

        yield start
    drop_database(postgres_server, "api_documentation")


@pytest.fixture(scope="module")
def front(start: Start) -> ApiFront:
    return start("none", None)


@pytest.fixture(scope="module")
def signed_front(start: Start) -> ApiFront:
    return start("iam", by_signature)


@pytest.fixture(scope="module")
def key_front(start: Start) -> ApiFront:
    return start("api_key", by_key)


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


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_a_signed_call_from_the_shell(signed_front: ApiFront) -> None:
    (block,) = blocks("sh signed")
    script = block.replace("curl -s", "curl -sf")
    assert len(json.loads(run(["bash", "-e", "-c", script], signed_front, **KEYS).stdout)["items"]) == 3


def test_a_signed_call_from_python(signed_front: ApiFront) -> None:
    (block,) = blocks("python signed")
    assert "popular-0" in run([sys.executable, "-c", block], signed_front, **KEYS).stdout


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on this machine")
def test_a_signed_call_from_javascript(signed_front: ApiFront) -> None:
    (block,) = blocks("js signed")
    assert "popular-0" in run(["node", "--input-type=module", "-e", block], signed_front, **KEYS).stdout


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on this machine")
def test_the_javascript_signs_any_id_and_any_body(signed_front: ApiFront) -> None:
    (block,) = blocks("js signed")
    program = (
        block[: block.index("const { items } = await")]
        + """
        await call("GET", "/v1/users/" + encodeURIComponent("ä/b c'(1)!*") + "/recommendations?exclude_items=a%20b,%2Fc*");
        await call("POST", "/v1/events", { events: [{ user_id: "ü", item_id: "a", event_type: "view" }] });
        await call("DELETE", "/v1/users/someone");
        console.log("done");
    """
    )
    assert "done" in run(["node", "--input-type=module", "-e", program], signed_front, **KEYS).stdout


def test_another_signature_is_refused(signed_front: ApiFront) -> None:
    (block,) = blocks("python signed")
    wrong = {**KEYS, "AWS_SECRET_ACCESS_KEY": "another"}
    done = started([sys.executable, "-c", block], signed_front, **wrong)
    assert done.returncode != 0
    assert "HTTP Error 403" in done.stderr


@pytest.fixture(scope="module")
def tokens() -> Iterator[Tokens]:
    """Makes tokens that may read, and knows where their key is published."""
    with running_issuer() as issuer:
        key = ec_key("documented")
        issuer.publish(key)
        yield Tokens(issuer.url, lambda: key.sign(issuer.claims(scope="read")))


@pytest.fixture(scope="module")
def token_front(start: Start, tokens: Tokens) -> ApiFront:
    settings = AuthorizerSettings(jwt_issuer=tokens.issuer, jwt_audience=(AUDIENCE,))
    return start("jwt", by_token(TokenAuthorizer(settings)))


@pytest.mark.parametrize(
    ("language", "command"),
    [
        ("sh", ["bash", "-e", "-c"]),
        ("python", [sys.executable, "-c"]),
        ("js", ["node", "--input-type=module", "-e"]),
    ],
)
def test_a_call_with_a_token(
    token_front: ApiFront, tokens: Tokens, language: str, command: list[str]
) -> None:
    if shutil.which("curl" if language == "sh" else command[0]) is None:
        pytest.skip("curl or node is not on this machine")
    (block,) = blocks(f"{language} token")
    block = block.replace("curl -s", "curl -sf")
    good = tokens.make()
    assert "popular-0" in run([*command, block], token_front, TOKEN=good).stdout
    assert started([*command, block], token_front, TOKEN=good[:-20] + "A" * 20).returncode != 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_a_call_with_a_key(key_front: ApiFront) -> None:
    (block,) = blocks("sh key")
    script = block.replace("curl -s", "curl -sf")
    done = run(["bash", "-e", "-c", script], key_front, API_KEY=API_KEY)
    assert len(json.loads(done.stdout)["items"]) == 3
    assert started(["bash", "-e", "-c", script], key_front, API_KEY="another").returncode != 0


def run(command: list[str], front: ApiFront, **environment: str) -> subprocess.CompletedProcess[str]:
    done = started(command, front, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def started(command: list[str], front: ApiFront, **environment: str) -> subprocess.CompletedProcess[str]:
    without = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        command,
        env={**without, "API": front.url, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
