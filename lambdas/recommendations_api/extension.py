"""An extension inside the process. It does nothing, but it is there.

Lambda sends SIGTERM to an environment that it ends only where an extension is registered; without it the
last metrics would be lost. https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html

It registers while the function initializes. SnapStart keeps the memory of the whole machine, so that the
thread and its connection should be found again after a restore; nothing of them is unique to an
environment. Should the connection be cut by then, the thread ends and answers go on. That has not been
tried on AWS: where Lambda doesn't announce the end of a restored environment, what was counted since its
last push is lost.
"""

import http.client
import logging
import threading
from typing import Final

logger = logging.getLogger(__name__)

NAME: Final = "recommendations-api-shutdown"


def start_extension(runtime_api: str | None) -> bool:
    """Register, as long as the process initializes; whether there is anything to register with.

    `runtime_api` is host and port, what Lambda has in AWS_LAMBDA_RUNTIME_API.
    """
    if not runtime_api:
        return False
    connection = http.client.HTTPConnection(runtime_api, timeout=5)
    try:
        identifier = _register(connection)
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        logger.warning("no extension is registered, the last metrics will not be pushed: %s", error)
        return False
    threading.Thread(target=_wait, args=(connection, identifier), name="extension", daemon=True).start()
    return True


def _register(connection: http.client.HTTPConnection) -> str:
    connection.request(
        "POST",
        "/2020-01-01/extension/register",
        b'{"events": []}',
        {"Lambda-Extension-Name": NAME, "Content-Type": "application/json"},
    )
    response = connection.getresponse()
    body = response.read()
    identifier = response.headers.get("Lambda-Extension-Identifier")
    if response.status != 200 or identifier is None:
        raise http.client.HTTPException(f"{response.status}: {body[:200].decode(errors='replace')}")
    return identifier


def _wait(connection: http.client.HTTPConnection, identifier: str) -> None:
    """Ask for an event: that says that the extension has started. None will come."""
    if connection.sock is not None:
        connection.sock.settimeout(None)
    try:
        connection.request(
            "GET", "/2020-01-01/extension/event/next", headers={"Lambda-Extension-Identifier": identifier}
        )
        connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        logger.debug("the extension ends: %s", error)
