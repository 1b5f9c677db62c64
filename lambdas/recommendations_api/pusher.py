"""How an environment's metrics get to a pushgateway.

A pushgateway does not add up: each environment is a group of its own, named by a random instance, and
replaces it with its cumulative values. So a repeated push is harmless, and sums are right with
`sum without(instance)(increase(…))`.

Prometheus counts from the first value that it sees: what a series had before is lost. So a series is shown
at zero first, its *baseline*, and no push follows within the interval, which is longer than Prometheus'.
A baseline that the gateway did not take is pushed later, before anything else.

Housekeeping deletes groups that are not pushed any more. An environment that rested long enough for that
begins anew, with another instance and from zero: its old counters would otherwise come up again.
"""

import http.client
import logging
import threading
import time
import uuid
from typing import Final
from urllib.parse import urlsplit

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest

logger = logging.getLogger(__name__)

JOB: Final = "recommendations_api"


class Pusher:
    """Pushes a registry now and then. Nothing that the gateway does fails or long delays an answer."""

    def __init__(
        self, registry: CollectorRegistry, url: str, *, interval: float, timeout: float, pause: float
    ) -> None:
        """Push nothing yet. `pause` is how long a gateway that failed is left alone; times in seconds."""
        self.instance = str(uuid.uuid4())
        self._registry = registry
        self._url = urlsplit(url)
        self._path = f"{self._url.path.rstrip('/')}/metrics/job/{JOB}/instance/{self.instance}"
        self._interval = interval
        self._timeout = timeout
        self._pause = pause
        self._due_at = 0.0
        self._paused_until = 0.0
        self._baseline: bytes | None = None
        self._connection: http.client.HTTPConnection | None = None
        self._thread: threading.Thread | None = None

    def push_baseline(self) -> None:
        """Push what there is, as soon as the gateway may be asked, and nothing else before."""
        self._baseline = generate_latest(self._registry)
        if time.monotonic() >= self._paused_until:
            self.push()

    def push_if_due(self) -> None:
        """Push, if the last time is long enough ago."""
        now = time.monotonic()
        if now >= self._due_at and now >= self._paused_until:
            self.push()

    def push_last(self) -> None:
        """Push what there is, and wait for it; also a baseline that is owed."""
        if self._baseline is not None:
            self.push()
        self.push()

    def push(self) -> None:
        """Push a baseline that is owed, otherwise what there is; wait no longer than the timeout."""
        if self._thread is not None and self._thread.is_alive():
            self._paused_until = time.monotonic() + self._pause
            return
        self._due_at = time.monotonic() + self._interval
        # In a thread, because there is no other bound on all that can hang: a name server, a slow trickle.
        self._thread = threading.Thread(target=self._push, name="push", daemon=True)
        self._thread.start()
        self._thread.join(self._timeout)
        if self._thread.is_alive():
            self._paused_until = time.monotonic() + self._pause
            logger.warning("the pushgateway took longer than %.3f s", self._timeout)

    def close(self) -> None:
        """Close the connection, once a push that is under way has had its time."""
        if self._thread is not None:
            self._thread.join(self._timeout)
            if self._thread.is_alive():
                return
        self._disconnect()

    def _push(self) -> None:
        baseline = self._baseline
        try:
            self._send(generate_latest(self._registry) if baseline is None else baseline)
        except (OSError, http.client.HTTPException) as error:
            self._disconnect()
            self._paused_until = time.monotonic() + self._pause
            logger.warning("metrics could not be pushed: %s", error)
            return
        # Another one may have been made since: only the one that was pushed is settled.
        if self._baseline is baseline:
            self._baseline = None

    def _send(self, text: bytes) -> None:
        try:
            self._request(text)
        except (http.client.RemoteDisconnected, ConnectionError):
            # The gateway may have closed the connection since the last push. Replacing is repeatable.
            self._disconnect()
            self._request(text)

    def _request(self, text: bytes) -> None:
        if self._connection is None:
            is_https = self._url.scheme == "https"
            kind = http.client.HTTPSConnection if is_https else http.client.HTTPConnection
            self._connection = kind(self._url.netloc, timeout=self._timeout)
        self._connection.request("PUT", self._path, text, {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
        response = self._connection.getresponse()
        body = response.read()
        if response.status >= 300:
            told = body[:200].decode(errors="replace")
            raise http.client.HTTPException(f"the pushgateway answered {response.status}: {told}")

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
