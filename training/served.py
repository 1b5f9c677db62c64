"""What a version serves: its lists, and the blend over them that the API computes for each request."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from contract.blending import (
    BlendedItem,
    BlendWeights,
    ScoredItem,
    blend,
    has_news,
    merge_histories,
    recent_items,
)
from contract.events import Event
from contract.purchases import excluded_purchases
from training.explanation import ExplainedUser
from training.ranking import Ranker


class ServedLists(Protocol):
    """Stored lists, looked up by key; each best (or newest) first, empty where there is none."""

    def personal_of(self, user_id: str) -> list[ScoredItem]:
        """The stored list of a user."""

    def similar_to(self, item_id: str) -> list[ScoredItem]:
        """The stored list of an item."""

    def history_of(self, user_id: str) -> list[Event]:
        """The user's latest events that the training knew, newest first."""

    @property
    def popular_items(self) -> list[ScoredItem]:
        """What everybody buys."""


L_co = TypeVar("L_co", bound=ServedLists, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Served(Generic[L_co]):
    """A version as the API serves it."""

    lists: L_co
    weights: BlendWeights
    exclude_purchased: bool
    """Whether what the visitor has bought is left out."""
    until: int
    """All events that the lists know came before, ms UTC."""
    exclude_purchased_by_category: Mapping[str, bool] = field(default_factory=dict)
    """The same for categories that are unlike the shop."""
    category_of: Mapping[str, str] = field(default_factory=dict)
    """Of items, where the catalogue has one."""
    unavailable: Collection[str] = frozenset()
    """Items that can't be had; stored lists don't have them, but a visitor's history may."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What the training chose, and why: for people."""
    ranker: Ranker | None = None
    """What ranked the personal lists, where the training is at hand."""
    examples: tuple[ExplainedUser, ...] = ()
    """Some users whose answers are explained."""

    def answer(
        self,
        user_id: str,
        live: Sequence[Event],
        *,
        now: int,
        limit: int,
        exclude: Collection[str] = frozenset(),
    ) -> list[str]:
        """What the API answers at `now`, ms UTC; `live` are the events since the training, newest first."""
        blended = self.blended(user_id, live, now=now, limit=limit, exclude=exclude)
        return [item.item_id for item in blended]

    def blended(
        self,
        user_id: str,
        live: Sequence[Event],
        *,
        now: int,
        limit: int,
        exclude: Collection[str] = frozenset(),
    ) -> list[BlendedItem]:
        """The same with scores, and the part of the blend that each item is there for."""
        stored = self.lists.history_of(user_id)
        history = merge_histories(live, stored, length=self.weights.history_length)
        bought = excluded_purchases(
            [*live, *stored],
            default=self.exclude_purchased,
            by_category=self.exclude_purchased_by_category,
            category_of=self.category_of,
        )
        gone = {event.item_id for event in history if event.item_id in self.unavailable}
        return blend(
            history=history,
            personal=self.lists.personal_of(user_id),
            similar={item: self.lists.similar_to(item) for item in recent_items(history, self.weights)},
            popular=self.lists.popular_items,
            weights=self.weights,
            now=now,
            has_news=has_news(live, stored),
            limit=limit,
            exclude=bought | gone | set(exclude),
        )
