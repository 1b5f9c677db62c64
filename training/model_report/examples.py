"""A few visitors, what they did, what they would be shown, and why; no user is named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from contract.events import Event
from training.explanation import Cause, ExplainedItem, ExplainedUser, FeatureShare
from training.moments import MILLISECONDS_A_DAY

HISTORY_TOLD: Final = 8
_MINUTE: Final = 60_000
_HOUR: Final = 60 * _MINUTE
FEATURES_TOLD: Final = 3


@dataclass(frozen=True)
class Deed:
    """Something that a visitor did."""

    item_id: str
    event_type: str
    ago: str


@dataclass(frozen=True)
class Reason:
    """One deed that leads to an item."""

    deed: Deed
    how: str
    """`same_item`, `similar_item` or `same_category`."""


@dataclass(frozen=True)
class ShownItem:
    """One item of a visitor's list."""

    item_id: str
    category: str | None
    reasons: tuple[Reason, ...]
    sources: Mapping[str, int]
    """The item's place in each, from 1, the best first."""
    features: tuple[FeatureShare, ...]
    """Those that moved its place most."""


@dataclass(frozen=True)
class Example:
    """One visitor under a pseudonym."""

    name: str
    deeds: tuple[Deed, ...]
    """Newest first."""
    more_deeds: int
    items: tuple[ShownItem, ...]


def examples(
    explained: Sequence[ExplainedUser], *, now: int, category_of: Mapping[str, str]
) -> tuple[Example, ...]:
    """Told as of `now`, ms UTC: the moment that the lists are of."""
    return tuple(
        Example(
            name=f"visitor {number}",
            deeds=tuple(_deed(event, now) for event in user.history[:HISTORY_TOLD]),
            more_deeds=len(user.history[HISTORY_TOLD:]),
            items=tuple(_shown(item, now, category_of) for item in user.items),
        )
        for number, user in enumerate(explained, start=1)
    )


def ago(moment: int, now: int) -> str:
    """How long before `now`, both ms UTC, in words."""
    elapsed = max(0, now - moment)
    for unit, length in (("day", MILLISECONDS_A_DAY), ("hour", _HOUR), ("minute", _MINUTE)):
        if elapsed >= length:
            number = elapsed // length
            return f"{number:,} {unit}{'' if number == 1 else 's'} ago"
    return "just before"


def _shown(item: ExplainedItem, now: int, category_of: Mapping[str, str]) -> ShownItem:
    return ShownItem(
        item_id=item.item_id,
        category=category_of.get(item.item_id),
        reasons=tuple(_reason(cause, now) for cause in item.causes),
        sources=dict(sorted(item.sources.items(), key=lambda entry: (entry[1], entry[0]))),
        features=item.features[:FEATURES_TOLD],
    )


def _reason(cause: Cause, now: int) -> Reason:
    return Reason(_deed(cause.event, now), cause.how)


def _deed(event: Event, now: int) -> Deed:
    return Deed(event.item_id, event.event_type, ago(event.timestamp, now))
