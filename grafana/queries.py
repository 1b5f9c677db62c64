"""What Prometheus says to the queries of panels."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

POINTS: Final = 240
"""Of each line."""
TIMEOUT_SECONDS: Final = 60


class PrometheusError(Exception):
    """Prometheus can't be asked, or does not understand."""


@dataclass(frozen=True)
class Series:
    """What a query yields: values at moments."""

    name: str
    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]
    """Seconds since 1970 UTC, and the value."""

    @property
    def latest(self) -> float:
        """The last value."""
        return self.points[-1][1]


class Prometheus:
    """A Prometheus over HTTP; queries may hold Grafana's variables."""

    def __init__(self, url: str, variables: Mapping[str, str]) -> None:
        """Ask nothing yet."""
        self._url = url.rstrip("/")
        self._variables = variables

    def at(self, expr: str, legend: str, moment: float) -> list[Series]:
        """What an expression yields at a moment. Raises PrometheusError."""
        result = self._ask("query", expr, time=moment)
        return [_series(each, legend, [each["value"]]) for each in result]

    def over(self, expr: str, legend: str, start: float, end: float) -> list[Series]:
        """What it yields from `start` to `end`. Raises PrometheusError."""
        step = max((end - start) / POINTS, 1.0)
        result = self._ask("query_range", expr, start=start, end=end, step=step)
        return [_series(each, legend, each["values"]) for each in result]

    def expression(self, expr: str) -> str:
        """The expression without variables."""
        return re.sub(r"\$\{?(\w+)\}?", lambda found: self._variables[found[1]], expr)

    def _ask(self, path: str, expr: str, **parameters: float) -> list[Any]:
        query = self.expression(expr)
        body = urllib.parse.urlencode({"query": query, **parameters}).encode()
        try:
            with urllib.request.urlopen(  # noqa: S310 - the URL is the caller's
                f"{self._url}/api/v1/{path}", body, timeout=TIMEOUT_SECONDS
            ) as response:
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            raise PrometheusError(f"{query}: {error.read().decode(errors='replace')}") from error
        except OSError as error:
            raise PrometheusError(f"the Prometheus at {self._url} can't be asked: {error}") from error
        result: list[Any] = answer["data"]["result"]
        return result


def _series(found: Mapping[str, Any], legend: str, values: Sequence[tuple[float, str]]) -> Series:
    labels: dict[str, str] = found["metric"]
    name = re.sub(r"\{\{(\w+)\}\}", lambda each: labels.get(each[1], ""), legend)
    return Series(name, labels, tuple((float(moment), float(value)) for moment, value in values))
