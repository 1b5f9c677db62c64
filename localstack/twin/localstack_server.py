"""LocalStack on loopback, without Docker: AWS's API as far as its community edition has it."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from twin.errors import MissingProgramError
from twin.localstack_installation import python, runtimes
from twin.processes import LOOPBACK, Server, answers, free_port

START_TIMEOUT_SECONDS = 180


@contextlib.contextmanager
def running_localstack(*, log: Path, port: int | None = None) -> Iterator[tuple[str, Server]]:
    """The endpoint of an empty LocalStack that ends, with all it holds, with the block; and its process."""
    if not python().exists():
        raise MissingProgramError("LocalStack is not installed: `make localstack` installs it")
    port = port or free_port()
    # One LocalStack a folder: it keeps what it knows there, and functions' code.
    with tempfile.TemporaryDirectory(prefix="localstack-", ignore_cleanup_errors=True) as folder:
        # Without -P this project's folder `localstack` would be looked into.
        command: list[str | Path] = [python(), "-P", "-m", "localstack.runtime.main"]
        with Server(
            "LocalStack",
            command,
            log=log,
            environment=_environment(folder, port),
            # Functions push their last numbers within it. Nothing is kept that would have to end in order.
            stop_timeout=5,
        ) as server:
            endpoint = f"http://{LOOPBACK}:{port}"
            server.wait_until(
                lambda: answers(f"{endpoint}/_localstack/health"), timeout=START_TIMEOUT_SECONDS
            )
            yield endpoint, server


def _environment(folder: str, port: int) -> dict[str, str]:
    temporary = Path(folder, "tmp")
    temporary.mkdir()
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": folder,
        "TMPDIR": str(temporary),
        "FILESYSTEM_ROOT": folder,
        "GATEWAY_LISTEN": f"{LOOPBACK}:{port}",
        "LOCALSTACK_HOST": f"localhost:{port}",
        # Its default server listens on every interface, whatever it is told.
        "GATEWAY_SERVER": "hypercorn",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DISABLE_EVENTS": "1",
        "DNS_ADDRESS": "0",
        "CFN_IGNORE_UNSUPPORTED_RESOURCE_TYPES": "1",
        # CloudFormation waits longer than its default of five minutes for a function; so may a migration.
        "CFN_PER_RESOURCE_TIMEOUT": "900",
        "LAMBDA_RUNTIME_EXECUTOR": "process",
        "LAMBDA_RUNTIMES": str(runtimes()),
    }
