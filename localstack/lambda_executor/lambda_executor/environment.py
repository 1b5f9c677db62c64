"""One execution environment: a process, the Runtime API that it talks to, and its log."""

import threading
import time
from collections.abc import Callable, Sequence

from lambda_executor.configuration import Configuration
from lambda_executor.errors import StartError
from lambda_executor.invocation import Invocation, Outcome, failure
from lambda_executor.logs import LogPipe
from lambda_executor.process import Process, describe
from lambda_executor.runtime_api import RuntimeApi


class Environment:
    """Starts with its making. Raises StartError where no process can be started.

    `on_end` is called, in a thread, once the process has ended by itself or was stopped.
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
        self._api = RuntimeApi(configuration)
        self._logs = LogPipe(on_lines)
        self._process: Process | None = None
        self._start_error: OSError | None = None
        self._is_stopping = False
        self._has_started = threading.Event()
        self._has_ended = threading.Event()
        self._stop_deadline = 0.0
        self._offers = 0
        self._status = 0
        self._thread = threading.Thread(target=self._live, name=f"lambda {configuration.name}", daemon=True)
        self._thread.start()
        self._has_started.wait()
        if self._start_error is not None:
            self._thread.join()
            raise StartError(f"{configuration.python}: {self._start_error}") from self._start_error

    @property
    def pid(self) -> int:
        """The process, which leads its group."""
        assert self._process is not None  # noqa: S101 - there is none only where __init__ has raised
        return self._process.pid

    @property
    def has_extension(self) -> bool:
        """Whether SIGTERM precedes the end."""
        return self._api.has_extension

    @property
    def is_usable(self) -> bool:
        """Whether another invocation may go here."""
        return not self._is_stopping and not self.has_ended

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._has_ended.is_set()

    def offer(self, invocation: Invocation) -> None:
        """Pass an invocation on as soon as the process is ready for it; one at a time."""
        self._offers += 1
        if not self._api.offer(invocation):
            invocation.settle(self._exit_outcome(invocation))

    def take_logs(self) -> str:
        """What the process wrote since the last call."""
        return self._logs.take()

    def stop(self) -> None:
        """End the process as Lambda does, and return when nothing of it is left.

        With an extension: SIGTERM, `grace` seconds, SIGKILL. Without one: SIGKILL.
        """
        self.begin_stop()
        self.finish_stop()

    def begin_stop(self) -> None:
        """The first half of `stop`: tell the process, don't wait."""
        self._is_stopping = True
        self._stop_deadline = time.monotonic() + self._grace
        if self._process is None:
            return
        if self.has_extension:
            self._process.terminate()
        else:
            self._process.kill()

    def finish_stop(self) -> None:
        """The second half of `stop`."""
        if not self._has_ended.wait(max(0.0, self._stop_deadline - time.monotonic())):
            self.kill()
        self._thread.join()

    def kill(self) -> None:
        """End the process at once, and return when nothing of it is left."""
        self._is_stopping = True
        if self._process is not None:
            self._process.kill()
        self._thread.join()

    def _live(self) -> None:
        # Started and awaited by the same thread: on Linux the process ends with the thread that started it.
        configuration = self._configuration
        try:
            self._process = Process(
                [configuration.python, "-m", "awslambdaric", configuration.handler],
                variables=configuration.variables(runtime_api=self._api.address),
                folder=configuration.code,
                output=self._logs.write_end,
            )
        except OSError as error:
            self._start_error = error
            self._logs.close()
            self._api.close()
            self._has_ended.set()
            self._has_started.set()
            return
        self._logs.start()
        self._has_started.set()
        self._status = self._process.wait()
        self._logs.close()
        self._has_ended.set()
        invocation = self._api.close()
        self._on_end(self)
        if invocation is not None:
            invocation.settle(self._exit_outcome(invocation))

    def _exit_outcome(self, invocation: Invocation) -> Outcome:
        was_warm = self._offers > 1
        if was_warm and not invocation.is_delivered:
            return Outcome(is_lost=True, ends_environment=True)
        return Outcome(
            payload=failure("Runtime.ExitError", describe(self._status), invocation.request_id),
            is_error=True,
            ends_environment=True,
        )
