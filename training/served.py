"""What a version serves: its lists, and the blend over them that the API computes for each request."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from contract.blending import BlendWeights, ScoredItem, blend, merge_histories, purchased_items, recent_items
from contract.events import Event


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
    until: int
    """All events that the lists know came before, ms UTC."""

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
        stored = self.lists.history_of(user_id)
        history = merge_histories(live, stored, length=self.weights.history_length)
        bought = purchased_items([*live, *stored]) if self.exclude_purchased else frozenset()
        blended = blend(
            history=history,
            personal=self.lists.personal_of(user_id),
            similar={item: self.lists.similar_to(item) for item in recent_items(history, self.weights)},
            popular=self.lists.popular_items,
            weights=self.weights,
            now=now,
            limit=limit,
            exclude=frozenset(exclude) | bought,
        )
        return [item.item_id for item in blended]
