"""The pushgateway: which groups it has, deleting one, pushing one."""

import http.client
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from prometheus_client import CollectorRegistry, delete_from_gateway, push_to_gateway

from lambdas.deadline import within
from lambdas.documents import DocumentError, read_json


class GatewayError(Exception):
    """The pushgateway cannot be reached, refuses, or answers what nobody understands."""


@dataclass(frozen=True)
class Group:
    """What was pushed under one set of grouping labels."""

    labels: Mapping[str, str]
    pushed_at: float
    """When that was done last with success, in seconds since 1970 UTC; 0 for never."""
    families: Mapping[str, Any]
    """As the gateway's API tells them, by name."""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Of one element of `data`. Raises LookupError, TypeError or ValueError where it is none."""
        families = {
            name: family for name, family in document.items() if isinstance(family, dict) and name != "labels"
        }
        pushed_at = float(families["push_time_seconds"]["metrics"][0]["value"])
        return cls({str(name): str(value) for name, value in document["labels"].items()}, pushed_at, families)

    def value(self, family: str) -> float | None:
        """Of a family with one sample; None where there is no such family."""
        return float(self.families[family]["metrics"][0]["value"]) if family in self.families else None


class Gateway:
    """Talks to a pushgateway; every method raises GatewayError, and none waits longer than the timeout."""

    def __init__(self, url: str, *, timeout: float) -> None:
        """Connect to nothing yet; the timeout is in seconds."""
        self._url = url.rstrip("/")
        self._timeout = timeout

    def groups(self) -> list[Group]:
        """All that there are."""
        try:
            document = read_json(f"{self._url}/api/v1/metrics", timeout=self._timeout)
            return [Group.from_document(group) for group in document["data"]]
        except DocumentError as error:
            raise GatewayError(str(error)) from error
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise GatewayError(f"{self._url} does not answer like a pushgateway: {error!r}") from error

    def delete(self, labels: Mapping[str, str]) -> None:
        """Delete the group with exactly these grouping labels; harmless where there is none."""
        key = {name: value for name, value in labels.items() if name != "job"}
        self._ask(
            lambda: delete_from_gateway(self._url, labels["job"], grouping_key=key, timeout=self._timeout)
        )

    def push(self, job: str, registry: CollectorRegistry) -> None:
        """Replace the group `{job}`."""
        self._ask(lambda: push_to_gateway(self._url, job, registry, timeout=self._timeout))

    def _ask(self, request: Callable[[], None]) -> None:
        try:
            within(self._timeout, request)
        except (OSError, http.client.HTTPException) as error:
            raise GatewayError(f"{self._url}: {error}") from error
