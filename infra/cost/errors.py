"""What is told instead of an estimate.

CostError
├── PriceListError     a list of prices that cannot be read, or lacks prices
└── AssumptionError    an assumption that is out of bounds
"""


class CostError(Exception):
    """Nothing was estimated; the message says what to change."""


class PriceListError(CostError):
    """A list of prices that cannot be read, holds something else than prices, or lacks some."""


class AssumptionError(CostError):
    """Assumptions that are no numbers, or out of bounds."""
