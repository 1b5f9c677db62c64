"""A Lambda function: warm execution environments, and new ones where they are needed."""

import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Self

from lambda_executor.configuration import Configuration
from lambda_executor.environment import Environment
from lambda_executor.errors import (
    FunctionStoppedError,
    ImpatientError,
    RequestTooLargeError,
    TooManyRequestsError,
)
from lambda_executor.invocation import Invocation, InvocationResult, Outcome
from lambda_executor.layers import Opt
from lambda_executor.logs import LogSink
from lambda_executor.memory import can_tell
from lambda_executor.runtime_api import MAX_PAYLOAD


class Function:
    """Invoke it from any thread; leave the `with` block, or call `stop`, and nothing of it runs on.

    An idle environment serves the next invocation, the one that was used last first; else a new one is
    started, up to `concurrency`; else callers wait up to `queue_timeout` seconds.
    """

    def __init__(
        self,
        *,
        handler: str,
        code: Path,
        environment: Mapping[str, str] | None = None,
        python: str | Path = sys.executable,
        concurrency: int = 4,
        timeout: float = 30.0,
        init_timeout: float = 60.0,
        queue_timeout: float = 60.0,
        stop_grace: float = 2.0,
        memory_mb: int = 1024,
        name: str = "function",
        log_file: Path | None = None,
        on_log: Callable[[str], None] | None = None,
        layers: Sequence[Path] = (),
        limit_memory: bool = False,
    ) -> None:
        """Nothing is started yet.

        `python` needs `awslambdaric`. `log_file` is appended to; `on_log` hears every line, in one thread.
        `stop_grace` is how long an environment with an extension may take to end after SIGTERM. Lambda
        itself allows 10 s for `init_timeout`, on a machine with less else to do. Of the folders in `layers`
        the last lies on top. With `limit_memory`, on Linux, `memory_mb` is a limit.
        """
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        if limit_memory and not can_tell():
            raise ValueError("limit_memory needs /proc, which only Linux has; leave it out")
        self._opt = Opt(layers)
        self.configuration = Configuration(
            handler=handler,
            code=code.absolute(),
            environment=dict(environment or {}),
            python=str(python),
            timeout=timeout,
            init_timeout=init_timeout,
            memory_mb=memory_mb,
            limit_memory=limit_memory,
            name=name,
            opt=self._opt.folder,
        )
        self.concurrency = concurrency
        self._queue_timeout = queue_timeout
        self._stop_grace = stop_grace
        self._log_sink = LogSink(file=log_file, callback=on_log)
        self._changed = threading.Condition()
        self._live: set[Environment] = set()
        self._starting = 0
        self._idle: list[Environment] = []
        self._retiring: set[Environment] = set()
        self._is_stopped = False
        self._left_behind: set[threading.Thread] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def environments(self) -> list[Environment]:
        """Those whose process runs."""
        with self._changed:
            return list(self._live)

    @property
    def pids(self) -> list[int]:
        """The processes that run."""
        return [environment.pid for environment in self.environments if environment.has_runtime]

    def invoke(
        self,
        payload: bytes,
        *,
        patience: float | None = None,
        request_id: str | None = None,
        trace_id: str | None = None,
        client_context: str | None = None,
    ) -> InvocationResult:
        """Invoke synchronously with a JSON document.

        Errors of the function are results. Raises ImpatientError after `patience` seconds (the
        invocation goes on), TooManyRequestsError, RequestTooLargeError, StartError or
        FunctionStoppedError.
        """
        if len(payload) > MAX_PAYLOAD:
            raise RequestTooLargeError(f"{len(payload)} bytes; Lambda takes {MAX_PAYLOAD}")
        until = None if patience is None else time.monotonic() + patience
        request_id = request_id or str(uuid.uuid4())
        trace_id = trace_id or new_trace_id()
        while True:
            environment, cold = self._acquire(until)
            invocation = Invocation(
                payload=payload,
                timeout=self.configuration.timeout,
                init_timeout=self.configuration.init_timeout,
                request_id=request_id,
                trace_id=trace_id,
                client_context=client_context,
            )
            environment.offer(invocation)
            try:
                outcome = invocation.wait(until=until)
            except ImpatientError:
                self._leave_behind(environment, invocation)
                raise
            result = self._conclude(environment, invocation, outcome, cold=cold)
            if result is not None:
                return result

    def stop_environments(self) -> None:
        """Stop every environment, busy ones when their invocation has ended; the next one is cold."""
        with self._changed:
            idle, self._idle = self._idle, []
            before = set(self._live)
            self._retiring |= before - set(idle)
        _stop_all(idle)
        with self._changed:
            self._changed.wait_for(lambda: not before & self._live)

    def stop(self) -> None:
        """Stop every environment now, also in the middle of an invocation; final."""
        with self._changed:
            self._is_stopped = True
            self._idle.clear()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._starting)
            environments = list(self._live)
        _stop_all(environments)
        for thread in list(self._left_behind):
            thread.join()
        self._log_sink.close()
        self._opt.close()

    def _acquire(self, until: float | None) -> tuple[Environment, bool]:
        """An environment that nobody else uses, and whether it is a new one."""
        limit = time.monotonic() + self._queue_timeout
        moment = limit if until is None else min(limit, until)
        with self._changed:
            while True:
                if self._is_stopped:
                    raise FunctionStoppedError(f"{self.configuration.name} was stopped")
                while self._idle:
                    environment = self._idle.pop()
                    if environment.is_usable:
                        return environment, False
                if len(self._live) + self._starting < self.concurrency:
                    self._starting += 1
                    break
                if not self._changed.wait(moment - time.monotonic()) and time.monotonic() >= moment:
                    self._give_up(until, moment)
        return self._start(), True

    def _give_up(self, until: float | None, moment: float) -> NoReturn:
        if moment == until:
            raise ImpatientError("no environment was free in time")
        raise TooManyRequestsError(
            f"all {self.concurrency} environments were busy for {self._queue_timeout:g} s"
        )

    def _start(self) -> Environment:
        environment = None
        try:
            environment = Environment(
                self.configuration,
                grace=self._stop_grace,
                on_lines=self._log_sink.put,
                on_end=self._forget,
            )
        finally:
            with self._changed:
                self._starting -= 1
                if environment is not None and not environment.has_ended:
                    self._live.add(environment)
                self._changed.notify_all()
        return environment

    def _forget(self, environment: Environment) -> None:
        with self._changed:
            self._live.discard(environment)
            self._retiring.discard(environment)
            self._changed.notify_all()

    def _conclude(
        self, environment: Environment, invocation: Invocation, outcome: Outcome, *, cold: bool
    ) -> InvocationResult | None:
        """Free the environment, or end it; None where another one has to take the event."""
        outcome = environment.verdict(invocation, outcome)
        if outcome.ends_environment:
            environment.stop(outcome.shutdown_reason)
        logs = environment.take_logs()
        self._release(environment)
        if outcome.ends_environment and self._is_stopped:
            raise FunctionStoppedError(f"{self.configuration.name} was stopped during an invocation")
        if outcome.start_error is not None:
            raise outcome.start_error
        if outcome.is_lost:
            return None
        return InvocationResult(
            request_id=invocation.request_id,
            payload=outcome.payload,
            is_error=outcome.is_error,
            logs=logs,
            cold=cold,
        )

    def _release(self, environment: Environment) -> None:
        with self._changed:
            retires = environment in self._retiring or self._is_stopped
            if environment.is_usable and not retires:
                self._idle.append(environment)
                self._changed.notify()
        if retires:
            environment.stop()

    def _leave_behind(self, environment: Environment, invocation: Invocation) -> None:
        """See an invocation through that nobody waits for any more."""

        def see_through() -> None:
            outcome = environment.verdict(invocation, invocation.wait(until=None))
            if outcome.ends_environment:
                environment.stop(outcome.shutdown_reason)
            environment.take_logs()
            self._release(environment)
            self._left_behind.discard(thread)

        thread = threading.Thread(target=see_through, name=f"lambda {invocation.request_id}", daemon=True)
        self._left_behind.add(thread)
        thread.start()


def new_trace_id() -> str:
    """A header for X-Ray, of a trace that nobody records."""
    unique = uuid.uuid4().hex
    return f"Root=1-{int(time.time()):08x}-{unique[:24]};Parent={uuid.uuid4().hex[:16]};Sampled=0"


def _stop_all(environments: list[Environment]) -> None:
    for environment in environments:
        environment.begin_stop()
    for environment in environments:
        environment.finish_stop()
