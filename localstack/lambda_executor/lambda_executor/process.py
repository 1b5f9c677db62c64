"""The process of one execution environment: started, signalled, awaited; nothing of it is left."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
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

    On Linux it lives no longer than the thread that makes it: that thread should `wait`.
    Raises OSError where it cannot be started.
    """

    def __init__(
        self, command: Sequence[str], *, variables: Mapping[str, str], folder: Path, output: int
    ) -> None:
        self._lock = threading.Lock()
        self._has_ended = False
        self._process = subprocess.Popen(
            _wrapped(command),
            env=dict(variables),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C at a terminal goes to the whole foreground group, and is not meant for functions.
            start_new_session=True,
        )
        self.pid: int = self._process.pid

    def wait(self) -> int:
        """The exit status, negative for a signal; whatever else the process started is killed."""
        if hasattr(os, "waitid"):  # macOS has it from Python 3.13 on
            # Its id stays taken until it is collected, so that the group below is surely its own.
            with contextlib.suppress(ChildProcessError):  # SIGCHLD is ignored here
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._process.wait()
        with self._lock:
            self._has_ended = True
        self._kill_group()
        return self._process.wait()

    def terminate(self) -> None:
        """Ask the process itself to end."""
        with self._lock:
            if not self._has_ended:
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the process and all of its group."""
        with self._lock:
            if not self._has_ended:
                self._kill_group()

    def _kill_group(self) -> None:
        # Where a group has but a zombie left, macOS answers EPERM.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def _wrapped(command: Sequence[str]) -> list[str]:
    if sys.platform != "linux":
        return list(command)
    # Isolated and without site: the interpreter starts in a few milliseconds and reads no variables.
    return [command[0], "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]


def describe(status: int) -> str:
    """How a process ended, in the words that Lambda uses."""
    if status < 0:
        name = signal.strsignal(-status) or str(-status)
        return f"Runtime exited with error: signal: {name.lower()}"
    if status > 0:
        return f"Runtime exited with error: exit status {status}"
    return "Runtime exited without providing a reason"
