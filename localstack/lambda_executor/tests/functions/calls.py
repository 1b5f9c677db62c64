"""Calls of the Runtime API and the Extensions API, without the runtime client."""

import http.client
import os
from collections.abc import Mapping
from typing import Any

NEXT = "/2018-06-01/runtime/invocation/next"
REGISTER = "/2020-01-01/extension/register"
EVENT_NEXT = "/2020-01-01/extension/event/next"


def call(method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None) -> Any:
    """Status, headers by their names in lower case, and body."""
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=60)
    connection.request(method, path, body, dict(headers or {}))
    response = connection.getresponse()
    told = {name.lower(): value for name, value in response.getheaders()}
    answer = [response.status, told, response.read().decode()]
    connection.close()
    return answer
