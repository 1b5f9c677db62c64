"""Signals, one run at a time, and a run that stays after its terminal has gone.

`python -m twin.keeper FOLDER` stops what `make demo KEEP=1` left running.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TextIO

STOP_TIMEOUT_SECONDS = 180
"""A busy disk takes most of a minute to delete LocalStack's files."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Somebody asked the run to end; whoever holds servers stops them on the way out."""


class AlreadyRunningError(Exception):
    """Another run has the folder."""


def handle_signals() -> None:
    """Turn the first signal into `Interrupted`, and let none disturb the clearing up that follows."""
    for each in _SIGNALS:
        signal.signal(each, _interrupt)


def _interrupt(_signal_number: int, _frame: FrameType | None) -> None:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted


@contextlib.contextmanager
def only_one(
    folder: Path,
    *,
    otherwise: str = "another demo is running in this checkout; stop it with `make demo-stop`",
) -> Iterator[None]:
    """Hold the folder. Raises AlreadyRunningError, which says `otherwise`, where another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with _lock_file(folder).open("a+") as file:
        if not _try_lock(file):
            raise AlreadyRunningError(otherwise)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def start_kept(command: Sequence[str]) -> int:
    """Run a command out of the terminal's reach and show what it says until it lets go of its output.

    The exit status: 0 where it goes on running by itself, else its own.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None  # noqa: S101 - it was asked for
    with process.stdout as output:
        try:
            _relay(output)
        except Interrupted:
            process.terminate()
            _relay(output)
    try:
        return process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return 0


def _relay(output: object) -> None:
    for line in output:  # type: ignore[attr-defined]
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


def keep_until_stopped(log: Path, *, lasts: Callable[[], bool] = lambda: True) -> None:
    """Let go of the terminal and wait for a signal, which arrives as `Interrupted`, or while `lasts`."""
    sys.stdout.flush()
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    with contextlib.suppress(Interrupted):
        while lasts():
            time.sleep(0.5)


def is_held(folder: Path) -> bool:
    """Whether a run has the folder."""
    lock = _lock_file(folder)
    if not lock.exists():
        return False
    with lock.open("a+") as file:
        return not _try_lock(file)


def stop(folder: Path) -> bool:
    """End the run that has the folder, and wait until it has; whether there was one."""
    lock = _lock_file(folder)
    if not lock.exists():
        return False
    with lock.open("a+") as file:
        if _try_lock(file):
            return False
        file.seek(0)
        pid = int(file.read())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while not _try_lock(file) or _exists(pid):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"the run did not end within {STOP_TIMEOUT_SECONDS} s; see {folder / 'logs'}"
                )
            time.sleep(0.1)
    return True


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _lock_file(folder: Path) -> Path:
    return folder / "running.lock"


def _try_lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    stopped = stop(Path(sys.argv[1]).absolute())
    sys.stdout.write("demo: stopped\n" if stopped else "demo: nothing is running\n")
