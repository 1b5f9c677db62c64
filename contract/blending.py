"""One answer out of stored lists and recent events: a pure function, the same for API and backtest.

A visitor who did nothing since the training gets the list that the training ranked for them, then what is
popular. For one who did, every candidate's score is a sum of parts, whose weights the training fits and
ships in the version's manifest:

- `own`: an item that the visitor turned to lately. It has a weight for being one, more the later it was
  the latest, more the likelier people come back to it; and each of its events counts by its kind, its rank
  (0 is the newest) and its age. People buy what they keep coming back to.
- `similar`: an item that they have not turned to, from the stored similar lists of those that they have, by
  rank and age of their events.
- `personal`: the list that the training ranked for this user, by rank.
- `popular`: what everyone buys, by rank; it fills whatever is left.
"""

import heapq
import math
import sys
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple

from contract.events import ADD_TO_CART, PURCHASE, VIEW, Event

MILLISECONDS_A_DAY: Final = 86_400_000
RANKED_DEPTH: Final = 200
"""The rank from which on the place in a list says nothing more."""

ScoredItem = tuple[str, float]


class BlendWeightsError(ValueError):
    """Blend weights that this code cannot read."""


@dataclass(frozen=True, kw_only=True)
class BlendWeights:
    """What the blend weighs by; fitted by the training, shipped in the manifest."""

    own: float = 2.0
    """Of an item that the visitor turned to lately."""
    latest: float = 2.0
    """Of the item of the visitor's newest event; half of it for that of the next, a third, and so on."""
    conversion: float = 0.2
    """Per unit of log-odds by which people come back to the item more than to the average one."""
    similar: float = 12.0
    """Per similarity to what the visitor turned to."""
    personal: float = 2.0
    """Of the best item of the personal list, of those not turned to; less by the logarithm of the rank."""
    personal_own: float = 0.5
    """The same, of items that the visitor turned to lately."""
    popular: float = 4.0
    """Of the most popular item; less by the logarithm of the rank."""
    event_weights: dict[str, float] = field(
        default_factory=lambda: {VIEW: 1.0, ADD_TO_CART: 2.0, PURCHASE: 0.0}
    )
    """Of an event, by its kind, on top of what its item has by the weights above."""
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
            if not _is_number(value):
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


def _is_number(value: Any) -> bool:
    """Whether JSON's value is a finite number; a whole one may be beyond what a float can hold."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max


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


def has_news(live: Iterable[Event], stored: Iterable[Event]) -> bool:
    """Whether there is an event in `live` that the lists don't know: none of the history stored with them."""
    known = set(stored)
    return any(event not in known for event in live)


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
    has_news: bool,
    limit: int,
    exclude: Container[str] = frozenset(),
) -> list[BlendedItem]:
    """The best `limit` items for a visitor, best first; ties go by item id.

    `history` is newest first (`merge_histories`), `similar` maps each of `recent_items` to its stored
    list, `now` is in ms UTC; `has_news` tells whether the history has events that the lists don't know.
    The scores of a similar list are expected within 0 and 1, the item itself among them standing for how
    likely people come back to it (0.5: as to the average item); of the personal and the popular list only
    the order counts. Items in `exclude` never appear.
    """
    if personal and not has_news:
        return _stored(personal, popular, limit, exclude)
    history = history[: weights.history_length]
    own = _own_scores(history, similar, weights, now)
    parts = {
        "own": own,
        "similar": _similar_scores(history, similar, weights, now),
        "personal": {
            item: rank_score(rank) * (weights.personal_own if item in own else weights.personal)
            for rank, (item, _) in enumerate(personal)
        },
        "popular": {
            item: rank_score(rank) * weights.popular
            for rank, (item, _) in enumerate(popular)
            if item not in own
        },
    }
    totals: dict[str, float] = {}
    for scores in parts.values():
        for item, score in scores.items():
            totals[item] = totals.get(item, 0.0) + score
    candidates = [(-score, item) for item, score in totals.items() if item not in exclude]
    best = heapq.nsmallest(limit, candidates)
    return [BlendedItem(item, -score, _main_part(item, parts)) for score, item in best]


def _stored(
    personal: Sequence[ScoredItem], popular: Sequence[ScoredItem], limit: int, exclude: Container[str]
) -> list[BlendedItem]:
    """The personal list as it was ranked, then the popular one; the score tells the place."""
    source = {item: "popular" for item, _ in popular} | {item: "personal" for item, _ in personal}
    order = dict.fromkeys([item for item, _ in personal] + [item for item, _ in popular])
    kept = [item for item in order if item not in exclude][:limit]
    return [BlendedItem(item, 1 / (1 + place), source[item]) for place, item in enumerate(kept)]


def purchased_items(history: Iterable[Event]) -> set[str]:
    """What the visitor has bought, as far as the history tells."""
    return {event.item_id for event in history if event.event_type == PURCHASE}


def rank_score(rank: int) -> float:
    """1 for the first of a list, less by the logarithm of the rank, 0 from `RANKED_DEPTH` on."""
    return _RANK_SCORES[rank] if rank < RANKED_DEPTH else 0.0


_RANK_SCORES: Final = tuple(
    1.0 - math.log(1 + rank) / math.log(1 + RANKED_DEPTH) for rank in range(RANKED_DEPTH)
)


def _fading(history: Sequence[Event], weights: BlendWeights, now: int) -> list[float]:
    """What each event counts for, by its rank and its age."""
    return [
        weights.rank_decay**rank
        * 0.5 ** (max(0, now - event.timestamp) / MILLISECONDS_A_DAY / weights.half_life_days)
        for rank, event in enumerate(history)
    ]


def _own_scores(
    history: Sequence[Event], similar: Mapping[str, Sequence[ScoredItem]], weights: BlendWeights, now: int
) -> dict[str, float]:
    scores: dict[str, float] = {}
    for rank, (event, fading) in enumerate(zip(history, _fading(history, weights, now), strict=True)):
        if event.item_id not in scores:
            scores[event.item_id] = (
                weights.own
                + weights.latest / (1 + rank)
                + weights.conversion * _log_odds_of_return(event.item_id, similar)
            )
        weight = weights.event_weights.get(event.event_type, weights.other_event_weight)
        scores[event.item_id] += weight * fading
    return scores


def _log_odds_of_return(item_id: str, similar: Mapping[str, Sequence[ScoredItem]]) -> float:
    for other, score in similar.get(item_id, ()):
        if other == item_id:
            bounded = min(max(score, 1e-6), 1 - 1e-6)
            return math.log(bounded / (1 - bounded))
    return 0.0


def _similar_scores(
    history: Sequence[Event], similar: Mapping[str, Sequence[ScoredItem]], weights: BlendWeights, now: int
) -> dict[str, float]:
    strengths: dict[str, float] = {}
    for event, fading in zip(history, _fading(history, weights, now), strict=True):
        strengths[event.item_id] = strengths.get(event.item_id, 0.0) + fading
    scores: dict[str, float] = {}
    for item in recent_items(history, weights):
        strength = weights.similar * strengths[item]
        for other, similarity in similar.get(item, ()):
            if other not in strengths:
                scores[other] = scores.get(other, 0.0) + strength * similarity
    return scores


def _main_part(item: str, parts: Mapping[str, Mapping[str, float]]) -> str:
    return max(parts, key=lambda part: parts[part].get(item, -math.inf))
