"""Answers: what is shown to a visitor, on an item's page, to everyone."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from contract.blending import BlendedItem, ScoredItem, blend, has_news, merge_histories
from contract.purchases import excluded_purchases
from lambdas.recommendations_api.database import DatabaseUnavailableError
from lambdas.recommendations_api.errors import UnknownItemError
from lambdas.recommendations_api.repository import LiveVersion, Repository, Visitor
from lambdas.recommendations_api.settings import Clock

Source = Literal["personalized", "session", "similar", "popular"]

POPULAR: Final = "popular"
SIMILAR: Final = "similar"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Items, best first, and where they come from."""

    version: str
    generated_at: int
    """Milliseconds UTC."""
    source: Source
    items: list[BlendedItem]
    is_degraded: bool = False
    """Whether the database was out of reach, so that this is the best of what was still known."""


class Recommender:
    """Answers from the database; without one from what the latest answer left behind."""

    def __init__(self, repository: Repository, *, clock: Clock) -> None:
        self._repository = repository
        self._clock = clock

    def for_visitor(self, user_id: str, *, limit: int) -> Answer:
        """What to show a visitor.

        Raises what `Repository.visitor` raises, DatabaseUnavailableError only where nothing is known at all.
        """
        return self._or_popular(lambda: self._blended(self._repository.visitor(user_id), limit), limit)

    def similar(self, item_id: str, *, limit: int) -> Answer:
        """Items that the same people turn to. Raises UnknownItemError, and what `for_visitor` raises."""
        return self._or_popular(lambda: self._similar(item_id, limit), limit)

    def popular(self, *, limit: int) -> Answer:
        """What is bought by now. Raises what `for_visitor` raises."""
        return self._or_popular(lambda: self._popular(self._repository.live(), limit), limit)

    def _or_popular(self, read: Callable[[], Answer], limit: int) -> Answer:
        try:
            return read()
        except DatabaseUnavailableError:
            live = self._repository.last_live
            if live is None:
                raise
            return self._popular(live, limit, is_degraded=True)

    def _blended(self, visitor: Visitor, limit: int) -> Answer:
        live = visitor.live
        now = self._clock()
        bought = excluded_purchases(
            [*visitor.posted, *visitor.history],
            default=live.exclude_purchased,
            by_category=live.exclude_purchased_by_category,
            category_of=visitor.category_of,
        )
        items = blend(
            history=merge_histories(visitor.posted, visitor.history, length=live.weights.history_length),
            personal=visitor.personal,
            similar=visitor.similar,
            popular=live.popular,
            weights=live.weights,
            now=now,
            has_news=has_news(visitor.posted, visitor.history),
            limit=limit,
            exclude=bought | visitor.unavailable,
        )
        return Answer(version=live.name, generated_at=now, source=_source(visitor), items=items)

    def _similar(self, item_id: str, limit: int) -> Answer:
        live, stored = self._repository.similar(item_id)
        # How likely somebody comes back to the item itself is in its list, too: it is for the blend.
        items = [(other, score) for other, score in stored or () if other != item_id]
        if not items:
            raise UnknownItemError(f"The version {live.name} knows no items similar to this one.")
        return Answer(
            version=live.name,
            generated_at=self._clock(),
            source=SIMILAR,
            items=_from_list(items[:limit], SIMILAR),
        )

    def _popular(self, live: LiveVersion, limit: int, *, is_degraded: bool = False) -> Answer:
        return Answer(
            version=live.name,
            generated_at=self._clock(),
            source=POPULAR,
            items=_from_list(live.popular[:limit], POPULAR),
            is_degraded=is_degraded,
        )


def _source(visitor: Visitor) -> Source:
    if visitor.is_known:
        return "personalized"
    return "session" if visitor.posted else "popular"


def _from_list(items: Iterable[ScoredItem], source: str) -> list[BlendedItem]:
    return [BlendedItem(item, score, source) for item, score in items]
