"""Stands in for the native half of `awslambdaric` where that is not built: anywhere but on Linux.

The package's Python half imports a module `runtime_client`, written in C++, for its calls of the Runtime
API. This one makes the same calls over http.client. Its folder is put on the path of a function's process
only where the native one cannot be had, so on Linux it is never seen.
"""

import http.client
import os

_API = "/2018-06-01/runtime/invocation"
_DEADLINE = "Lambda-Runtime-Deadline-Ms"

_user_agent = "aws-lambda-python"
_connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def initialize_client(user_agent: str) -> None:
    """Remember how to introduce oneself."""
    global _user_agent  # noqa: PLW0603 - the native module is a singleton, too
    _user_agent = user_agent


def next() -> tuple[bytes, dict[str, str | int]]:  # noqa: A001 - the native module's name for it
    """Wait for the next event: its body, and the headers that tell about it."""
    _connection.request("GET", f"{_API}/next", headers={"User-Agent": _user_agent})
    response = _connection.getresponse()
    body = response.read()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"Failed to get next invocation: {response.status}")
    headers: dict[str, str | int] = dict(response.headers)
    headers[_DEADLINE] = int(response.headers[_DEADLINE])
    return body, headers


def post_invocation_result(
    invoke_id: str,
    result_data: bytes,
    content_type: str = "application/json",
    _invocation_id: str | None = None,
) -> None:
    """Deliver what the handler returned."""
    _post(f"{_API}/{invoke_id}/response", result_data, {"Content-Type": content_type})


def post_error(
    invoke_id: str, error_response_data: str, xray_fault: str, _invocation_id: str | None = None
) -> None:
    """Deliver what the handler raised."""
    headers = {"Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": "Unhandled"}
    if xray_fault:
        headers["Lambda-Runtime-Function-XRay-Error-Cause"] = xray_fault.replace("\n", " ")
    _post(f"{_API}/{invoke_id}/error", error_response_data.encode(), headers)


def _post(path: str, body: bytes, headers: dict[str, str]) -> None:
    _connection.request("POST", path, body, {**headers, "User-Agent": _user_agent})
    response = _connection.getresponse()
    response.read()
    if response.status != http.HTTPStatus.ACCEPTED:
        raise RuntimeError(f"Failed to post invocation response: {response.status}")
