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
from dataclasses import dataclass, field
from http import HTTPStatus

from lambda_executor.configuration import Configuration
from lambda_executor.connection import BadRequestError, Connection, Request
from lambda_executor.invocation import Invocation, Outcome

MAX_PAYLOAD = 6 * 1024 * 1024
"""Bytes of a synchronous invocation's event."""
MAX_RESPONSE = MAX_PAYLOAD + 100
"""Bytes of its answer, as Lambda counts them."""

_LOOPBACK = "127.0.0.1"
_NEXT = "/2018-06-01/runtime/invocation/next"
_RESULT = re.compile(r"/2018-06-01/runtime/invocation/([^/]+)/(response|error)")
_INIT_ERROR = "/2018-06-01/runtime/init/error"
_REGISTER = "/2020-01-01/extension/register"
_EVENT_NEXT = "/2020-01-01/extension/event/next"


@dataclass(eq=False)
class _Extension:
    """A part of the process that takes events of its own."""

    events: frozenset[str]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    waiting: Connection | None = None


class RuntimeApi:
    """A server on a free loopback port; `offer` gives it one invocation at a time."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._lock = threading.Lock()
        self._runtime: Connection | None = None
        self._invocation: Invocation | None = None
        self._extensions: dict[str, _Extension] = {}
        self._is_registration_open = True
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
        return bool(self._extensions)

    def offer(self, invocation: Invocation) -> bool:
        """Have the runtime receive this as soon as it asks; False where it will never ask again."""
        with self._lock:
            if self._is_closed:
                return False
            self._invocation = invocation
            self._deliver()
            return True

    def close(self) -> Invocation | None:
        """Stop serving, and give back the invocation that has no outcome."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            invocation, self._invocation = self._invocation, None
        if not was_closed:
            # Closing a listener does not wake the thread that accepts from it; a connection does.
            with contextlib.suppress(OSError), socket.create_connection(self._listener.getsockname()):
                pass
            self._acceptor.join()
            self._listener.close()
            for connection, thread in list(self._connections.items()):
                connection.interrupt()
                thread.join()
        return invocation

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
            for extension in self._extensions.values():
                if extension.waiting is connection:
                    extension.waiting = None
        self._connections.pop(connection, None)
        connection.close()

    def _answer(self, connection: Connection, request: Request) -> None:
        if (request.method, request.path) == ("GET", _NEXT):
            self._next(connection)
        elif request.method == "POST" and (match := _RESULT.fullmatch(request.path)):
            self._result(connection, match[1], request.body, is_error=match[2] == "error")
        elif (request.method, request.path) == ("POST", _INIT_ERROR):
            self._init_error(connection, request)
        elif (request.method, request.path) == ("POST", _REGISTER):
            self._register(connection, request)
        elif (request.method, request.path) == ("GET", _EVENT_NEXT):
            self._event_next(connection, request)
        else:
            _refuse(connection, HTTPStatus.NOT_FOUND, "NotFound", f"no such endpoint: {request.path}")

    def _next(self, connection: Connection) -> None:
        with self._lock:
            self._is_registration_open = False
            self._runtime = connection
            self._deliver()

    def _deliver(self) -> None:
        """Send the event where it is due: there is one, and runtime and extensions are waiting."""
        invocation, runtime = self._invocation, self._runtime
        if invocation is None or runtime is None or invocation.is_delivered:
            return
        # Lambda, too, begins only when each extension has asked for its next event.
        if any(extension.waiting is None for extension in self._extensions.values()):
            return
        self._runtime = None
        if not runtime.is_open:  # its process has just ended; the event can still go to another
            return
        deadline = invocation.deliver()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(deadline),
            "Lambda-Runtime-Invoked-Function-Arn": self._configuration.arn,
            "Lambda-Runtime-Trace-Id": invocation.trace_id,
        }
        if invocation.client_context is not None:
            headers["Lambda-Runtime-Client-Context"] = invocation.client_context
        with contextlib.suppress(OSError):  # the process has just ended, which settles the invocation
            for extension in self._extensions.values():
                self._announce(extension, invocation, deadline)
            runtime.respond(HTTPStatus.OK, invocation.payload, headers)

    def _announce(self, extension: _Extension, invocation: Invocation, deadline: int) -> None:
        if "INVOKE" not in extension.events or extension.waiting is None:
            return
        event = {
            "eventType": "INVOKE",
            "deadlineMs": deadline,
            "requestId": invocation.request_id,
            "invokedFunctionArn": self._configuration.arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": invocation.trace_id},
        }
        connection, extension.waiting = extension.waiting, None
        connection.respond(HTTPStatus.OK, json.dumps(event).encode())

    def _result(self, connection: Connection, request_id: str, body: bytes, *, is_error: bool) -> None:
        with self._lock:
            invocation = self._invocation
            if invocation is None or not invocation.is_delivered or invocation.request_id != request_id:
                invocation = None
            else:
                self._invocation = None
        if invocation is None:
            _refuse(connection, HTTPStatus.BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
        elif len(body) > MAX_RESPONSE:
            invocation.settle(_too_large(len(body)))
            _refuse(
                connection, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestEntityTooLarge", "Payload too large"
            )
        else:
            invocation.settle(Outcome(payload=body, is_error=is_error))
            connection.respond(HTTPStatus.ACCEPTED, b'{"status":"OK"}\n')

    def _init_error(self, connection: Connection, request: Request) -> None:
        with self._lock:
            invocation, self._invocation = self._invocation, None
        connection.respond(HTTPStatus.ACCEPTED, b'{"status":"OK"}\n')
        if invocation is not None:
            invocation.settle(Outcome(payload=request.body, is_error=True, ends_environment=True))

    def _register(self, connection: Connection, request: Request) -> None:
        name = request.headers.get("lambda-extension-name")
        try:
            events = frozenset(json.loads(request.body or b"{}").get("events", ()))
        except (ValueError, AttributeError, TypeError):
            _refuse(
                connection, HTTPStatus.BAD_REQUEST, "InvalidRequestFormat", "the body is not as it should be"
            )
            return
        if not name:
            _refuse(
                connection,
                HTTPStatus.FORBIDDEN,
                "Extension.MissingHeader",
                "Lambda-Extension-Name is missing",
            )
        elif "SHUTDOWN" in events:
            message = "an extension inside the runtime's process is told by SIGTERM, not by SHUTDOWN"
            _refuse(
                connection, HTTPStatus.FORBIDDEN, "ShutdownEventNotSupportedForInternalExtension", message
            )
        elif not events <= {"INVOKE"}:
            _refuse(
                connection, HTTPStatus.FORBIDDEN, "Extension.InvalidEventType", f"unknown: {sorted(events)}"
            )
        elif not self._is_registration_open:
            message = "extensions register before the runtime asks for its first event"
            _refuse(connection, HTTPStatus.FORBIDDEN, "Extension.RegistrationClosed", message)
        else:
            extension = _Extension(events)
            with self._lock:
                self._extensions[extension.id] = extension
            body = {
                "functionName": self._configuration.name,
                "functionVersion": self._configuration.version,
                "handler": self._configuration.handler,
            }
            headers = {"Lambda-Extension-Identifier": extension.id}
            connection.respond(HTTPStatus.OK, json.dumps(body).encode(), headers)

    def _event_next(self, connection: Connection, request: Request) -> None:
        with self._lock:
            extension = self._extensions.get(request.headers.get("lambda-extension-identifier", ""))
            if extension is not None:
                extension.waiting = connection
                self._deliver()
        if extension is None:
            message = "Lambda-Extension-Identifier is not that of a registered extension"
            _refuse(connection, HTTPStatus.FORBIDDEN, "Extension.UnknownExtensionIdentifier", message)


def _refuse(connection: Connection, status: HTTPStatus, error_type: str, message: str) -> None:
    connection.respond(status, json.dumps({"errorType": error_type, "errorMessage": message}).encode())


def _too_large(size: int) -> Outcome:
    message = (
        f"Response payload size ({size} bytes) exceeded maximum allowed payload size ({MAX_RESPONSE} bytes)."
    )
    payload = json.dumps({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message}).encode()
    return Outcome(payload=payload, is_error=True, ends_environment=True)
