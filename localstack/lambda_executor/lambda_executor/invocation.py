"""One invocation: the event on its way to the process, and what comes back."""

import contextlib
import json
import queue
import time
import uuid
from dataclasses import dataclass, field

from lambda_executor.errors import ImpatientError, StartError


@dataclass(frozen=True)
class InvocationResult:
    """What an invocation came to."""

    request_id: str
    payload: bytes
    """The handler's answer, or the error as JSON with `errorType` and `errorMessage`."""
    is_error: bool
    logs: str
    """What the process wrote since the invocation before; a cold one's includes its start."""
    cold: bool


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended inside its environment."""

    payload: bytes = b""
    is_error: bool = False
    ends_environment: bool = False
    """The process is gone or useless: nothing may reach it any more."""
    is_lost: bool = False
    """The event never reached the process, so another environment may take it."""
    start_error: StartError | None = None
    """There is no process: this is raised instead."""
    shutdown_reason: str = "failure"
    """What extensions are told where this ends the environment."""


def failure(error_type: str, message: str, request_id: str) -> bytes:
    """The error that Lambda itself reports where a function cannot report its own."""
    return json.dumps(
        {"errorType": error_type, "errorMessage": f"RequestId: {request_id} Error: {message}"}
    ).encode()


@dataclass(eq=False)
class Invocation:
    """An event, its deadline and the place where its outcome arrives."""

    payload: bytes
    timeout: float
    """Seconds from the moment that the process receives the event."""
    init_timeout: float
    """Seconds that the process may take until it asks for the event."""
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    trace_id: str = ""
    client_context: str | None = None
    _offered_at: float = field(default_factory=time.monotonic)
    _delivered_at: float | None = None
    _outcomes: "queue.SimpleQueue[Outcome]" = field(default_factory=queue.SimpleQueue)

    @property
    def is_delivered(self) -> bool:
        """Whether the process has received the event."""
        return self._delivered_at is not None

    def deliver(self) -> int:
        """Start the clock; the deadline in milliseconds of the epoch."""
        self._delivered_at = time.monotonic()
        return int((time.time() + self.timeout) * 1000)

    def settle(self, outcome: Outcome) -> None:
        """Hand over an outcome; only the first counts."""
        self._outcomes.put(outcome)

    def wait(self, *, until: float | None) -> Outcome:
        """The outcome; a time-out is one, too.

        `until` is a moment of the monotonic clock. Raises ImpatientError where it comes first.
        """
        while True:
            now = time.monotonic()
            moment = self._deadline()
            if not self.is_delivered:
                # Delivery may bring the deadline nearer, but not nearer than this.
                moment = min(moment, now + self.timeout)
            if until is not None:
                moment = min(moment, until)
            with contextlib.suppress(queue.Empty):
                return self._outcomes.get(timeout=max(0.0, moment - now))
            now = time.monotonic()
            if now >= self._deadline():
                return self._timed_out()
            if until is not None and now >= until:
                raise ImpatientError(f"{self.request_id} had no answer in time")

    def _deadline(self) -> float:
        if self._delivered_at is None:
            return self._offered_at + self.init_timeout
        return self._delivered_at + self.timeout

    def _timed_out(self) -> Outcome:
        seconds = self.timeout if self.is_delivered else self.init_timeout
        return Outcome(
            payload=failure(
                "Sandbox.Timedout", f"Task timed out after {seconds:.2f} seconds", self.request_id
            ),
            is_error=True,
            ends_environment=True,
            shutdown_reason="timeout",
        )
