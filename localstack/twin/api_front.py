"""API Gateway's side of the API on this machine: HTTP requests become REST proxy events, and back.

The event is that of a REST API with a Lambda proxy integration on `/{proxy+}` (payload version 1.0):
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
Unless it is given an authorizer, whoever reaches the port may call everything: the edge that authenticates in
the cloud is not here.
"""

import base64
import binascii
import contextlib
import datetime as dt
import errno
import json
import logging
import re
import socket
import socketserver
import string
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlsplit

from lambda_executor import (
    ExecutorError,
    Function,
    ImpatientError,
    InvocationResult,
    RequestTooLargeError,
    TooManyRequestsError,
)

from twin.errors import ServerError
from twin.processes import LOOPBACK

MAX_BODY = 10 * 1024 * 1024
"""Bytes that API Gateway takes."""
INTEGRATION_TIMEOUT_SECONDS = 29.0
"""How long API Gateway waits for a function, unless it is given more."""
STAGE = "local"

_MOST_DISCARDED = 64 * 1024 * 1024
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}")
_ACCOUNT = "000000000000"
_API_ID = "local"
_RESPONSE_KEYS = frozenset({"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"})
# Headers of a hop, which are not the function's business.
_NOT_FORWARDED = frozenset({"connection", "content-length", "expect", "keep-alive", "transfer-encoding"})
# What a function may not decide, API Gateway renames:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
_REMAPPED = frozenset({"connection", "content-length", "date", "server", "www-authenticate"})
_DROPPED = frozenset({"transfer-encoding"})

logger = logging.getLogger(__name__)


class PortInUseError(ServerError):
    """Somebody else listens on the port."""


class UnauthorizedError(Exception):
    """A request that the authorizer does not let through to the function."""


class MalformedResponseError(Exception):
    """The function's answer is not one that API Gateway understands."""


@dataclass(frozen=True)
class HttpRequest:
    """A request as it came in."""

    method: str
    target: str
    """Path and query as sent."""
    headers: Sequence[tuple[str, str]]
    body: bytes
    protocol: str
    client: str
    port: int
    """The port it came to."""


@dataclass(frozen=True)
class HttpResponse:
    """A response as it goes out."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


Authorizer = Callable[[HttpRequest], Mapping[str, Any]]
"""What of `requestContext` tells who calls: `identity`, `authorizer`. Raises UnauthorizedError."""


class ApiFront:
    """An HTTP server on loopback in front of a function; it serves from its making until `stop`.

    Raises PortInUseError; port 0 is any free one.
    """

    def __init__(
        self,
        function: Function,
        port: int = 0,
        *,
        integration_timeout: float = INTEGRATION_TIMEOUT_SECONDS,
        authorizer: Authorizer | None = None,
    ) -> None:
        try:
            self._server = _Server(function, port, integration_timeout, authorizer)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise PortInUseError(
                f"port {port} is in use: stop what listens there, or choose another"
            ) from error
        self.port = self._server.server_port
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve, name="api-front", daemon=True)
        self._thread.start()
        if authorizer is None:
            logger.info(
                "%s authorizes nobody: whoever reaches it may call everything; loopback only", self.url
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Take no more requests, finish those that were begun, close every connection."""
        self._server.stop_accepting()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """One thread a connection, all of them ended by `server_close`."""

    allow_reuse_port = False
    request_queue_size = 128

    def __init__(
        self, function: Function, port: int, integration_timeout: float, authorizer: Authorizer | None
    ) -> None:
        self.function = function
        self.integration_timeout = integration_timeout
        self.authorizer = authorizer
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._is_stopping = False
        super().__init__((LOOPBACK, port), _Handler)

    def server_bind(self) -> None:
        """Bind without looking up the host's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    def serve(self) -> None:
        """Accept until stopped; the inherited loop would look twice a second whether it should stop."""
        while not self._is_stopping:
            try:
                request, address = self.get_request()
            except OSError:  # such as too many open files, which passes
                time.sleep(0.1)
                continue
            thread = threading.Thread(
                target=self.process_request_thread, args=(request, address), name="api-front", daemon=True
            )
            self._connections[request] = thread
            thread.start()

    def stop_accepting(self) -> None:
        """End `serve`, for which a connection has to wake it."""
        self._is_stopping = True
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.server_port)):
            pass

    def server_close(self) -> None:
        """Close when the answers that are due have been written."""
        connections = list(self._connections.items())
        for connection, _ in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        for _, thread in connections:
            thread.join()
        super().server_close()

    def shutdown_request(self, request: Any) -> None:
        """Close one connection."""
        self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - inherited
        """Report what went wrong with a connection, where it was not merely the client that left."""
        if not isinstance(sys.exception(), ConnectionError):
            logger.exception("a connection broke off")  # noqa: LOG004 - called while the error is handled


class _Handler(BaseHTTPRequestHandler):
    """Reads one request, has it answered, writes the answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def handle_expect_100(self) -> bool:
        """Let a client go on that waits before it sends its body."""
        proceeds = super().handle_expect_100()
        self.wfile.flush()
        return proceeds

    def _answer(self) -> None:
        """Answer a request of any method."""
        try:
            body = self._read_body()
        except _RefusedError as refused:
            self.close_connection = True
            self._write(_message(refused.status, refused.reason))
            return
        if body is None:
            self.close_connection = True
            return
        request = self._request(body)
        try:
            caller = self.server.authorizer(request) if self.server.authorizer else {}
        except UnauthorizedError as error:
            self._write(_message(HTTPStatus.FORBIDDEN, str(error)))
            return
        self._write(
            answer(self.server.function, request, timeout=self.server.integration_timeout, caller=caller)
        )

    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = _answer  # noqa: N815 - inherited

    def _request(self, body: bytes) -> HttpRequest:
        return HttpRequest(
            method=self.command,
            target=self.path,
            headers=self.headers.items(),
            body=body,
            protocol=self.request_version,
            client=self.client_address[0],
            port=self.server.server_port,
        )

    def _read_body(self) -> bytes | None:
        """The body; None where the client left in the middle of it."""
        if "transfer-encoding" in self.headers:
            return self._read_chunks(self.headers["transfer-encoding"])
        text = self.headers.get("content-length", "0")
        if not (text.isascii() and text.isdigit()):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "Content-Length is not a number")
        length = int(text)
        if length > MAX_BODY:
            # A client that is still sending would see a broken connection instead of the answer.
            self._discard(min(length, _MOST_DISCARDED))
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request Too Long")
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def _read_chunks(self, encoding: str) -> bytes | None:
        if encoding.strip().lower() != "chunked":
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "Send the body as it is, with a Content-Length")
        body = bytearray()
        while True:
            size = self.rfile.readline(1 << 12).partition(b";")[0].strip()
            if not _CHUNK_SIZE.fullmatch(size):
                raise _RefusedError(HTTPStatus.BAD_REQUEST, "A chunk has no size")
            if len(body) + int(size, 16) > MAX_BODY:
                raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request Too Long")
            if int(size, 16) == 0:
                break
            body += self.rfile.read(int(size, 16))
            if self.rfile.readline(3) != b"\r\n":
                return None
        while self.rfile.readline(1 << 16).strip():  # trailers, which nobody asked for
            pass
        return bytes(body)

    def _discard(self, length: int) -> None:
        while length > 0 and (chunk := self.rfile.read(min(length, 1 << 20))):
            length -= len(chunk)

    def _write(self, response: HttpResponse) -> None:
        self.send_response_only(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        has_body = response.status >= 200 and response.status not in {204, 304}
        if has_body:
            self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if has_body and self.command != "HEAD":
            self.wfile.write(response.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - inherited
        """Answer what is not even HTTP, or of a method that does not exist, in JSON like the rest."""
        self.close_connection = True
        self.command = self.command or "GET"
        self._write(_message(code, message or HTTPStatus(code).phrase))

    def log_message(self, *_: object) -> None:
        """Nothing: the function logs its requests itself."""


class _RefusedError(Exception):
    """A request that never becomes an event."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def answer(
    function: Function, request: HttpRequest, *, timeout: float, caller: Mapping[str, Any] | None = None
) -> HttpResponse:
    """What API Gateway answers; a function that fails is a 502, one that takes too long a 504."""
    request_id = str(uuid.uuid4())
    event = proxy_event(request, request_id=request_id)
    for name, values in (caller or {}).items():
        event["requestContext"][name] = {**event["requestContext"].get(name, {}), **values}
    try:
        result = function.invoke(json.dumps(event, ensure_ascii=False).encode(), patience=timeout)
        response = http_response(result)
    except MalformedResponseError as error:
        logger.warning("%s %s: %s", request.method, request.target, error)
        response = _message(HTTPStatus.BAD_GATEWAY, "Internal server error")
    except ImpatientError:
        response = _message(HTTPStatus.GATEWAY_TIMEOUT, "Endpoint request timed out")
    except RequestTooLargeError:
        response = _message(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request Too Long")
    except TooManyRequestsError:
        response = _message(HTTPStatus.TOO_MANY_REQUESTS, "Too Many Requests")
    except ExecutorError as error:
        logger.warning("%s %s: %s", request.method, request.target, error)
        response = _message(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal server error")
    return HttpResponse(response.status, [*response.headers, ("x-amzn-RequestId", request_id)], response.body)


def proxy_event(request: HttpRequest, *, request_id: str) -> dict[str, Any]:
    """The event of a REST API's Lambda proxy integration.

    The path stays percent-encoded as it was sent, query names and values are decoded; of repeated
    parameters and headers the single-valued form has the last.
    """
    # The server read the target as Latin-1; what is not ASCII in it should have been encoded.
    url = urlsplit(quote(request.target, safe=string.punctuation, encoding="latin-1"))
    path = url.path or "/"
    query = _multi(parse_qsl(url.query, keep_blank_values=True, errors="replace"))
    headers = _event_headers(request)
    body, is_base64 = _event_body(request.body)
    proxy = path.strip("/")
    resource = "/{proxy+}" if proxy else "/"
    return {
        "resource": resource,
        "path": path,
        "httpMethod": request.method,
        "headers": _last(headers),
        "multiValueHeaders": headers,
        "queryStringParameters": _last(query) or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": {"proxy": proxy} if proxy else None,
        "stageVariables": None,
        "requestContext": _request_context(request, path, resource, request_id, _last(headers)),
        "body": body,
        "isBase64Encoded": is_base64,
    }


def http_response(result: InvocationResult) -> HttpResponse:
    """The answer that the function's JSON describes. Raises MalformedResponseError."""
    if result.is_error:
        raise MalformedResponseError(result.payload.decode(errors="replace"))
    try:
        answered = json.loads(result.payload)
    except ValueError as error:
        raise MalformedResponseError(f"not JSON: {error}") from error
    if not isinstance(answered, dict) or not answered.keys() <= _RESPONSE_KEYS:
        raise MalformedResponseError(f"a proxy response has the keys {sorted(_RESPONSE_KEYS)} and no other")
    headers = _response_headers(answered.get("headers"), answered.get("multiValueHeaders"))
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    body = _response_body(answered.get("body"), is_base64=answered.get("isBase64Encoded") or False)
    return HttpResponse(_status(answered.get("statusCode", 200)), headers, body)


def _request_context(
    request: HttpRequest, path: str, resource: str, request_id: str, headers: dict[str, str]
) -> dict[str, Any]:
    now = time.time()
    lower = {name.lower(): value for name, value in headers.items()}
    return {
        "accountId": _ACCOUNT,
        "apiId": _API_ID,
        "deploymentId": _API_ID,
        "domainName": lower.get("host", LOOPBACK),
        "domainPrefix": _API_ID,
        "extendedRequestId": base64.b64encode(uuid.uuid4().bytes[:11]).decode(),
        "httpMethod": request.method,
        "identity": {
            "accessKey": None,
            "accountId": None,
            "caller": None,
            "cognitoAuthenticationProvider": None,
            "cognitoAuthenticationType": None,
            "cognitoIdentityId": None,
            "cognitoIdentityPoolId": None,
            "principalOrgId": None,
            "sourceIp": request.client,
            "user": None,
            "userAgent": lower.get("user-agent"),
            "userArn": None,
        },
        "path": f"/{STAGE}{path}",
        "protocol": request.protocol,
        "requestId": request_id,
        "requestTime": dt.datetime.fromtimestamp(now, dt.UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "requestTimeEpoch": int(now * 1000),
        "resourceId": _API_ID,
        "resourcePath": resource,
        "stage": STAGE,
    }


def _event_headers(request: HttpRequest) -> dict[str, list[str]]:
    """The request's headers, and those that the edge adds."""
    headers = _multi(
        ((name, value) for name, value in request.headers if name.lower() not in _NOT_FORWARDED),
        ignore_case=True,
    )
    lower = {name.lower(): values for name, values in headers.items()}
    forwarded_for = ", ".join([*lower.get("x-forwarded-for", []), request.client])
    for added, value in (
        ("X-Forwarded-For", forwarded_for),
        ("X-Forwarded-Port", str(request.port)),
        ("X-Forwarded-Proto", "http"),
    ):
        for name in [name for name in headers if name.lower() == added.lower()]:
            del headers[name]
        headers[added] = [value]
    return headers


def _multi(pairs: Iterable[tuple[str, str]], *, ignore_case: bool = False) -> dict[str, list[str]]:
    """All values of each name, under the name as it came first."""
    values: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for name, value in pairs:
        known = names.setdefault(name.lower() if ignore_case else name, name)
        values.setdefault(known, []).append(value)
    return values


def _last(values: dict[str, list[str]]) -> dict[str, str]:
    return {name: several[-1] for name, several in values.items()}


def _event_body(body: bytes) -> tuple[str | None, bool]:
    """The body as text, or what is no UTF-8 as Base64, and which of the two it is."""
    if not body:
        return None, False
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), True


def _status(value: object) -> int:
    try:
        status = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise MalformedResponseError(f"statusCode is {value!r}") from None
    if not 200 <= status <= 599:
        raise MalformedResponseError(f"statusCode is {status}")
    return int(status)


def _response_body(body: object, *, is_base64: object) -> bytes:
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedResponseError(f"body is no string but {type(body).__name__}")
    if not is_base64:
        return body.encode(errors="replace")
    try:
        return base64.b64decode(body)
    except binascii.Error as error:
        raise MalformedResponseError(f"body is no Base64: {error}") from error


def _response_headers(single: object, multi: object) -> list[tuple[str, str]]:
    """Both kinds of headers as one list; a pair that is in both is there once."""
    single = {} if single is None else single
    multi = {} if multi is None else multi
    if not isinstance(single, dict) or not isinstance(multi, dict):
        raise MalformedResponseError("headers and multiValueHeaders are objects")
    pairs = [(name, _header(value)) for name, values in multi.items() for value in _list(values)]
    there = {(name.lower(), value) for name, value in pairs}
    pairs += [
        (name, text) for name, value in single.items() if (name.lower(), text := _header(value)) not in there
    ]
    return [(_remapped(name), value) for name, value in pairs if name.lower() not in _DROPPED]


def _list(values: object) -> list[object]:
    if not isinstance(values, list):
        raise MalformedResponseError("multiValueHeaders has a value that is no list")
    return values


def _header(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str) or "\r" in value or "\n" in value:
        raise MalformedResponseError(f"a header's value is {value!r}")
    # Header bytes are UTF-8 on their way here and Latin-1 to the server that writes them.
    return value.encode().decode("latin-1")


def _remapped(name: str) -> str:
    return f"x-amzn-Remapped-{name}" if name.lower() in _REMAPPED else name


def _message(status: int, text: str) -> HttpResponse:
    body = json.dumps({"message": text}).encode()
    return HttpResponse(int(status), [("Content-Type", "application/json")], body)
