"""A bar: a figure, its limit, and whether it holds; written where other programs find it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

FOLDER = Path("build/benchmarks")


@dataclass(frozen=True)
class Bar:
    """One figure with its limit; `better` tells on which side of it the figure should be."""

    name: str
    value: float
    limit: float
    better: Literal["lower", "higher"]

    @property
    def holds(self) -> bool:
        """Whether the figure is on the right side of the limit, or on it."""
        return self.value <= self.limit if self.better == "lower" else self.value >= self.limit


def write(name: str, bars: list[Bar], raw: dict[str, Any]) -> None:
    """Leave a benchmark's bars, and the figures behind them, in `build/benchmarks/NAME.json`."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    document = {"bars": [{**asdict(bar), "holds": bar.holds} for bar in bars], "raw": raw}
    (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")


def table(bars: list[Bar]) -> str:
    """The bars for people."""
    lines = [f"{'bar':<32}{'value':>12}  {'limit':>12}  holds"]
    for bar in bars:
        sign = "≤" if bar.better == "lower" else "≥"
        lines.append(
            f"{bar.name:<32}{bar.value:>12.2f}  {sign}{bar.limit:>11.2f}  {'yes' if bar.holds else 'NO'}"
        )
    return "\n".join(lines)
