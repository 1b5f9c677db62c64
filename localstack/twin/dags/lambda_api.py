"""Lambda's `Invoke` on loopback, for functions that run here; the rest of Lambda's API is missing."""

import re
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote

from lambda_executor import ExecutorError, Function

from twin.processes import LOOPBACK

_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations(?:\?.*)?")


class LambdaApi:
    """A server that serves from its making until `stop`; clients find it as AWS_ENDPOINT_URL_LAMBDA."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        """`functions` by the name, or the ARN, that clients invoke."""
        self.invoked: list[str] = []
        """What clients invoked, by the name that they gave, in that order."""
        handler = type("Handler", (_Handler,), {"functions": functions, "invoked": self.invoked})
        self._server = ThreadingHTTPServer((LOOPBACK, 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://{LOOPBACK}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, name="lambda-api", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Take no more invocations; the functions are whose they were."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    functions: Mapping[str, Function]
    invoked: list[str]

    def do_POST(self) -> None:
        """Invoke a function synchronously."""
        payload = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match = _INVOKE.fullmatch(self.path)
        name = unquote(match[1]) if match else ""
        function = self.functions.get(name)
        if function is None:
            self._answer(
                404, b'{"Type":"User","Message":"Function not found"}', error="ResourceNotFoundException"
            )
            return
        self.invoked.append(name)
        try:
            result = function.invoke(payload)
        except ExecutorError as error:
            self._answer(500, str(error).encode(), error="ServiceException")
            return
        self._answer(200, result.payload, function_error="Unhandled" if result.is_error else None)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the library
        """Say nothing: the functions have logs of their own."""

    def _answer(
        self, status: int, body: bytes, *, error: str | None = None, function_error: str | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if error:
            self.send_header("X-Amzn-ErrorType", error)
        if function_error:
            self.send_header("X-Amz-Function-Error", function_error)
        self.end_headers()
        self.wfile.write(body)
