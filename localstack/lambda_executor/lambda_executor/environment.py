"""One execution environment: its processes, the Runtime API that they talk to, and their log."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lambda_executor.configuration import Configuration
from lambda_executor.errors import StartError
from lambda_executor.invocation import Invocation, Outcome, failure
from lambda_executor.logs import LogPipe
from lambda_executor.memory import exceeds, peak
from lambda_executor.process import Process, describe
from lambda_executor.runtime_api import RuntimeApi

_RUNTIME_SHARE = 0.3
"""What the runtime has of the time for an end, where external extensions come after it."""
_MEMORY_PERIOD = 0.05
"""Seconds between two looks at the memory."""


class Environment:
    """Starts with its making. Raises StartError where no process can be started.

    External extensions start first, the runtime when all of them have registered. `on_end` is called, in
    a thread, once everything has ended, by itself or stopped.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        grace: float,
        on_lines: Callable[[Sequence[bytes]], None],
        on_end: Callable[["Environment"], None],
    ) -> None:
        self._configuration = configuration
        self._grace = grace
        self._on_end = on_end
        self._lock = threading.Lock()
        self._runtime: Process | None = None
        self._extensions: dict[str, Process] = {}
        self._status = 0
        self._failure: tuple[str, str] | None = None
        self._start_error: StartError | None = None
        self._ending: threading.Thread | None = None
        self._has_ended = threading.Event()
        self._offers = 0
        self._memory_watch: threading.Thread | None = None
        if configuration.limit_memory:
            self._memory_watch = threading.Thread(
                target=self._watch_memory, name="lambda memory", daemon=True
            )
            self._memory_watch.start()
        self._logs = LogPipe(on_lines)
        self._logs.start()
        extensions = configuration.extensions()
        self._api = RuntimeApi(
            configuration,
            external=[file.name for file in extensions],
            on_registered=self._start_runtime,
        )
        for file in extensions:
            self._start_extension(file)
        if not extensions:
            self._start_runtime()
        if self._start_error is not None:
            self.finish_stop()
            raise self._start_error

    @property
    def pid(self) -> int:
        """The runtime's process, which leads its group; for an environment that `has_runtime`."""
        assert self._runtime is not None  # noqa: S101 - there is none only before it starts
        return self._runtime.pid

    @property
    def has_runtime(self) -> bool:
        """Whether the runtime was started: external extensions come first."""
        return self._runtime is not None

    @property
    def has_extension(self) -> bool:
        """Whether SIGTERM precedes the end."""
        return bool(self._extensions) or self._api.has_extension

    @property
    def is_usable(self) -> bool:
        """Whether another invocation may go here."""
        return self._ending is None

    @property
    def has_ended(self) -> bool:
        """Whether all processes are gone."""
        return self._has_ended.is_set()

    def offer(self, invocation: Invocation) -> None:
        """Pass an invocation on as soon as the process is ready for it; one at a time."""
        self._offers += 1
        if not self._api.offer(invocation):
            invocation.settle(self._exit_outcome(invocation))

    def verdict(self, invocation: Invocation, outcome: Outcome) -> Outcome:
        """The outcome, unless the runtime had more memory on the way to it than it may have."""
        runtime = self._runtime
        if not self._configuration.limit_memory or runtime is None or outcome.ends_environment:
            return outcome
        if peak(runtime.pid) <= self._configuration.memory:
            return outcome
        runtime.kill()
        runtime.join()
        return self._exit_outcome(invocation)

    def take_logs(self) -> str:
        """What the processes wrote since the last call."""
        return self._logs.take()

    def stop(self, reason: str = "spindown") -> None:
        """End the processes as Lambda does, and return when nothing of them is left.

        Without an extension: SIGKILL. With one: SIGTERM to the runtime, then the event SHUTDOWN with
        `reason` (`spindown`, `timeout` or `failure`) to external extensions that asked for it, and SIGKILL
        to whatever is left after `grace` seconds.
        """
        self.begin_stop(reason)
        self.finish_stop()

    def begin_stop(self, reason: str = "spindown") -> None:
        """The first half of `stop`: see that it begins, don't wait."""
        with self._lock:
            if self._ending is None:
                self._ending = threading.Thread(
                    target=self._end, args=(reason,), name=f"lambda end {self._api.address}", daemon=True
                )
                self._ending.start()

    def finish_stop(self) -> None:
        """The second half of `stop`."""
        assert self._ending is not None  # noqa: S101 - the first half comes first
        self._ending.join()

    def kill(self) -> None:
        """End the processes at once, and return when nothing of them is left."""
        self.begin_stop()
        for process in [self._runtime, *self._extensions.values()]:
            if process is not None:
                process.kill()
        self.finish_stop()

    def _start_extension(self, file: Path) -> None:
        if not os.access(file, os.X_OK):
            self._fail("Extension.LaunchError", f"fork/exec {file}: permission denied")
            return
        self._start(
            [str(file)],
            variables=self._configuration.extension_variables(runtime_api=self._api.address),
            folder=Path("/"),
            on_start=lambda process: self._extensions.update({file.name: process}),
            on_end=self._extension_ended,
        )

    def _start_runtime(self) -> None:
        def keep(process: Process) -> None:
            self._runtime = process

        configuration = self._configuration
        self._start(
            [configuration.python, "-m", "awslambdaric", configuration.handler],
            variables=configuration.variables(runtime_api=self._api.address),
            folder=configuration.code,
            on_start=keep,
            on_end=self._runtime_ended,
        )

    def _start(
        self,
        command: Sequence[str],
        *,
        variables: Mapping[str, str],
        folder: Path,
        on_start: Callable[[Process], None],
        on_end: Callable[[int], None],
    ) -> None:
        try:
            with self._lock:  # nothing starts once the end has begun
                if self._ending is not None:
                    return
                on_start(
                    Process(
                        command,
                        python=self._configuration.python,
                        variables=variables,
                        folder=folder,
                        output=self._logs.write_end,
                        on_end=on_end,
                    )
                )
        except OSError as error:
            self._start_error = StartError(f"{self._configuration.python}: {error}")
            self._fail("Runtime.InvalidEntrypoint", str(error))

    def _runtime_ended(self, status: int) -> None:
        self._status = status
        self._fail("Runtime.ExitError", _runtime_exit(status))

    def _extension_ended(self, status: int) -> None:
        self._fail(self._api.extension_error or "Extension.Crash", describe(status) or "exit code 0")

    def _fail(self, error_type: str, message: str) -> None:
        """What nobody asked for has happened: the environment ends, and its invocation with it."""
        with self._lock:
            if self._ending is not None:
                return
            self._failure = error_type, message
        self.begin_stop("failure")
        invocation = self._api.retract()
        if invocation is not None:
            invocation.settle(self._exit_outcome(invocation))

    def _end(self, reason: str) -> None:
        began = time.monotonic()
        if self._runtime is not None:
            self._end_runtime(self._runtime)
        self._end_extensions(reason, until=began + self._grace)
        self._has_ended.set()
        if self._memory_watch is not None:
            self._memory_watch.join()
        self._logs.close()
        invocation = self._api.retract()
        self._api.close()
        self._on_end(self)
        if invocation is not None:
            invocation.settle(self._exit_outcome(invocation))

    def _end_runtime(self, runtime: Process) -> None:
        if self.has_extension:
            runtime.terminate()
            runtime.wait(self._grace * (_RUNTIME_SHARE if self._extensions else 1))
        runtime.kill()
        runtime.join()

    def _end_extensions(self, reason: str, *, until: float) -> None:
        if not self._extensions:
            return
        left = max(0.0, until - time.monotonic())
        told = self._api.announce_shutdown(reason, deadline=int((time.time() + left) * 1000))
        for name, process in self._extensions.items():
            if name not in told:
                process.kill()
        for process in self._extensions.values():
            process.wait(max(0.0, until - time.monotonic()))
            process.kill()
            process.join()

    def _watch_memory(self) -> None:
        while not self._has_ended.wait(_MEMORY_PERIOD):
            processes = [self._runtime, *self._extensions.values()]
            pids = [process.pid for process in processes if process is not None]
            if self._runtime is not None and exceeds(self._configuration.memory, pids):
                self._runtime.kill()

    def _exit_outcome(self, invocation: Invocation) -> Outcome:
        if self._start_error is not None:
            return Outcome(start_error=self._start_error, ends_environment=True)
        was_warm = self._offers > 1
        if was_warm and not invocation.is_delivered:
            return Outcome(is_lost=True, ends_environment=True)
        error_type, message = self._failure or ("Runtime.ExitError", _runtime_exit(self._status))
        return Outcome(
            payload=failure(error_type, message, invocation.request_id), is_error=True, ends_environment=True
        )


def _runtime_exit(status: int) -> str:
    reason = describe(status)
    return (
        "Runtime exited without providing a reason"
        if reason is None
        else f"Runtime exited with error: {reason}"
    )
