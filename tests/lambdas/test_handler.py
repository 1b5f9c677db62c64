"""The function as Lambda runs it: imported by the real runtime client, stopped by a signal."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lambda_executor import Function
from twin.api_front import ApiFront

from tests.lambdas.callers import event
from tests.lambdas.servers import FakeGateway, fake_gateway
from tests.lambdas.versions import NOW

ROOT = Path(__file__).parents[2]
HANDLER = "lambdas.recommendations_api.handler.handler"
HEAVY = (
    "pandas",
    "numpy",
    "pyarrow",
    "boto3",
    "botocore",
    "mlflow",
    "scipy",
    "duckdb",
    "awslambdaric",
    "uvicorn",
)


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with fake_gateway() as server:
        yield server


@pytest.fixture
def function(database: str, gateway: FakeGateway, tmp_path: Path) -> Iterator[Function]:
    environment = {
        "DATABASE_URL": database,
        "AUTHORIZATION": "none",
        "AS_OF": NOW.isoformat(),
        "PUSHGATEWAY_URL": gateway.url,
        "PUSH_INTERVAL_SECONDS": "600",
        "PUSH_TIMEOUT_MS": "5000",
        "DATABASE_TIMEOUT_MS": "10000",
        "DATABASE_PAUSE_SECONDS": "",
    }
    with Function(
        handler=HANDLER, code=ROOT, environment=environment, log_file=tmp_path / "log", stop_grace=10
    ) as function:
        yield function


MANGUM_WARNS = "ignore:There is no current event loop:DeprecationWarning"
"""From Python 3.12 on: it asks for a loop, and makes one where there is none."""


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-W", MANGUM_WARNS, "-c", program],
        cwd=ROOT,
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_importing_the_handler_is_light_and_connects_to_nothing() -> None:
    program = (
        "import sys, threading, lambdas.recommendations_api.handler as handler\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
        "print(handler._environment._parts, threading.active_count())"
    )
    ended = run(
        program, DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing", PUSHGATEWAY_URL="http://127.0.0.1:1"
    )
    assert (ended.stdout, ended.stderr) == ("[]\nNone 1\n", "")


def test_without_a_database_url_the_import_says_so() -> None:
    ended = run("import lambdas.recommendations_api.handler")
    assert ended.returncode == 1
    assert "database_url" in ended.stderr


@pytest.mark.parametrize("url", ["localhost:9091", "ftp://host", "http://"])
def test_a_pushgateway_url_that_is_none_is_refused_at_the_import(url: str) -> None:
    ended = run(
        "import lambdas.recommendations_api.handler", DATABASE_URL="postgresql://h/n", PUSHGATEWAY_URL=url
    )
    assert ended.returncode == 1
    assert "pushgateway_url" in ended.stderr


def test_the_whole_way_under_the_real_runtime_client(
    function: Function, gateway: FakeGateway, stored: str, tmp_path: Path
) -> None:
    with ApiFront(function) as front:
        connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=60)

        def send(method: str, target: str, body: object = None) -> tuple[int, str | None, bytes]:
            connection.request(method, target, json.dumps(body) if body else None)
            response = connection.getresponse()
            return response.status, response.headers["Content-Type"], response.read()

        def items(user: str) -> list[str]:
            status, _, content = send("GET", f"/v1/users/{user}/recommendations?limit=3")
            assert status == 200
            return [item["item_id"] for item in json.loads(content)["items"]]

        assert items("known") == ["personal-1", "personal-2", "popular-0"]
        assert items("a%2Fb") == ["popular-0", "popular-1", "popular-2"]
        assert send("POST", "/v1/events", {"events": [event("a/b", "tent")]})[0] == 202
        assert items("a%2Fb") == ["tent", "stove", "mat"]
        status, kind, content = send("GET", "/v1/items/nothing/similar")
        assert (status, kind) == (404, "application/problem+json")
        assert json.loads(content)["type"] == "urn:problem:unknown-item"
        assert send("GET", "/docs")[1] == "text/html; charset=utf-8"
        connection.close()
    check_end(function, gateway)
    told = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    lines = [line for line in told if line["message"] == "request"]
    assert [line["status"] for line in lines] == [200, 200, 202, 200, 404, 200]
    assert lines[0]["source"] == "personalized"
    assert lines[0]["trace_id"]


def check_end(function: Function, gateway: FakeGateway) -> None:
    """SIGTERM comes, because an extension is registered, and the last numbers get to the gateway."""
    assert len(gateway.pushes) == 1
    (environment,) = function.environments
    assert environment.has_extension
    function.stop()
    assert environment._status == 0, "it ended by itself"
    values = gateway.pushes[-1].values
    assert len(gateway.pushes) == 2
    assert sum(value for (name, *_), value in values.items() if name == "shop_api_requests_total") == 6
