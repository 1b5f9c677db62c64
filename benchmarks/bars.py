"""A bar: a figure, its limit, and whether it holds; written where other programs find it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

FOLDER = Path("build/benchmarks")


@dataclass(frozen=True)
class Bar:
    """One figure with its limit; `better` tells on which side of it the figure should be."""

    name: str
    value: float
    limit: float | None
    """None where the figure is only reported."""
    better: Literal["lower", "higher"]

    @property
    def holds(self) -> bool:
        """Whether the figure is on the right side of the limit, or on it, or has none."""
        if self.limit is None:
            return True
        return self.value <= self.limit if self.better == "lower" else self.value >= self.limit


def write(name: str, bars: Sequence[Bar], raw: dict[str, Any]) -> None:
    """Leave a benchmark's bars, and the figures behind them, in `build/benchmarks/NAME.json`."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    document = {"bars": [{**asdict(bar), "holds": bar.holds} for bar in bars], "raw": raw}
    (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")


def table(bars: Sequence[Bar]) -> str:
    """The bars for people."""
    return "\n".join([f"{'bar':<32}{'value':>12}  {'limit':>12}  holds", *map(_line, bars)])


def _line(bar: Bar) -> str:
    figure = f"{bar.name:<32}{bar.value:>12.2f}"
    if bar.limit is None:
        return f"{figure}  {'none':>12}  -"
    sign = "≤" if bar.better == "lower" else "≥"
    return f"{figure}  {sign}{bar.limit:>11.2f}  {'yes' if bar.holds else 'NO'}"
