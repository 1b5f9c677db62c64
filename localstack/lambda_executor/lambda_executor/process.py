"""One process of an execution environment: started, signalled, awaited; nothing of it is left."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Linux kills the process when the thread that started it ends, whatever ends it: also SIGKILL. That
# setting survives exec, so that what runs afterwards is exactly the command, imported nothing before
# it. The parent may have died before the setting: then there is nobody to work for. Elsewhere the
# runtime client ends by itself once the Runtime API has gone.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


class Process:
    """A process in a session of its own, which it leads.

    Raises OSError where it cannot be started. A thread of its own starts it and waits for its end: on
    Linux the process lives no longer than that thread. `python` is what runs the few lines that see to
    that. `on_end` hears the exit status, negative for a signal, in that thread.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        python: str,
        variables: Mapping[str, str],
        folder: Path,
        output: int,
        on_end: Callable[[int], None],
    ) -> None:
        self._lock = threading.Lock()
        self._on_end = on_end
        self._process: subprocess.Popen[bytes] | None = None
        self._start_error: OSError | None = None
        self._has_started = threading.Event()
        self._has_ended = threading.Event()
        self._thread = threading.Thread(
            target=self._live,
            args=(_wrapped(command, python), dict(variables), folder, output),
            name=f"process {Path(command[0]).name}",
            daemon=True,
        )
        self._thread.start()
        self._has_started.wait()
        if self._start_error is not None:
            self._thread.join()
            raise self._start_error

    @property
    def pid(self) -> int:
        """The process, which leads its group."""
        assert self._process is not None  # noqa: S101 - there is none only where __init__ has raised
        return self._process.pid

    def wait(self, timeout: float | None = None) -> None:
        """Return when the process and all of its group are gone, or after `timeout` seconds."""
        self._has_ended.wait(timeout)

    def join(self) -> None:
        """Return when `on_end` has, too; not for that callback itself."""
        self._thread.join()

    def terminate(self) -> None:
        """Ask the process itself to end."""
        with self._lock:
            if not self._has_ended.is_set():
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the process and all of its group."""
        with self._lock:
            if not self._has_ended.is_set():
                self._kill_group()

    def _live(self, command: list[str], variables: dict[str, str], folder: Path, output: int) -> None:
        try:
            self._process = subprocess.Popen(
                command,
                env=variables,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C at a terminal goes to the whole foreground group, and is not meant for functions.
                start_new_session=True,
            )
        except OSError as error:
            self._start_error = error
            return
        finally:
            self._has_started.set()
        self._on_end(self._collect(self._process))

    def _collect(self, process: "subprocess.Popen[bytes]") -> int:
        """Wait for the exit status; whatever else the process started is killed."""
        if hasattr(os, "waitid"):  # macOS has it from Python 3.13 on
            # Its id stays taken until it is collected, so that the group below is surely its own.
            with contextlib.suppress(ChildProcessError):  # SIGCHLD is ignored here
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        else:
            process.wait()
        with self._lock:
            self._kill_group()
            status = process.wait()
            self._has_ended.set()
        return status

    def _kill_group(self) -> None:
        # Where a group has but a zombie left, macOS answers EPERM.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def _wrapped(command: Sequence[str], python: str) -> list[str]:
    if sys.platform != "linux":
        return list(command)
    # Isolated and without site: the interpreter starts in a few milliseconds and reads no variables.
    return [python, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]


def describe(status: int) -> str | None:
    """How a process failed, in the words that Lambda uses; None where it ended without an error."""
    if status < 0:
        name = signal.strsignal(-status) or str(-status)
        return f"signal: {name.lower()}"
    return f"exit status {status}" if status > 0 else None
