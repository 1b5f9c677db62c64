"""What an environment counts: `contract.metrics` says what of it means."""

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from contract.metrics import (
    API_ANSWERS,
    API_COLD_STARTS,
    API_CPU_SECONDS,
    API_DATABASE_CALLS,
    API_DATABASE_SECONDS,
    API_DEGRADED,
    API_EVENTS,
    API_MEMORY,
    API_REQUEST_SECONDS,
    API_REQUESTS,
    API_VERSION_ANSWERS,
    API_VERSION_AS_OF,
    COUNTED_ROUTES,
    EVENT_OUTCOMES,
    OTHER,
    SOURCES,
    STATUS_CLASSES,
    VERSIONS_AN_ENVIRONMENT,
    Metric,
)
from lambdas.recommendations_api.database import Database
from lambdas.recommendations_api.records import RequestRecord

Pair = tuple[str, str]
"""A version and a variant that it answers for."""

FORGOTTEN_AFTER_SECONDS: Final = 60.0
"""A pair that was not answered with for so long makes room for another: its last value has been seen."""

_OTHERS: Final[Pair] = (OTHER, OTHER)
_STATM: Final = Path("/proc/self/statm")
_CONDITIONAL: Final = "3xx"
"""Only what can be asked for on condition answers with it."""

# One series a counter instead of two: when a series began is told by its first push.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Counters of one environment, every series there from the start but those of versions."""

    def __init__(
        self, routes: Sequence[tuple[str, str]], database: Database, *, is_cold: bool = True
    ) -> None:
        """`routes` are methods and templates that the function answers; some are counted apart.

        `is_cold` says whether the first request that is counted is the environment's first.
        """
        self.registry = CollectorRegistry()
        self.has_counted = False
        self._is_cold = is_cold
        self._database = database
        self._seen_calls, self._seen_seconds = database.calls, database.seconds
        self._seen_cpu = time.process_time()
        self._routes = frozenset(route for _, route in routes if route in COUNTED_ROUTES)
        self._requests = self._counter(API_REQUESTS)
        self._seconds = Histogram(
            API_REQUEST_SECONDS.name,
            API_REQUEST_SECONDS.help,
            buckets=API_REQUEST_SECONDS.buckets,
            registry=self.registry,
        )
        self._answers = self._counter(API_ANSWERS)
        self._version_answers = self._counter(API_VERSION_ANSWERS)
        self._answered_at: dict[Pair, float] = {}
        self._degraded = self._counter(API_DEGRADED)
        self._has_others = False
        self._as_of: Gauge | None = None
        self._events = self._counter(API_EVENTS)
        self._cold_starts = self._counter(API_COLD_STARTS)
        self._database_calls = self._counter(API_DATABASE_CALLS)
        self._database_seconds = self._counter(API_DATABASE_SECONDS)
        self._cpu = self._counter(API_CPU_SECONDS)
        if _STATM.exists():
            Gauge(API_MEMORY.name, API_MEMORY.help, registry=self.registry).set_function(resident_bytes)
        self._make_children(routes)

    def meet(self, record: RequestRecord) -> bool:
        """Make a series at zero for each version that the record is the first to be answered with; if any."""
        if not record.answers:
            return False
        if self._as_of is None:
            self._as_of = Gauge(API_VERSION_AS_OF.name, API_VERSION_AS_OF.help, registry=self.registry)
        now = time.monotonic()
        pairs = {(version, variant) for _, version, variant in record.answers}
        are_new = [self._meet(pair, now) for pair in pairs]
        return any(are_new)

    def count(self, record: RequestRecord, seconds: float) -> None:
        """One request was answered."""
        if self._is_cold and not self.has_counted:
            self._cold_starts.inc()
        self.has_counted = True
        route = record.route if record.route in self._routes else OTHER
        self._requests.labels(route, f"{record.status // 100}xx").inc()
        if route != OTHER:
            self._seconds.observe(seconds)
        for (source, version, variant), number in record.answers.items():
            pair = (version, variant)
            self._answers.labels(source).inc(number)
            self._version_answers.labels(*(pair if pair in self._answered_at else _OTHERS)).inc(number)
        if self._as_of is not None and record.as_of is not None:
            self._as_of.set(record.as_of)
        if record.degraded is not None:
            self._degraded.inc()
        if record.events_accepted:
            self._events.labels("accepted").inc(record.events_accepted)
        if record.events_rejected:
            self._events.labels("rejected").inc(record.events_rejected)
        self._count_resources()

    def _count_resources(self) -> None:
        database, cpu = self._database, time.process_time()
        self._database_calls.inc(database.calls - self._seen_calls)
        self._database_seconds.inc(database.seconds - self._seen_seconds)
        self._cpu.inc(cpu - self._seen_cpu)
        self._seen_calls, self._seen_seconds, self._seen_cpu = database.calls, database.seconds, cpu

    def _meet(self, pair: Pair, now: float) -> bool:
        if pair in self._answered_at:
            self._answered_at[pair] = now
            return False
        if len(self._answered_at) >= VERSIONS_AN_ENVIRONMENT:
            oldest = min(self._answered_at, key=self._answered_at.__getitem__)
            if now - self._answered_at[oldest] < FORGOTTEN_AFTER_SECONDS:
                had_others, self._has_others = self._has_others, True
                self._version_answers.labels(*_OTHERS)
                return not had_others
            del self._answered_at[oldest]
            self._version_answers.remove(*oldest)
        self._answered_at[pair] = now
        self._version_answers.labels(*pair)
        return True

    def _make_children(self, routes: Iterable[tuple[str, str]]) -> None:
        for method, route in [*routes, ("", OTHER)]:
            if route not in self._routes and route != OTHER:
                continue
            for status in STATUS_CLASSES:
                if status != _CONDITIONAL or method == "GET":
                    self._requests.labels(route, status)
        for source in SOURCES:
            self._answers.labels(source)
        for outcome in EVENT_OUTCOMES:
            self._events.labels(outcome)

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.help, metric.label_names, registry=self.registry)


def resident_bytes() -> int:
    """Memory that this process holds. Linux tells it, and Lambda is Linux."""
    pages = int(_STATM.read_bytes().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
