"""One answer out of stored lists and recent events: a pure function, the same for API and backtest.

Every candidate's score is the sum of four parts, each with a weight that the training ships in the
version's manifest:

- `own`: the visitor's own recent items. Each event counts by its kind, its rank (0 is the newest) and
  its age; an item's events add up. People buy what they keep coming back to.
- `similar`: items of the stored similar lists of those recent items, by the same strength.
- `personal`: the list that the training ranked for this user, by reciprocal rank.
- `popular`: what everyone buys, by reciprocal rank; it fills whatever is left.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple

from contract.events import ADD_TO_CART, PURCHASE, VIEW, Event

MILLISECONDS_A_DAY: Final = 86_400_000

ScoredItem = tuple[str, float]


class BlendWeightsError(ValueError):
    """Blend weights that this code cannot read."""


@dataclass(frozen=True, kw_only=True)
class BlendWeights:
    """What the blend weighs by; fitted by the training, shipped in the manifest."""

    own: float = 1.0
    similar: float = 0.1
    personal: float = 0.02
    popular: float = 0.0001
    event_weights: dict[str, float] = field(
        default_factory=lambda: {VIEW: 1.0, ADD_TO_CART: 3.0, PURCHASE: 1.0}
    )
    """By kind of event."""
    other_event_weight: float = 1.0
    """Of a kind that `event_weights` doesn't name."""
    rank_decay: float = 0.9
    """Factor from each of the visitor's events to the next older one."""
    half_life_days: float = 14.0
    """An event this old counts half."""
    recent_items: int = 20
    """How many of the visitor's latest distinct items lend their similar lists."""
    history_length: int = 50
    """How many of the visitor's latest events are looked at."""

    @classmethod
    def from_document(cls, document: Any) -> "BlendWeights":
        """Read weights back from parsed JSON; those of newer code, unknown to this one, are passed over.

        Raises BlendWeightsError where one is missing, of a wrong type or out of its range.
        """
        if not isinstance(document, dict):
            raise BlendWeightsError(f"blend weights are a {type(document).__name__}, not an object")
        names = {each.name for each in fields(cls)}
        if missing := names - document.keys():
            raise BlendWeightsError(f"blend weights lack {', '.join(sorted(missing))}")
        document = {name: document[name] for name in names}
        event_weights = document["event_weights"]
        numbers = [value for name, value in document.items() if name != "event_weights"]
        if not isinstance(event_weights, dict):
            raise BlendWeightsError("blend weights: event_weights is not an object")
        for value in [*numbers, *event_weights.values()]:
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise BlendWeightsError(f"blend weights: {value!r} is not a number")
        weights = cls(**document)
        weights._check()
        return weights

    def _check(self) -> None:
        for name in ("recent_items", "history_length"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise BlendWeightsError(
                    f"blend weights: {name} is {value!r}, expected a whole number from 0 on"
                )
        if self.half_life_days <= 0:
            raise BlendWeightsError(
                f"blend weights: half_life_days is {self.half_life_days!r}, expected more than 0"
            )
        if not 0 < self.rank_decay <= 1:
            raise BlendWeightsError(
                f"blend weights: rank_decay is {self.rank_decay!r}, expected above 0 and up to 1"
            )


class BlendedItem(NamedTuple):
    """One item of an answer; `source` is the part that gave most of its score."""

    item_id: str
    score: float
    source: str


def merge_histories(*histories: Iterable[Event], length: int) -> list[Event]:
    """The latest `length` events of all histories, newest first, exact duplicates once.

    Each history comes newest first; of events at the same moment those of an earlier history, and
    within a history the earlier ones, are taken for newer: put what was just posted first.
    """
    distinct = dict.fromkeys(event for history in histories for event in history)
    return sorted(distinct, key=lambda event: -event.timestamp)[:length]


def recent_items(history: Sequence[Event], weights: BlendWeights) -> list[str]:
    """The visitor's latest distinct items, newest first: whose similar lists the blend looks at."""
    distinct = dict.fromkeys(event.item_id for event in history[: weights.history_length])
    return list(distinct)[: weights.recent_items]


def blend(
    *,
    history: Sequence[Event],
    personal: Sequence[ScoredItem],
    similar: Mapping[str, Sequence[ScoredItem]],
    popular: Sequence[ScoredItem],
    weights: BlendWeights,
    now: int,
    limit: int,
    exclude: Collection[str] = frozenset(),
) -> list[BlendedItem]:
    """The best `limit` items for a visitor, best first; ties go by item id.

    `history` is newest first (`merge_histories`), `similar` maps each of `recent_items` to its stored
    list, `now` is in ms UTC. The scores of a similar list are expected within 0 and 1; of the
    personal and the popular list only the order counts. Items in `exclude` never appear.
    """
    own = _own_strengths(history[: weights.history_length], weights, now)
    parts = {
        "own": {item: weights.own * strength for item, strength in own.items()},
        "similar": _similar_scores(recent_items(history, weights), own, similar, weights),
        "personal": _by_rank(personal, weights.personal),
        "popular": _by_rank(popular, weights.popular),
    }
    totals: dict[str, float] = {}
    for scores in parts.values():
        for item, score in scores.items():
            totals[item] = totals.get(item, 0.0) + score
    candidates = [(item, score) for item, score in totals.items() if item not in exclude]
    candidates.sort(key=lambda candidate: (-candidate[1], candidate[0]))
    return [BlendedItem(item, score, _main_part(item, parts)) for item, score in candidates[:limit]]


def purchased_items(history: Iterable[Event]) -> set[str]:
    """What the visitor has bought, as far as the history tells."""
    return {event.item_id for event in history if event.event_type == PURCHASE}


def _own_strengths(history: Sequence[Event], weights: BlendWeights, now: int) -> dict[str, float]:
    strengths: dict[str, float] = {}
    for rank, event in enumerate(history):
        age_days = max(0, now - event.timestamp) / MILLISECONDS_A_DAY
        strength = (
            weights.event_weights.get(event.event_type, weights.other_event_weight)
            * weights.rank_decay**rank
            * 0.5 ** (age_days / weights.half_life_days)
        )
        strengths[event.item_id] = strengths.get(event.item_id, 0.0) + strength
    return strengths


def _similar_scores(
    items: Sequence[str],
    own: Mapping[str, float],
    similar: Mapping[str, Sequence[ScoredItem]],
    weights: BlendWeights,
) -> dict[str, float]:
    scores: dict[str, float] = {}
    for item in items:
        strength = weights.similar * own[item]
        for other, similarity in similar.get(item, ()):
            scores[other] = scores.get(other, 0.0) + strength * similarity
    return scores


def _by_rank(items: Sequence[ScoredItem], weight: float) -> dict[str, float]:
    return {item: weight / (1 + rank) for rank, (item, _) in enumerate(items)}


def _main_part(item: str, parts: Mapping[str, Mapping[str, float]]) -> str:
    return max(parts, key=lambda part: parts[part].get(item, 0.0))
