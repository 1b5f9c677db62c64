"""Each function as a template has it: its archive unpacked, under AWS's own runtime client, and nothing else of this
environment's packages; it answers."""

import importlib.metadata
import json
import shutil
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from lambda_executor import Function

from infra.constructs.database import CERTIFICATES
from lambdas import archive
from tests.infra.conftest import Templates, resources
from tests.lambdas.callers import proxy_event
from tests.lambdas.rds import MASTER, Rds, running_rds

RUNTIME = ("awslambdaric", "simplejson", "snapshot-restore-py")
"""What Lambda's Python brings along, of what the functions need here: botocore is for AWS alone."""
ROLE = {"identity": {"userArn": "arn:aws:sts::123456789012:assumed-role/shop/session"}}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Lambda's runtime client alone."""
    folder: Path = tmp_path_factory.mktemp("runtime")
    for name in RUNTIME:
        for file in importlib.metadata.files(name) or ():
            if ".." not in file.parts:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), folder / file)
    return folder


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The functions' archives as Lambda unpacks them, made for this machine."""
    folder: Path = tmp_path_factory.mktemp("unpacked")
    for name in ("recommendations_api", "housekeeping", "migrate_database"):
        output = folder / f"{name}.zip"
        archive.build(name, output, archive.HERE)
        with zipfile.ZipFile(output) as packed:
            packed.extractall(folder / name)
    return {path.name: path for path in folder.iterdir() if path.is_dir()}


@pytest.fixture(scope="module")
def rds(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_rds(tmp_path_factory.mktemp("rds") / "log") as server:
        server.make_database()
        yield server


def deployed(templates: Templates, noun: str, name: str) -> Mapping[str, Any]:
    (properties,) = [
        function["Properties"]
        for function in resources(templates["dev"][noun], "AWS::Lambda::Function").values()
        if function["Properties"].get("FunctionName") == f"shop-dev-{name}"
    ]
    return properties


def invoke(  # noqa: PLR0917 - one call, told in full
    properties: Mapping[str, Any],
    url: str,
    unpacked: Mapping[str, Path],
    runtime: Path,
    event: Any,
    log: Path,
) -> Any:
    """What the function answers with its own settings, but for where Postgres is and how to log in."""
    variables = {
        name: value
        for name, value in properties["Environment"]["Variables"].items()
        if isinstance(value, str) and not name.startswith("DATABASE_")
    }
    # No gateway and no secrets are here; that the names lead to them is for the templates' tests.
    variables.pop("PUSHGATEWAY_URL", None)
    code = unpacked[properties["Handler"].split(".")[1]]
    with Function(
        handler=properties["Handler"],
        code=code,
        environment={**variables, "DATABASE_URL": url, "PYTHONPATH": str(runtime)},
        python=sys._base_executable,  # type: ignore[attr-defined]
        timeout=properties["Timeout"],
        memory_mb=properties["MemorySize"],
        log_file=log,
    ) as function:
        result = function.invoke(json.dumps(event).encode())
    assert not result.is_error, f"{result.payload!r} {log.read_text()}"
    return json.loads(result.payload)


def test_one_after_the_other_they_set_up_keep_house_and_answer(
    templates: Templates, rds: Rds, unpacked: Mapping[str, Path], runtime: Path, tmp_path: Path
) -> None:
    def asked(noun: str, name: str, role: str, event: Any) -> Any:
        url = rds.url(role)
        return invoke(deployed(templates, noun, name), url, unpacked, runtime, event, tmp_path / name)

    def http(name: str, role: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        event = proxy_event(method, path, body=None if body is None else json.dumps(body))
        event["requestContext"].update(ROLE)
        answer = asked("api", name, role, event)
        return answer["statusCode"], json.loads(answer["body"])

    made = asked("data", "migrate-database", MASTER, {"RequestType": "Create"})
    assert made["applied"]
    report = asked("api", "housekeeping", "housekeeping", {})
    assert report["failed"] == []
    assert report["measures"]["shop_housekeeping_partitions_ahead_days"] == 7

    assert http("api-read", "api_read", "GET", "/health")[0] == 200
    status, problem = http("api-read", "api_read", "GET", "/v1/popular")
    assert (status, problem["type"]) == (503, "urn:problem:no-version")
    event = {"user_id": "u", "item_id": "i", "event_type": "view"}
    status, _ = http("api-write", "api_write", "POST", "/v1/events", {"events": [event]})
    assert status == 202
    with psycopg.connect(rds.url()) as connection:
        connection.execute("SET ROLE shop_owner")
        assert connection.execute("SELECT user_id, item_id FROM events").fetchall() == [("u", "i")]
    status, problem = http("api-read", "api_read", "POST", "/v1/events", {"events": [event]})
    assert (status, problem["type"]) == (421, "urn:problem:misdirected")


def test_the_authorities_that_functions_trust_are_in_their_archives(unpacked: Mapping[str, Path]) -> None:
    for folder in unpacked.values():
        assert (folder / Path(CERTIFICATES).relative_to("/var/task")).is_file()
