"""What is wrong with what a panel shows, while every metric is pushed."""

import math
from collections.abc import Iterator

from grafana.described import Answered


def is_traffic(answered: Answered) -> bool:
    """Whether it shows something that happens each second: a gateway that only repeats makes 0 of it."""
    return any("rate(" in expr or "increase" in expr for expr, _ in answered.panel.queries)


def objections(answered: Answered) -> Iterator[str]:
    """None where each query yields finite values, and those of traffic are above zero."""
    if not answered.series:
        yield "nothing is shown"
    for each in answered.series:
        if not math.isfinite(each.latest):
            yield f"{each.name}: {each.latest}"
        if not each.name:
            yield f"a series without a name: {dict(each.labels)}"
        if is_traffic(answered) and not each.latest > 0:
            yield f"{each.name}: {each.latest}, while there is traffic"
