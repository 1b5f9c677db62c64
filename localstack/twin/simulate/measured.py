"""What the metrics say that visitors did, beside what they did."""

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from contract.metrics import ANSWER_OUTCOMES, API_VERSION_ANSWERS, ATTRIBUTION_ANSWERS
from twin.simulate.habits import Habits, Rate
from twin.simulate.visitors import ANSWERED

Values = dict[str, float]
"""By version."""


class Measured:
    """Asks Prometheus."""

    def __init__(self, prometheus_url: str) -> None:
        self._url = prometheus_url

    def counted(self) -> Values:
        """Answers by version, as the counters stand."""
        return self._by_version(f"sum by (version) ({API_VERSION_ANSWERS.name})")

    def answered(self, seconds: float) -> Values:
        """Answers by version of so many seconds until the latest sample, as dashboards ask for them."""
        (at,) = self._ask(f"max(timestamp({API_VERSION_ANSWERS.name}))")
        increase = f"increase({API_VERSION_ANSWERS.name}[{seconds:.0f}s])"
        return self._by_version(f"sum by (version) (sum without (instance) ({increase}))", at["value"][1])

    def attributed(self, outcome: str) -> Values:
        """Answers by version that were clicked, carted or bought."""
        return self._by_version(
            f'sum by (version) ({ATTRIBUTION_ANSWERS.name}{{outcome="{outcome}",window="1d"}})'
        )

    def is_known(self, expression: str) -> bool:
        """Whether an expression has a value at all."""
        return bool(self._ask(expression))

    def _by_version(self, expression: str, at: str | None = None) -> Values:
        return {each["metric"]["version"]: float(each["value"][1]) for each in self._ask(expression, at)}

    def _ask(self, expression: str, at: str | None = None) -> list[Any]:
        asked = {"query": expression} | ({} if at is None else {"time": at})
        url = f"{self._url}/api/v1/query?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - loopback
            result: list[Any] = json.load(response)["data"]["result"]
        return result


def compare(
    habits: Mapping[str, Habits], did: Mapping[tuple[str, str], int], measured: Mapping[str, Values]
) -> dict[str, Any]:
    """For each version and outcome the known rate, the measured one with its interval; whether they agree.

    `did` and `measured` hold answers and outcomes, by ANSWERED and the outcomes' names.
    """
    return {
        version: {
            "answers": {"given": did[ANSWERED, version], "measured": measured[ANSWERED].get(version, 0.0)},
            **{
                outcome: _outcome(version, outcome, known, did, measured)
                for outcome, known in each.rates.items()
            },
        }
        for version, each in habits.items()
    }


def _outcome(
    version: str,
    outcome: str,
    known: float,
    did: Mapping[tuple[str, str], int],
    measured: Mapping[str, Values],
) -> dict[str, Any]:
    rate = Rate(measured[outcome].get(version, 0.0), measured[ANSWERED].get(version, 0.0))
    low, high = rate.interval()
    return {
        "known_rate": known,
        "measured_rate": rate.number / rate.of if rate.of else None,
        "low": low,
        "high": high,
        "did": did[outcome, version],
        "measured": rate.number,
        "agrees": rate.agrees_with(known) and rate.number == did[outcome, version],
    }


def agreements(compared: Mapping[str, Mapping[str, Any]]) -> list[bool]:
    """Whether each rate agrees, and the answers of each version are counted to 1 %."""
    found = []
    for version in compared.values():
        found += [version[outcome]["agrees"] for outcome in ANSWER_OUTCOMES]
        given, counted = version["answers"]["given"], version["answers"]["measured"]
        found.append(abs(counted - given) <= 0.01 * given)
    return found
