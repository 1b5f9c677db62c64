"""What a job's metric definitions find in its log."""

import contextlib
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any


class Metrics:
    """The last value of each metric; the first group of its expression is the value."""

    def __init__(self, definitions: Iterable[Mapping[str, str]]) -> None:
        self._patterns = {each["Name"]: re.compile(each["Regex"]) for each in definitions}
        self._last: dict[str, tuple[float, datetime]] = {}

    def read(self, line: str, at: datetime) -> None:
        """Take the values of a line of the log."""
        for name, pattern in self._patterns.items():
            if found := pattern.search(line):
                with contextlib.suppress(ValueError):  # the expression found no number: there is no metric
                    self._last[name] = (float(found[1]), at)

    def final(self) -> list[dict[str, Any]]:
        """As `FinalMetricDataList` has them."""
        return [
            {"MetricName": name, "Value": value, "Timestamp": at} for name, (value, at) in self._last.items()
        ]
