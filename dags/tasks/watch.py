"""Whether a version that went live serves worse than the one before, by what Prometheus saw."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import requests

from contract.metrics import API_ANSWERS, API_REQUESTS
from training.errors import UserError

_TIMEOUT_SECONDS: Final = 30


class WatchError(UserError):
    """The version serves worse; the message says in what."""


class PrometheusError(Exception):
    """Prometheus can't be asked."""


@dataclass(frozen=True)
class Limits:
    """How much worse a version may serve than the one before."""

    min_requests: int
    """With fewer in either time there is no verdict."""
    max_more_errors: float
    """How much the share of 5xx may grow, 0 to 1."""
    max_more_fallback: float
    """How much the share of answers that knew nothing of the visitor may grow, 0 to 1."""


@dataclass(frozen=True)
class Served:
    """What was served for some minutes."""

    requests: float
    errors: float
    answers: float
    fallback: float

    @property
    def error_share(self) -> float:
        """Of the requests."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def fallback_share(self) -> float:
        """Of the answers with recommendations."""
        return self.fallback / self.answers if self.answers else 0.0


def judge(prometheus_url: str, *, live_since: datetime, minutes: float, limits: Limits) -> dict[str, Any]:
    """Compare the minutes since a version went live with as many before.

    Raises WatchError where it serves worse by more than `limits`, PrometheusError where nobody knows.
    """
    after = _served(prometheus_url, live_since.timestamp() + minutes * 60, minutes)
    before = _served(prometheus_url, live_since.timestamp(), minutes)
    figures = {
        "requests": after.requests,
        "error_share": after.error_share,
        "error_share_before": before.error_share,
        "fallback_share": after.fallback_share,
        "fallback_share_before": before.fallback_share,
    }
    if min(after.requests, before.requests) < limits.min_requests:
        return {"verdict": "none: too few requests", **figures}
    worse = [
        f"{what} went from {then:.2%} to {now:.2%}, at most {most:.2%} more may be"
        for what, then, now, most in (
            ("the share of errors", before.error_share, after.error_share, limits.max_more_errors),
            ("the share of fallback", before.fallback_share, after.fallback_share, limits.max_more_fallback),
        )
        if now - then > most
    ]
    if worse:
        raise WatchError("; ".join(worse))
    return {"verdict": "not worse", **figures}


def _served(prometheus_url: str, end: float, minutes: float) -> Served:
    def increase(selector: str) -> float:
        window = f"{max(1, math.ceil(minutes * 60))}s"
        return _ask(prometheus_url, f"sum(increase({selector}[{window}]))", end)

    return Served(
        requests=increase(API_REQUESTS.name),
        errors=increase(f'{API_REQUESTS.name}{{status="5xx"}}'),
        answers=increase(API_ANSWERS.name),
        fallback=increase(f'{API_ANSWERS.name}{{source="popular"}}'),
    )


def _ask(prometheus_url: str, query: str, moment: float) -> float:
    """The one value that a query has at a moment; 0 where there is none."""
    try:
        response = requests.get(
            f"{prometheus_url}/api/v1/query",
            params={"query": query, "time": f"{moment:.3f}"},
            timeout=_TIMEOUT_SECONDS,
        )
        response.raise_for_status()
        result = response.json()["data"]["result"]
    except (requests.RequestException, ValueError, KeyError) as error:
        raise PrometheusError(f"Prometheus at {prometheus_url}: {error}") from error
    value = float(result[0]["value"][1]) if result else 0.0
    return value if math.isfinite(value) else 0.0
