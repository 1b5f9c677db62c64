"""API Gateway's REST proxy events as ASGI requests: what Mangum does, for events of any content.

Differences: the path stays percent-encoded, so that an id may contain `/`; repeated headers stay apart;
an event that makes no request raises one error instead of whatever comes first; and there is no event loop.
"""

import base64
import binascii
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from mangum import Mangum
from mangum.handlers import APIGateway
from mangum.protocols import HTTPCycle
from mangum.types import ASGI, LambdaConfig, LambdaContext, LambdaEvent, Response, Scope


class MalformedEventError(ValueError):
    """An event that is not a REST proxy event, or whose body is not what it says."""


class WaitingApplicationError(RuntimeError):
    """The application awaited something that was not there yet, and there is no loop to wait in."""


class LooplessMangum(Mangum):
    """Mangum that runs the application straight through, for one that never waits but in blocking calls.

    An environment serves one request at a time: a loop would have nothing else to do meanwhile, and takes a
    task and several turns for each request. Without lifespan, and without endpoints that are not `async`:
    these need threads, and a loop to wait for them.
    """

    def __call__(self, event: LambdaEvent, context: LambdaContext) -> dict[str, Any]:
        """API Gateway's answer to API Gateway's event. Raises WaitingApplicationError."""
        handler = self.infer(event, context)
        cycle = _StraightCycle(handler.scope, handler.body)
        return handler(cycle(self.app))


class _StraightCycle(HTTPCycle):
    """One request, from its first step to its last without a pause."""

    def __call__(self, app: ASGI) -> Response:
        running = self.run(app)
        try:
            running.send(None)
        except StopIteration:
            return {"status": self.status, "headers": self.headers, "body": self.body}
        running.close()
        raise WaitingApplicationError("the application awaits something; here it can only block")


class RestEvent(APIGateway):
    """One event; Mangum asks it for the request and gives it the response."""

    @classmethod
    def infer(cls, event: LambdaEvent, context: LambdaContext, config: LambdaConfig) -> bool:  # noqa: ARG003 - inherited
        """Take every event, so that a wrong one is refused in one place."""
        return True

    @property
    def body(self) -> bytes:
        """The request's body. Raises MalformedEventError."""
        body = self.event.get("body") or ""
        if not isinstance(body, str):
            raise MalformedEventError("the body is not a string")
        if not self.event.get("isBase64Encoded"):
            # JSON can carry half of a surrogate pair; whoever reads the body refuses it where it matters.
            return body.encode(errors="surrogatepass")
        try:
            return base64.b64decode(body)
        except (binascii.Error, ValueError) as error:
            raise MalformedEventError(f"the body is not Base64: {error}") from error

    @property
    def scope(self) -> Scope:
        """The request. Raises MalformedEventError."""
        event = self.event
        path, method = event.get("path"), event.get("httpMethod")
        context = event.get("requestContext")
        if not (isinstance(path, str) and isinstance(method, str) and isinstance(context, dict)):
            raise MalformedEventError("it has no path, no httpMethod or no requestContext")
        try:
            headers = _headers(event)
            query = _query(event)
        except (AttributeError, TypeError, ValueError) as error:
            raise MalformedEventError(f"its headers or its query cannot be read: {error}") from error
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": path or "/",
            "raw_path": None,
            "root_path": "",
            "query_string": query,
            "headers": headers,
            "client": None,
            "server": None,
            "aws.event": event,
            "aws.context": self.context,
        }


def trace_id(event: LambdaEvent) -> str:
    """What finds this request in all logs: X-Ray's root, else API Gateway's id, else a new one."""
    headers = event.get("headers")
    if isinstance(headers, Mapping):
        for name, value in headers.items():
            if isinstance(value, str) and name.lower() == "x-amzn-trace-id":
                root = next((part[5:] for part in value.split(";") if part.startswith("Root=")), "")
                if root:
                    return root[:64]
    context = event.get("requestContext")
    request_id = context.get("requestId") if isinstance(context, Mapping) else None
    return request_id if isinstance(request_id, str) else str(uuid.uuid4())


def _headers(event: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    several = event.get("multiValueHeaders")
    if several:
        pairs = [(name, value) for name, values in several.items() for value in values]
    else:
        pairs = list((event.get("headers") or {}).items())
    return [
        (name.lower().encode(errors="surrogatepass"), value.encode(errors="surrogatepass"))
        for name, value in pairs
    ]


def _query(event: Mapping[str, Any]) -> bytes:
    parameters = event.get("multiValueQueryStringParameters") or event.get("queryStringParameters")
    if not parameters:
        return b""
    return urlencode(parameters, doseq=True, errors="surrogatepass").encode()
