"""How likely visitors are to click, cart and buy, by version: what the metrics are to find out."""

import math
from dataclasses import dataclass
from typing import Final

from contract.metrics import ANSWER_OUTCOMES

CLICKED, CARTED, BOUGHT = ANSWER_OUTCOMES

Z_95: Final = 1.96
Z_999: Final = 3.2905
"""A dozen rates are compared: by 95 % intervals every second run would fail by chance."""


@dataclass(frozen=True)
class Habits:
    """Shares of answers, of clicks and of carts."""

    clicks: float
    carts: float = 0.5
    buys: float = 0.5

    @property
    def rates(self) -> dict[str, float]:
        """Of all answers, by outcome."""
        return {
            CLICKED: self.clicks,
            CARTED: self.clicks * self.carts,
            BOUGHT: self.clicks * self.carts * self.buys,
        }


@dataclass(frozen=True)
class Rate:
    """So many of so many."""

    number: float
    of: float

    def interval(self, z: float = Z_95) -> tuple[float, float]:
        """Wilson's, which holds for small shares, too."""
        if self.of <= 0:
            return 0.0, 1.0
        share, spread = min(self.number / self.of, 1.0), z * z / self.of
        middle = share + spread / 2
        half = z * math.sqrt(share * (1 - share) / self.of + spread / (4 * self.of))
        return (middle - half) / (1 + spread), (middle + half) / (1 + spread)

    def agrees_with(self, known: float) -> bool:
        """Whether it may well have come from this rate."""
        low, high = self.interval(Z_999)
        return low <= known <= high
