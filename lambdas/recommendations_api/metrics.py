"""The environment's metrics, and how they get to a pushgateway.

A pushgateway does not add up: each environment is a group of its own, named by a random instance, and
replaces it with its cumulative values. So a repeated push is harmless, and sums are right with
`sum without(instance)(rate(…))`. The first push is all zeros, the baseline for rates.

Housekeeping deletes groups that are not pushed any more. An environment that rested long enough for that
begins anew, with another instance and from zero: its old counters would otherwise come up again.
"""

import http.client
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, push_to_gateway

from contract.metrics import (
    API_ANSWERS,
    API_COLD_STARTS,
    API_DEGRADED,
    API_EVENTS,
    API_REQUEST_SECONDS,
    API_REQUESTS,
    EVENT_OUTCOMES,
    SOURCES,
    STATUS_CLASSES,
    Metric,
)
from lambdas.recommendations_api.records import OTHER_ROUTE, RequestRecord

logger = logging.getLogger(__name__)

JOB: Final = "recommendations_api"

# One series a counter instead of two: when a series began is told by its first push.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Counters of one environment, every series there from the start."""

    def __init__(self, routes: Sequence[str]) -> None:
        """`routes` are templates: those that are counted apart, the others together."""
        self.registry = CollectorRegistry()
        self._routes = frozenset(routes)
        self._requests = self._counter(API_REQUESTS)
        self._seconds = Histogram(
            API_REQUEST_SECONDS.name,
            API_REQUEST_SECONDS.help,
            buckets=API_REQUEST_SECONDS.buckets,
            registry=self.registry,
        )
        self._answers = self._counter(API_ANSWERS)
        self._degraded = self._counter(API_DEGRADED)
        self._events = self._counter(API_EVENTS)
        self._cold_starts = self._counter(API_COLD_STARTS)
        for route in (*routes, OTHER_ROUTE):
            for status in STATUS_CLASSES:
                self._requests.labels(route, status)
        for source in SOURCES:
            self._answers.labels(source)
        for outcome in EVENT_OUTCOMES:
            self._events.labels(outcome)

    def count_cold_start(self) -> None:
        """An environment began to answer."""
        self._cold_starts.inc()

    def count(self, record: RequestRecord, seconds: float) -> None:
        """One request was answered."""
        route = record.route if record.route in self._routes else OTHER_ROUTE
        self._requests.labels(route, f"{record.status // 100}xx").inc()
        if route != OTHER_ROUTE:
            self._seconds.observe(seconds)
        if record.source is not None:
            self._answers.labels(record.source).inc()
        if record.degraded is not None:
            self._degraded.inc()
        if record.events_accepted:
            self._events.labels("accepted").inc(record.events_accepted)
        if record.events_rejected:
            self._events.labels("rejected").inc(record.events_rejected)

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.help, metric.label_names, registry=self.registry)


class Pusher:
    """Pushes a registry now and then. Nothing that the gateway does fails or long delays an answer."""

    def __init__(
        self, registry: CollectorRegistry, url: str, *, interval: float, timeout: float, pause: float
    ) -> None:
        """Push nothing yet. `pause` is how long a gateway that failed is left alone; times in seconds."""
        self.instance = str(uuid.uuid4())
        self._registry = registry
        self._url = url
        self._interval = interval
        self._timeout = timeout
        self._pause = pause
        self._next_push = 0.0
        self._connection: http.client.HTTPConnection | None = None
        self._thread: threading.Thread | None = None

    def push_if_due(self) -> None:
        """Push, if the last time is long enough ago."""
        if time.monotonic() >= self._next_push:
            self.push()

    def push(self) -> None:
        """Push, and wait for it no longer than the timeout."""
        if self._thread is not None and self._thread.is_alive():
            self._next_push = time.monotonic() + self._pause
            return
        self._next_push = time.monotonic() + self._interval
        # In a thread, because there is no other bound on all that can hang: a name server, a slow trickle.
        self._thread = threading.Thread(target=self._push, name="push", daemon=True)
        self._thread.start()
        self._thread.join(self._timeout)
        if self._thread.is_alive():
            self._next_push = time.monotonic() + self._pause
            logger.warning("the pushgateway took longer than %.3f s", self._timeout)

    def close(self) -> None:
        """Close the connection, once a push that is under way has had its time."""
        if self._thread is not None:
            self._thread.join(self._timeout)
            if self._thread.is_alive():
                return
        self._disconnect()

    def _push(self) -> None:
        try:
            push_to_gateway(
                self._url,
                JOB,
                self._registry,
                grouping_key={"instance": self.instance},
                timeout=self._timeout,
                handler=self._send,
            )
        except (OSError, http.client.HTTPException) as error:
            self._disconnect()
            self._next_push = time.monotonic() + self._pause
            logger.warning("metrics could not be pushed: %s", error)

    def _send(
        self, url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        """Do what prometheus_client asks of a handler, on a connection that is kept."""

        def send() -> None:
            try:
                self._request(url, method, timeout, headers, data)
            except (http.client.RemoteDisconnected, ConnectionError):
                # The gateway may have closed the connection since the last push. Replacing is repeatable.
                self._disconnect()
                self._request(url, method, timeout, headers, data)

        return send

    def _request(
        self, url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
    ) -> None:
        parts = urlsplit(url)
        if self._connection is None:
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(parts.netloc, timeout=timeout)
        self._connection.request(method, parts.path, data, dict(headers))
        response = self._connection.getresponse()
        body = response.read()
        if response.status >= 300:
            text = body[:200].decode(errors="replace")
            raise http.client.HTTPException(f"the pushgateway answered {response.status}: {text}")

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
