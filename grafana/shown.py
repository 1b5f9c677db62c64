"""Values as people read them."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

COLORS: Final = {"green": "#56a64b", "orange": "#ff9830", "red": "#e02f44"}


def color_of(value: float, bounds: Sequence[tuple[float, str]]) -> str:
    """The colour of the highest bound that a value reaches."""
    reached = [color for bound, color in bounds if value >= bound]
    return COLORS[reached[-1] if reached else "green"]


def shown(value: float, unit: str) -> str:
    """A value as people read it."""
    if not math.isfinite(value):
        return str(value)
    if unit in _BY_UNIT:
        return _BY_UNIT[unit](value)
    scales = ((2**30, " GiB"), (2**20, " MiB")) if unit == "bytes" else ((1e6, "M"), (1e4, "k"))
    for size, suffix in scales:
        if abs(value) >= size:
            return f"{value / (1000 if suffix == 'k' else size):.3g}{suffix}"
    return f"{value:.4g}{'/s' if unit in {'reqps', 'ops'} else ''}"


def _duration(seconds: float) -> str:
    for size, suffix in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if abs(seconds) >= size:
            return f"{seconds / size:.3g} {suffix}"
    return f"{1000 * seconds:.3g} ms"


_BY_UNIT: Final[dict[str, Callable[[float], str]]] = {
    "dateTimeAsIso": lambda milliseconds: (
        f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M}"
    ),
    "percentunit": lambda ratio: f"{100 * ratio:.3g} %",
    "s": _duration,
    "d": lambda days: f"{days:g} d",
}
