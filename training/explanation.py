"""Why a user's list is as it is: which sources proposed an item, what the ranker saw, what the user had done.

Told of the list that the training ranked; what an answer adds of the last minutes lies in its own `source`.
"""

from dataclasses import dataclass
from typing import Literal

from contract.events import Event

How = Literal["same_item", "similar_item", "same_category"]


@dataclass(frozen=True)
class FeatureShare:
    """What the ranker saw of a candidate, and what that added to its score."""

    name: str
    value: float
    added: float


@dataclass(frozen=True)
class Cause:
    """Something the user did, and how it leads to an item."""

    event: Event
    how: How
    strength: float
    """The similarity of a similar item; 1 otherwise."""


@dataclass(frozen=True)
class ExplainedItem:
    """One item of a user's list."""

    item_id: str
    sources: dict[str, int]
    """The item's place among the proposals of each source that has it, from 1; empty for what fills up."""
    features: tuple[FeatureShare, ...]
    """Those that moved its score most, the largest first; empty where no source proposed it."""
    causes: tuple[Cause, ...]
    """The most direct ones; empty for what everybody is shown."""


@dataclass(frozen=True)
class ExplainedUser:
    """A user, and their list."""

    user_id: str
    history: tuple[Event, ...]
    """Newest first."""
    items: tuple[ExplainedItem, ...]
