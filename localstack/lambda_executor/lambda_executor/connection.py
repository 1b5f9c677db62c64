"""HTTP/1.1 over one kept-alive connection, as much of it as the Runtime API needs.

The standard library's server parses headers with the e-mail package, which costs more than the whole
of an invocation does here.
"""

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

_MAX_LINE = 1 << 21  # a runtime may send its stack trace in one header, of up to a megabyte


class BadRequestError(Exception):
    """The other side does not speak HTTP as it should; the connection is of no more use."""


@dataclass(frozen=True)
class Request:
    """A request whose body was read."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class Connection:
    """One accepted connection. One thread reads; any thread may write the answer that is due."""

    def __init__(self, accepted: socket.socket) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = accepted
        self._reader = accepted.makefile("rb")

    def read(self) -> Request | None:
        """The next request; None where the other side has closed. Raises BadRequestError."""
        line = self._line()
        if not line:
            return None
        try:
            method, path, _version = line.decode("latin-1").split()
        except ValueError:
            raise BadRequestError(f"not a request line: {line!r}") from None
        headers = self._headers()
        if "transfer-encoding" in headers:
            raise BadRequestError("only bodies with a Content-Length are taken")
        length = int(headers.get("content-length", 0))
        body = self._reader.read(length) if length else b""
        if len(body) < length:
            return None
        return Request(method, path, headers, body)

    def respond(
        self,
        status: HTTPStatus,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        content_type: str | None = "application/json",
    ) -> None:
        """Send an answer at once. Raises OSError where nobody is there to receive it."""
        lines = [f"HTTP/1.1 {status.value} {status.phrase}", f"Content-Length: {len(body)}"]
        if content_type is not None:
            lines.append(f"Content-Type: {content_type}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    @property
    def is_open(self) -> bool:
        """Whether the other side, from which nothing is due, has not closed."""
        try:
            return self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def interrupt(self) -> None:
        """End a read that another thread waits in."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Free the socket; for the thread that reads."""
        self._reader.close()
        self._socket.close()

    def _line(self) -> bytes:
        return self._reader.readline(_MAX_LINE)

    def _headers(self) -> dict[str, str]:
        headers = {}
        while (line := self._line()) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return headers
