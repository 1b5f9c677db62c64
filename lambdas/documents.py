"""JSON documents over HTTP, bounded in time and size."""

import http.client
import json
from typing import Any, Final
from urllib.parse import urlsplit

from lambdas.deadline import within

MAX_BYTES: Final = 32 * 1024 * 1024


class DocumentError(Exception):
    """There is no such document to be had; with the URL, and why."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url}: {reason}")


def read_json(url: str, *, timeout: float, max_bytes: int = MAX_BYTES) -> Any:
    """The document at an http:// or https:// URL, in `timeout` seconds at most. Follows no redirection.

    Raises DocumentError.
    """
    try:
        return within(timeout, lambda: _read(url, timeout, max_bytes))
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        raise DocumentError(url, " ".join(str(error).split()) or type(error).__name__) from error


def _read(url: str, timeout: float, max_bytes: int) -> Any:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=timeout)
    try:
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request("GET", target, headers={"Accept": "application/json"})
        with connection.getresponse() as response:
            if response.status != 200:
                raise DocumentError(url, f"the answer was {response.status}")
            content = response.read(max_bytes + 1)
    finally:
        connection.close()
    if len(content) > max_bytes:
        raise DocumentError(url, f"it has more than {max_bytes} bytes")
    return json.loads(content)
