"""Airflow with its scheduler, its triggerer and its pages: what `airflow standalone` starts, part by part.

`airflow standalone` itself has two servers of logs listen on every interface, at ports that are the same for
all. Its parts can be told to have none: all logs are on this machine, where the pages find them without.
"""

import contextlib
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from twin.dags.airflow_home import PYTHON, Airflow
from twin.processes import LOOPBACK, Server, free_port

_READY_SECONDS: Final = 300
_HEALTHY_PARTS: Final = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class AirflowServer:
    """Airflow's REST API, as anybody on this machine may use it, and whether its parts go on."""

    def __init__(self, url: str, parts: list[Server]) -> None:
        self.url = url
        self._parts = parts

    @property
    def is_running(self) -> bool:
        """Whether none of the parts has ended."""
        return all(part.is_running for part in self._parts)

    def is_healthy(self) -> bool:
        """Whether each part says so, and every DAG has been read."""
        try:
            health = self._send("GET", "/api/v2/monitor/health")
            known = self.get("/dags/retrain")
        except (OSError, urllib.error.URLError):
            return False
        return "dag_id" in known and all(health[part]["status"] == "healthy" for part in _HEALTHY_PARTS)

    def trigger(self, dag: str, conf: Mapping[str, Any]) -> str:
        """Ask for a run; its id."""
        return str(self.post(f"/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"])

    def get(self, path: str) -> dict[str, Any]:
        """What is at a path below `/api/v2`."""
        return self._send("GET", f"/api/v2{path}", token=self._token())

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What a path below `/api/v2` answers to a document."""
        return self._send("POST", f"/api/v2{path}", body, token=self._token())

    def _token(self) -> str:
        # Without a name or a password: here everybody is the administrator.
        return str(self._send("GET", "/auth/token")["access_token"])

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, token: str | None = None
    ) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            document: dict[str, Any] = json.load(answer)
            return document


@contextlib.contextmanager
def serving(airflow: Airflow, *, port: int | None = None) -> Iterator[AirflowServer]:
    """Start every part of a home whose database was made; they end with the block.

    Raises ServerError where one of them ends before all are healthy. Logs lie beside Airflow's own.
    """
    port = port or free_port()
    url = f"http://{LOOPBACK}:{port}"
    environment = {**airflow.environment, **_settings(url)}
    commands = {
        "api-server": ["--host", LOOPBACK, "--port", str(port), "--workers", "1"],
        "scheduler": ["--skip-serve-logs"],
        "triggerer": ["--skip-serve-logs"],
        "dag-processor": [],
    }
    with contextlib.ExitStack() as stack:
        parts = [
            stack.enter_context(
                Server(
                    f"Airflow's {name}",
                    [PYTHON.with_name("airflow"), name, *arguments],
                    log=airflow.home / f"{name}.log",
                    environment=environment,
                )
            )
            for name, arguments in commands.items()
        ]
        server = AirflowServer(url, parts)
        try:
            parts[0].wait_until(server.is_healthy, timeout=_READY_SECONDS)
            yield server
        finally:
            # All at once: each waits for what it has begun.
            with ThreadPoolExecutor(len(parts)) as pool:
                list(pool.map(Server.stop, parts))


def _settings(url: str) -> dict[str, str]:
    """As on MWAA where nothing here speaks against it; the secrets are for as long as the parts run."""
    return {
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    }
