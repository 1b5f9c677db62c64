"""AWS's runtime interface emulator, a program that runs one environment of a function."""

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

WHEELS = Path(__file__).parents[3] / "build" / "lambda_emulator"
"""Where `make test` puts the wheel that carries it."""
_MACHINES = {"x86_64": "x86_64", "aarch64": "arm64"}
_INVOKE = "/2015-03-31/functions/function/invocations"


class NoEmulatorError(Exception):
    """It can't be had here."""


def unpack(folder: Path) -> Path:
    """The program, out of the wheel. Raises NoEmulatorError."""
    if platform.system() != "Linux" or platform.machine() not in _MACHINES:
        raise NoEmulatorError(f"AWS's emulator does not run on {platform.system()} {platform.machine()}")
    wheels = sorted(WHEELS.glob("aws_sam_cli-*.whl"))
    if not wheels:
        raise NoEmulatorError(
            "AWS's emulator is not there: `make test` fetches it into build/lambda_emulator"
        )
    program = folder / "aws-lambda-rie"
    name = f"samcli/local/rapid/aws-lambda-rie-{_MACHINES[platform.machine()]}"
    with zipfile.ZipFile(wheels[-1]) as wheel, wheel.open(name) as source, program.open("wb") as target:
        shutil.copyfileobj(source, target)
    program.chmod(0o755)
    return program


def mounts() -> bool:
    """Whether a folder can be shown to one process as /opt, where nothing that it needs may be."""
    if Path(sys.base_prefix).is_relative_to("/opt") or shutil.which("unshare") is None:
        return False
    command = ["unshare", "--map-root-user", "--mount", "mount", "--bind", "/opt", "/opt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Emulator:
    """Leave the `with` block, and it and its function have ended."""

    def __init__(
        self,
        program: Path,
        *,
        handler: str,
        code: Path,
        variables: Mapping[str, str],
        opt: Path | None = None,
    ) -> None:
        ports = _free_ports(2)
        self._stopped: str | None = None
        self._url = f"http://127.0.0.1:{ports[0]}{_INVOKE}"
        command = [
            str(program),
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{ports[0]}",
            "--runtime-api-address",
            f"127.0.0.1:{ports[1]}",
            "--log-level",
            "error",
            sys.executable,
            "-m",
            "awslambdaric",
            handler,
        ]
        if opt is not None:
            # A mount of its own: nobody else sees that /opt.
            mount = 'mount --bind "$1" /opt && shift && exec "$@"'
            command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh", str(opt), *command]
        self._process = subprocess.Popen(
            command,
            cwd=code,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(code), "_HANDLER": handler, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._wait(ports[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def invoke(self, payload: bytes, **headers: str) -> tuple[int, bytes]:
        """The status and the body; answers of some failures have a status of their own."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self._url, data=payload, headers=named)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def stop(self) -> str:
        """End it as a container's end would, its function with it; what they wrote."""
        if self._stopped is not None:
            return self._stopped
        self._process.terminate()
        try:
            log, _ = self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        self._stopped = log
        return log

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                assert self._process.poll() is None, self._process.communicate()[0]
                assert time.monotonic() < deadline, "AWS's emulator does not listen"
                time.sleep(0.02)
            else:
                return


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports
