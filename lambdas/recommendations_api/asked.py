"""What a caller asks for: how many items, by which strategy, without which."""

from dataclasses import dataclass
from typing import Literal

Strategy = Literal["blend", "stored", "session"]
Window = Literal["1d", "7d", "30d"]
"""The names of `contract.recommendations.TRENDING_WINDOWS`."""

DEFAULT_LIMIT = 10
MAX_LIMIT = 100


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What is left out of an answer; the same for every kind of it."""

    limit: int = DEFAULT_LIMIT
    category: str | None = None
    """Only what lies in it, or below it in the tree."""
    exclude_items: frozenset[str] = frozenset()
    available_only: bool = True
    variant: str | None = None
    """Whose version answers; None for the visitor's own, or the default one where nobody is named."""


@dataclass(frozen=True, kw_only=True)
class Asked(Filters):
    """What a visitor's answer is to be like."""

    strategy: Strategy = "blend"
    """`blend`; `stored`: the trained list alone, then what is popular; `session`: without that list."""
    exclude_purchased: bool | None = None
    """Whether what they bought is left out; None for what the version says."""
    exclude_seen: bool = False
    """Whether everything that they ever turned to is left out."""
