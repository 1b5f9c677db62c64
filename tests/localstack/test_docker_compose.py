"""The Compose file, which nothing here runs: its form, and that it agrees with what is deployed to it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from infra.config import STAGE_DEFAULTS
from infra.constructs.database import ENGINE
from infra.monitoring import PUSHGATEWAY_IMAGE

FILE = Path(__file__).parents[2] / "localstack/docker-compose.yml"


def document() -> Any:
    return yaml.safe_load(FILE.read_text())


def linted(file: Path) -> subprocess.CompletedProcess[str]:
    lint = Path(sys.executable).with_name("check-jsonschema")
    command = [lint, "--builtin-schema", "vendor.compose-spec", file]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_has_the_form_of_a_compose_file(tmp_path: Path) -> None:
    assert linted(FILE).returncode == 0, linted(FILE).stdout
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(FILE.read_text().replace("ports:", "port:"))
    assert "'port' was unexpected" in linted(wrong).stdout


def test_its_servers_are_the_versions_that_are_deployed() -> None:
    images = {name: service.get("image") for name, service in document()["services"].items()}
    assert images["pushgateway"] == PUSHGATEWAY_IMAGE
    assert images["postgres"].endswith(f"/postgres:{ENGINE.engine_version.full_version}")
    installed = re.search(
        r"^localstack-core==(\d+)\.(\d+)\.(\d+)",
        (FILE.parents[1] / "locks/localstack.txt").read_text(),
        re.MULTILINE,
    )
    assert installed is not None
    year, month, patch = installed.groups()
    assert f"localstack/localstack:{year}.{int(month):02}.{patch}" in images["localstack"]


def test_the_secret_is_the_one_that_functions_read_and_leads_to_its_postgres() -> None:
    compose = document()
    script = compose["configs"]["database_secret"]["content"]
    assert f"--name {STAGE_DEFAULTS['local']['database_secret']} " in script
    secret = json.loads(re.search(r"'(\{.*\})'", script).group(1))  # type: ignore[union-attr]
    assert secret["host"] in compose["services"]
    given = compose["services"][secret["host"]]["environment"]
    assert (secret["dbname"], secret["password"]) == (given["POSTGRES_DB"], given["POSTGRES_PASSWORD"])


def test_it_is_reached_from_this_machine_alone() -> None:
    ports = [port for service in document()["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
