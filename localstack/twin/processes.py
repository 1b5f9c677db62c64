"""Servers as child processes: started in a session of their own, waited for, stopped by group.

Ctrl-C at a terminal reaches the whole foreground group; a session of their own keeps it from the
servers, so that whoever started them stops them in the right order.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from twin.errors import ServerError

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(port: int) -> None:
    """Raise ServerError where somebody listens on this loopback port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise ServerError(f"port {port} is in use: stop what listens there, or choose another") from error


class Server:
    """One server process and its log file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
        group: int | None = None,
        cwd: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_timeout: float = 15,
    ) -> None:
        """`stop_timeout` is how many seconds it may take to end when it is asked to."""
        self.name = name
        self.log = log
        self.stop_signal = stop_signal
        self.stop_timeout = stop_timeout
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*ending_with_parent(stop_signal), *(str(part) for part in command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                user=user,
                group=group,
                extra_groups=None if user is None else [],
                cwd=cwd,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process, which leads its group."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, by itself or by somebody's hand."""
        return not self._has_ended()

    @property
    def status(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.poll()

    def wait_until(self, ready: Callable[[], bool], *, timeout: float) -> None:
        """Wait for `ready`. Raises ServerError where the process ends first or the time is up."""
        deadline = time.monotonic() + timeout
        while not ready():
            status = self._process.poll()
            if status is not None:
                self._fail(f"ended with status {status} before it was ready")
            if time.monotonic() > deadline:
                self._fail(f"was not ready within {timeout:.0f} s")
            time.sleep(0.05)

    def wait_for_success(self, *, timeout: float) -> None:
        """Wait for a program that ends by itself. Raises ServerError where it fails or the time is up."""
        deadline = time.monotonic() + timeout
        while (status := self._process.poll()) is None:
            if time.monotonic() > deadline:
                self._fail(f"did not end within {timeout:.0f} s")
            time.sleep(0.02)
        if status != 0:
            self._fail(f"failed with status {status}")

    def stop(self, *, timeout: float | None = None) -> None:
        """Ask the process to end, then end its whole group; harmless when it has ended."""
        seconds = self.stop_timeout if timeout is None else timeout
        stop_group(self._process.pid, self.stop_signal, self._has_ended, timeout=seconds)
        self._process.wait()

    def _has_ended(self) -> bool:
        return self._process.poll() is not None

    def _fail(self, what: str) -> None:
        self.stop()
        tail = self.log.read_text(errors="replace").splitlines()[-5:]
        raise ServerError(f"{self.name} {what}; its log is {self.log}, which ends: {' | '.join(tail)}")


def ending_with_parent(stop_signal: signal.Signals) -> list[str]:
    """What to put before a command so that it is stopped also where whoever started it is killed.

    Linux alone can do that; elsewhere only an orderly end, Ctrl-C or SIGTERM, stops what was started.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", stop_signal.name.removeprefix("SIG"), "--"] if setpriv else []


def stop_group(pid: int, first: signal.Signals, has_ended: Callable[[], bool], *, timeout: float) -> None:
    """Send `first` to the leader, wait, then SIGKILL whatever is left of its group."""
    if not has_ended():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, first)
    deadline = time.monotonic() + timeout
    while not has_ended() and time.monotonic() < deadline:
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def listens(url: str) -> bool:
    """Whether anything takes connections there, however long it would take to answer."""
    where = urlsplit(url)
    try:
        socket.create_connection((where.hostname or LOOPBACK, where.port or 80), timeout=60).close()
    except OSError:
        return False
    return True


def answers(url: str) -> bool:
    """Whether an HTTP server answers 200 at `url` by now."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - loopback, our own server
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False
