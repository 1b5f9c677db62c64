"""The pushgateway: which groups it has, deleting one, pushing one."""

import http.client
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, delete_from_gateway, push_to_gateway
from prometheus_client.parser import text_string_to_metric_families

from lambdas.deadline import within

PUSH_TIME: Final = "push_time_seconds"
"""The gateway's own, in each group: when it was pushed last with success."""

_LONGEST_LINE: Final = 64 * 1024

Result = TypeVar("Result")


class GatewayError(Exception):
    """The pushgateway cannot be reached, refuses, or answers what nobody understands."""


@dataclass(frozen=True)
class Group:
    """What was pushed under one set of grouping labels."""

    labels: Mapping[str, str]
    """Without those that are empty: the gateway shows an `instance` for all."""
    pushed_at: float
    """When that was done last with success, in seconds since 1970 UTC; 0 for never."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Of the families that were asked for and have one sample."""


class _Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


class Gateway:
    """Talks to a pushgateway; every method raises GatewayError, and none waits longer than its timeout."""

    def __init__(self, url: str, *, timeout: float, reading_timeout: float | None = None) -> None:
        """Connect to nothing yet; the timeouts are in seconds, the second one is that of `groups`."""
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._reading_timeout = reading_timeout or timeout

    def groups(self, *families: str) -> list[Group]:
        """All that there are, with the values of some families.

        Read from what Prometheus reads, line by line: with thousands of groups the gateway's own API takes
        twice as long, and its document does not fit into a function's memory.
        """
        names = {PUSH_TIME, *families}
        samples = self._ask(lambda: list(self._samples(names)), self._reading_timeout)
        values: dict[frozenset[tuple[str, str]], dict[str, float]] = {}
        for name, labels, value in samples:
            values.setdefault(frozenset(labels.items()), {})[name] = value
        return [
            Group(dict(labels), found.pop(PUSH_TIME), found)
            for labels, found in values.items()
            if PUSH_TIME in found
        ]

    def delete(self, labels: Mapping[str, str]) -> None:
        """Delete the group with exactly these grouping labels; harmless where there is none."""
        key = {name: value for name, value in labels.items() if name != "job"}
        self._ask(
            lambda: delete_from_gateway(self._url, labels["job"], grouping_key=key, timeout=self._timeout),
            self._timeout,
        )

    def push(self, job: str, registry: CollectorRegistry) -> None:
        """Replace the group `{job}`."""
        self._ask(lambda: push_to_gateway(self._url, job, registry, timeout=self._timeout), self._timeout)

    def _ask(self, request: Callable[[], Result], timeout: float) -> Result:
        try:
            return within(timeout, request)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise GatewayError(f"{self._url}: {error}") from error

    def _samples(self, names: Collection[str]) -> Iterator[_Sample]:
        """Raises ValueError where the answer is none of a pushgateway's."""
        parts = urlsplit(self._url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.netloc, timeout=self._reading_timeout)
        is_gateway = False
        try:
            connection.request("GET", f"{parts.path}/metrics")
            with connection.getresponse() as response:
                if response.status != 200:
                    raise ValueError(f"the answer was {response.status}")
                while line := response.readline(_LONGEST_LINE):
                    name = line.partition(b"{")[0].decode("latin-1")
                    is_gateway |= line.startswith(b"pushgateway_")
                    if name in names:
                        yield _sample(line)
        finally:
            connection.close()
        if not is_gateway:
            raise ValueError("it does not answer like a pushgateway")


def _sample(line: bytes) -> _Sample:
    (family,) = text_string_to_metric_families(line.decode())
    ((name, labels, value, *_),) = family.samples
    return _Sample(name, {key: label for key, label in labels.items() if label}, value)
