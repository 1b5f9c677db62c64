"""A real MLflow server: metadata in Postgres, artifacts in S3."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from twin.processes import LOOPBACK, Server, answers, free_port

START_TIMEOUT_SECONDS = 300
"""The first start makes MLflow's schema: slow on a busy machine."""


@contextlib.contextmanager
def running_mlflow(
    *, database_url: str, artifacts: str, aws: Mapping[str, str], log: Path, port: int | None = None
) -> Iterator[str]:
    """The tracking URI of a server over its own database; clients need no key to the artifacts."""
    port = port or free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--host", LOOPBACK, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", database_url)),
        *("--artifacts-destination", artifacts),
    ]
    environment = {
        **os.environ,
        **aws,
        # Job workers double the memory, and nothing here runs a job.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    with Server("MLflow", command, log=log, environment=environment) as server:
        uri = f"http://{LOOPBACK}:{port}"
        server.wait_until(lambda: answers(f"{uri}/health"), timeout=START_TIMEOUT_SECONDS)
        yield uri
