"""Lambda's Runtime API and Extensions API for one execution environment.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html

Whoever invokes writes the event straight into the connection in which the runtime waits for it, so
that a round trip costs one change of threads.
"""

import contextlib
import json
import re
import socket
import threading
import uuid
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from lambda_executor.configuration import Configuration
from lambda_executor.connection import BadRequestError, Connection, Request
from lambda_executor.extensions import Extension, Extensions, RefusedError, identifier_in
from lambda_executor.invocation import Invocation, Outcome

MAX_PAYLOAD = 6 * 1024 * 1024
"""Bytes of a synchronous invocation's event."""
MAX_RESPONSE = MAX_PAYLOAD + 100
"""Bytes of its answer, as Lambda counts them."""

_LOOPBACK = "127.0.0.1"
_Answer = Callable[[Connection, Request, re.Match[str]], None]
_TAKEN = b'{"status":"OK"}\n'


class RuntimeApi:
    """A server on a free loopback port; `offer` gives it one invocation at a time.

    `on_registered` is called, in a thread, once the last of the `external` extensions has registered.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        external: Iterable[str] = (),
        on_registered: Callable[[], None] = lambda: None,
    ) -> None:
        self._configuration = configuration
        self._on_registered = on_registered
        self._routes: list[tuple[str, re.Pattern[str], _Answer]] = [
            ("GET", re.compile("/2018-06-01/runtime/invocation/next"), self._next),
            ("POST", re.compile("/2018-06-01/runtime/invocation/([^/]+)/(response|error)"), self._result),
            ("POST", re.compile("/2018-06-01/runtime/init/error"), self._init_error),
            ("POST", re.compile("/2020-01-01/extension/register"), self._register),
            ("GET", re.compile("/2020-01-01/extension/event/next"), self._event_next),
            ("POST", re.compile("/2020-01-01/extension/(init|exit)/error"), self._extension_failed),
        ]
        self._lock = threading.Lock()
        self._runtime: Connection | None = None
        self._invocation: Invocation | None = None
        self._answered: str | None = None
        self._failed_start: Outcome | None = None
        self._extensions = Extensions(external)
        self._is_initialized = False
        self._shutdown_event: dict[str, Any] | None = None
        self._extension_error: str | None = None
        self._takes_invocations = True
        self._is_closed = False
        self._connections: dict[Connection, threading.Thread] = {}
        self._listener = socket.create_server((_LOOPBACK, 0))
        self.address: str = f"{_LOOPBACK}:{self._listener.getsockname()[1]}"
        self._acceptor = threading.Thread(
            target=self._accept, name=f"runtime-api {self.address}", daemon=True
        )
        self._acceptor.start()

    @property
    def has_extension(self) -> bool:
        """Whether an extension has registered, which makes Lambda announce the end with SIGTERM."""
        return bool(self._extensions.registered)

    @property
    def extension_error(self) -> str | None:
        """The type of the error that an extension told of before it ended, if one did."""
        return self._extension_error

    def offer(self, invocation: Invocation) -> bool:
        """Have the runtime receive this as soon as it asks; False where it will never ask again."""
        with self._lock:
            if not self._takes_invocations:
                return False
            if self._failed_start is not None:
                invocation.settle(self._failed_start)
                return True
            self._invocation = invocation
            self._deliver()
            return True

    def retract(self) -> Invocation | None:
        """Give back the invocation that has no outcome, and take no other."""
        with self._lock:
            self._takes_invocations = False
            invocation, self._invocation = self._invocation, None
            return invocation

    def announce_shutdown(self, reason: str, *, deadline: int) -> set[str]:
        """Tell the external extensions that asked for it; their names.

        `reason` is `spindown`, `timeout` or `failure`, `deadline` in milliseconds of the epoch. Who is
        busy is told when it asks for its next event.
        """
        with self._lock:
            self._shutdown_event = {
                "eventType": "SHUTDOWN",
                "shutdownReason": reason,
                "deadlineMs": deadline,
            }
            told = [extension for extension in self._extensions.registered if extension.takes_shutdown]
            for extension in told:
                _tell(extension, self._shutdown_event)
        return {extension.name for extension in told}

    def close(self) -> None:
        """Stop serving."""
        if self._is_closed:
            return
        self._is_closed = True
        # Closing a listener does not wake the thread that accepts from it; a connection does.
        with contextlib.suppress(OSError), socket.create_connection(self._listener.getsockname()):
            pass
        self._acceptor.join()
        self._listener.close()
        for connection, thread in list(self._connections.items()):
            connection.interrupt()
            thread.join()

    def _accept(self) -> None:
        while True:
            accepted, _ = self._listener.accept()
            if self._is_closed:
                accepted.close()
                return
            try:
                connection = Connection(accepted)
            except OSError:  # gone before it was served
                accepted.close()
                continue
            thread = threading.Thread(
                target=self._serve, args=(connection,), name=self._acceptor.name, daemon=True
            )
            self._connections[connection] = thread
            thread.start()

    def _serve(self, connection: Connection) -> None:
        # The other side may vanish at any moment; that its process has ended is noticed elsewhere.
        with contextlib.suppress(OSError, BadRequestError):
            while request := connection.read():
                self._answer(connection, request)
        with self._lock:
            if self._runtime is connection:
                self._runtime = None
            self._extensions.forget(connection)
        self._connections.pop(connection, None)
        connection.close()

    def _answer(self, connection: Connection, request: Request) -> None:
        for method, path, answer in self._routes:
            if match := path.fullmatch(request.path):
                if request.method == method:
                    _answer_or_refuse(answer, connection, request, match)
                else:
                    refused = HTTPStatus.METHOD_NOT_ALLOWED
                    connection.respond(refused, headers={"Allow": method}, content_type=None)
                return
        connection.respond(HTTPStatus.NOT_FOUND, b"404 page not found\n", content_type="text/plain")

    def _next(self, connection: Connection, _request: Request, _match: re.Match[str]) -> None:
        with self._lock:
            self._extensions.is_registration_open = False
            self._runtime = connection
            self._deliver()

    def _deliver(self) -> None:
        """Send the event where it is due: there is one, and runtime and extensions are waiting."""
        invocation, runtime = self._invocation, self._runtime
        if invocation is None or runtime is None or invocation.is_delivered:
            return
        if not self._extensions.are_ready(is_first=not self._is_initialized):
            return
        self._runtime = None
        if not runtime.is_open:  # its process has just ended; the event can still go to another
            return
        self._is_initialized = True
        deadline = invocation.deliver()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(deadline),
            "Lambda-Runtime-Invoked-Function-Arn": self._configuration.arn,
            "Lambda-Runtime-Trace-Id": invocation.trace_id,
        }
        if invocation.client_context is not None:
            headers["Lambda-Runtime-Client-Context"] = invocation.client_context
        event = {
            "eventType": "INVOKE",
            "deadlineMs": deadline,
            "requestId": invocation.request_id,
            "invokedFunctionArn": self._configuration.arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": invocation.trace_id},
        }
        for extension in self._extensions.registered:
            if extension.takes_invocations:
                _tell(extension, event)
        with contextlib.suppress(OSError):  # the process has just ended, which settles the invocation
            runtime.respond(HTTPStatus.OK, invocation.payload, headers)

    def _result(self, connection: Connection, request: Request, match: re.Match[str]) -> None:
        with self._lock:
            invocation = self._invocation
            if invocation is None or not invocation.is_delivered or invocation.request_id != match[1]:
                invocation = None
            else:
                self._invocation = None
                self._answered = invocation.request_id
        size = len(request.body)
        if invocation is None and match[1] == self._answered:
            raise RefusedError("InvalidStateTransition", "The runtime has already answered this request")
        if invocation is None:
            _refuse(connection, HTTPStatus.BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
        elif size > MAX_RESPONSE:
            invocation.settle(_too_large(size))
            message = f"Exceeded maximum allowed payload size ({MAX_RESPONSE} bytes)."
            _refuse(connection, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestEntityTooLarge", message)
        else:
            invocation.settle(Outcome(payload=request.body, is_error=match[2] == "error"))
            connection.respond(HTTPStatus.ACCEPTED, _TAKEN)

    def _init_error(self, connection: Connection, request: Request, _match: re.Match[str]) -> None:
        outcome = Outcome(payload=request.body, is_error=True, ends_environment=True)
        with self._lock:
            # It may come before the invocation that the process was started for.
            self._failed_start = outcome
            invocation, self._invocation = self._invocation, None
        connection.respond(HTTPStatus.ACCEPTED, _TAKEN)
        if invocation is not None:
            invocation.settle(outcome)

    def _register(self, connection: Connection, request: Request, _match: re.Match[str]) -> None:
        with self._lock:
            was_incomplete = not self._extensions.are_external_registered
            extension = self._extensions.register(request.headers, request.body)
            is_complete = was_incomplete and self._extensions.are_external_registered
        body = {
            "functionName": self._configuration.name,
            "functionVersion": self._configuration.version,
            "handler": self._configuration.handler,
        }
        headers = {"Lambda-Extension-Identifier": extension.id}
        connection.respond(HTTPStatus.OK, json.dumps(body).encode(), headers)
        if is_complete:
            self._on_registered()

    def _event_next(self, connection: Connection, request: Request, _match: re.Match[str]) -> None:
        with self._lock:
            extension = self._extensions.identified(request.headers)
            extension.waiting = connection
            if self._shutdown_event is not None and extension.takes_shutdown:
                _tell(extension, self._shutdown_event)
            self._deliver()

    def _extension_failed(self, connection: Connection, request: Request, match: re.Match[str]) -> None:
        with self._lock:
            identifier_in(request.headers)
            if not request.headers.get("lambda-extension-function-error-type"):
                raise RefusedError(
                    "Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found"
                )
            self._extensions.identified(request.headers)
            self._extension_error = f"Extension.{match[1].title()}Error"
        connection.respond(HTTPStatus.ACCEPTED, _TAKEN)


def _answer_or_refuse(
    answer: _Answer, connection: Connection, request: Request, match: re.Match[str]
) -> None:
    try:
        answer(connection, request, match)
    except RefusedError as error:
        _refuse(connection, HTTPStatus.FORBIDDEN, error.error_type, str(error))


def _tell(extension: Extension, event: dict[str, Any]) -> None:
    """Answer an extension's request for its next event, if there is one."""
    connection, extension.waiting = extension.waiting, None
    if connection is not None:
        headers = {"Lambda-Extension-Event-Identifier": str(uuid.uuid4())}
        with contextlib.suppress(OSError):  # its process has just ended, which is noticed elsewhere
            connection.respond(HTTPStatus.OK, json.dumps(event).encode(), headers)


def _refuse(connection: Connection, status: HTTPStatus, error_type: str, message: str) -> None:
    connection.respond(status, json.dumps({"errorMessage": message, "errorType": error_type}).encode())


def _too_large(size: int) -> Outcome:
    message = (
        f"Response payload size ({size} bytes) exceeded maximum allowed payload size ({MAX_RESPONSE} bytes)."
    )
    payload = json.dumps({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message}).encode()
    return Outcome(payload=payload, is_error=True, ends_environment=True)
