"""Answers: what is shown to a visitor, on an item's page, in a cart, to everyone."""

from collections.abc import Callable, Container, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Literal

from contract.blending import (
    BlendedItem,
    ScoredItem,
    blend,
    has_news,
    merge_histories,
    purchased_items,
    recent_items,
)
from contract.events import Event
from contract.purchases import excluded_purchases
from contract.reasons import popular_reason, reasons_of
from contract.recommendations import ListKind
from lambdas.recommendations_api.asked import Asked, Filters, Window
from lambdas.recommendations_api.database import DatabaseUnavailableError
from lambdas.recommendations_api.errors import UnknownItemError
from lambdas.recommendations_api.repository import LiveVersion, Repository, Visitor
from lambdas.recommendations_api.settings import Clock

Source = Literal["personalized", "session", "similar", "bought_together", "popular"]

POPULAR: Final = "popular"
SIMILAR: Final = "similar"
BOUGHT_TOGETHER: Final = "bought_together"
_EVERYTHING: Final = 100_000
"""More than there are candidates."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Items, best first, and where they come from."""

    version: str
    variant: str
    as_of: float
    """The moment up to which the version knows events, in seconds since 1970 UTC."""
    generated_at: int
    """Milliseconds UTC."""
    source: Source
    items: list[BlendedItem]
    reasons: list[list[str]]
    """Of each item, as `contract.reasons` names them."""
    is_degraded: bool = False
    """Whether the database was out of reach, so that this is the best of what was still known."""


Items = AbstractSet[str]


def _any_of(*sets: Items) -> Container[str]:
    """What is in any of a few sets, without making one of them: one may be large."""
    filled = [each for each in sets if each]
    if len(filled) > 1:
        return _AnyOf(filled)
    return filled[0] if filled else frozenset()


class _AnyOf(Container[str]):
    def __init__(self, sets: Sequence[Items]) -> None:
        self.sets = sets

    def __contains__(self, item: object) -> bool:
        for each in self.sets:  # noqa: SIM110 - asked of every candidate: a generator would cost more
            if item in each:
                return True
        return False


class Recommender:
    """Answers from the database; without one from what the latest answer left behind."""

    def __init__(self, repository: Repository, *, clock: Clock) -> None:
        self._repository = repository
        self._clock = clock

    def for_visitor(
        self,
        user_id: str | None,
        asked: Asked,
        *,
        told: Sequence[Event] = (),
        rank: Sequence[str] | None = None,
    ) -> Answer:
        """What to show a visitor, who may be nobody known.

        `told` are events that came with the request, newest first; `rank` are items to be put in order,
        instead of any that are worth showing. Raises what `Repository.visitor` raises, UnknownCategoryError,
        and DatabaseUnavailableError only where nothing is known at all.
        """

        def read() -> Answer:
            visitor = self._repository.visitor(
                user_id, told=told, category=asked.category, variant=asked.variant
            )
            return self._blended(visitor, asked, told, rank)

        return self._or_popular(read, asked)

    def for_visitors(self, user_ids: Sequence[str], asked: Asked) -> list[Answer]:
        """The same for several, each as if asked for alone, in one round trip."""

        def read() -> list[Answer]:
            visitors = self._repository.visitors(
                user_ids,
                category=asked.category,
                variant=asked.variant,
                without_stored=asked.strategy == "session",
            )
            return [self._blended(visitors[user_id], asked, (), None) for user_id in user_ids]

        try:
            return read()
        except DatabaseUnavailableError as error:
            return [self._last_popular(asked, error) for _ in user_ids]

    def similar(self, item_id: str, filters: Filters) -> Answer:
        """Items that the same people turn to. Raises UnknownItemError, and what `for_visitor` raises."""
        return self._or_popular(lambda: self._of_item(item_id, (ListKind.SIMILAR,), filters), filters)

    def bought_together(self, item_id: str, filters: Filters) -> Answer:
        """What goes into one basket with an item, then what is similar to it. Raises as `similar` does."""
        kinds = (ListKind.BOUGHT_TOGETHER, ListKind.SIMILAR)
        return self._or_popular(lambda: self._of_item(item_id, kinds, filters), filters)

    def popular(self, filters: Filters, window: Window | None = None) -> Answer:
        """What is bought by now, or was within a window. Raises as `for_visitor` does, and NoWindowsError."""

        def read() -> Answer:
            live, items = self._repository.popular(filters.category, window=window, variant=filters.variant)
            if filters.category is not None and not items:
                self._repository.within(filters.category, [])  # whether there is such a category at all
            return self._popular(live, items, filters, category=filters.category)

        return self._or_popular(read, filters)

    def _or_popular(self, read: Callable[[], Answer], filters: Filters) -> Answer:
        try:
            return read()
        except DatabaseUnavailableError as error:
            return self._last_popular(filters, error)

    def _last_popular(self, filters: Filters, error: DatabaseUnavailableError) -> Answer:
        """The last popular list that this environment has seen; raises the error where it saw none."""
        live = self._repository.last_live
        if live is None:
            raise error
        return self._popular(live, live.popular, filters, is_degraded=True)

    def _blended(
        self, visitor: Visitor, asked: Asked, told: Sequence[Event], rank: Sequence[str] | None
    ) -> Answer:
        live, weights = visitor.live, visitor.live.weights
        now = self._clock()
        recent = merge_histories(told, visitor.posted, length=_EVERYTHING)
        history = merge_histories(recent, visitor.history, length=weights.history_length)
        # More may have been read: for others of a batch, or for a version that looks further back.
        similar = {
            item: visitor.similar[item] for item in recent_items(history, weights) if item in visitor.similar
        }
        is_stored = asked.strategy == "stored"
        personal = [] if asked.strategy == "session" else visitor.personal
        left_out = _any_of(
            *self._left_out(asked), self._of_their_own(visitor, asked, [*recent, *visitor.history])
        )
        items = blend(
            history=[] if is_stored else history,
            personal=personal,
            similar=similar,
            popular=visitor.popular_in_category if asked.category is not None else live.popular,
            weights=weights,
            now=now,
            has_news=not is_stored and (asked.strategy == "session" or has_news(recent, visitor.history)),
            limit=_EVERYTHING if asked.category is not None or rank is not None else asked.limit,
            exclude=left_out,
        )
        if rank is not None:
            items = _ranked(items, rank, left_out)
        if asked.category is not None:
            inside = self._repository.within(asked.category, [item.item_id for item in items])
            items = [item for item in items if item.item_id in inside]
        items = items[: asked.limit]
        return Answer(
            version=live.name,
            variant=live.variant,
            as_of=live.as_of,
            generated_at=now,
            source=_source(visitor, told, asked, items),
            items=items,
            reasons=reasons_of(
                items,
                history=history,
                similar=similar,
                personal={item for item, _ in personal},
                weights=weights,
                category=asked.category,
            ),
        )

    def _of_their_own(self, visitor: Visitor, asked: Asked, events: Sequence[Event]) -> set[str]:
        """What the visitor has had to do with, and doesn't want to see."""
        if asked.exclude_seen:
            return {event.item_id for event in events}
        if asked.exclude_purchased is not None:
            return purchased_items(events) if asked.exclude_purchased else set()
        return excluded_purchases(
            events,
            default=visitor.live.exclude_purchased,
            by_category=visitor.live.exclude_purchased_by_category,
            category_of=visitor.category_of,
        )

    def _left_out(self, filters: Filters) -> tuple[Items, Items]:
        """What nobody is to see: as they asked, and what isn't to be had."""
        unavailable = self._repository.stock.unavailable if filters.available_only else frozenset()
        return filters.exclude_items, unavailable

    def _of_item(self, item_id: str, kinds: Sequence[ListKind], filters: Filters) -> Answer:
        live, lists = self._repository.of_item(item_id, (*kinds, ListKind.SIMILAR), variant=filters.variant)
        if ListKind.SIMILAR not in lists and ListKind.BOUGHT_TOGETHER not in lists:
            raise UnknownItemError(f"The version {live.name} knows no items similar to this one.")
        # How likely somebody comes back to the item itself is in its list, too: it is for the blend.
        found = {other: (score, kind) for kind in reversed(kinds) for other, score in lists.get(kind, ())}
        order = dict.fromkeys(other for kind in kinds for other, _ in lists.get(kind, ()))
        items = [BlendedItem(other, *found[other]) for other in order if other != item_id]
        if not items:
            raise UnknownItemError(f"The version {live.name} knows no items similar to this one.")
        items = self._kept(items, filters)
        return Answer(
            version=live.name,
            variant=live.variant,
            as_of=live.as_of,
            generated_at=self._clock(),
            source=BOUGHT_TOGETHER if ListKind.BOUGHT_TOGETHER in kinds else SIMILAR,
            items=items,
            reasons=[
                [f"{'bought_with' if item.source == BOUGHT_TOGETHER else 'similar'}:{item_id}"]
                for item in items
            ],
        )

    def _kept(self, items: Sequence[BlendedItem], filters: Filters) -> list[BlendedItem]:
        left_out = _any_of(*self._left_out(filters))
        kept = [item for item in items if item.item_id not in left_out]
        if filters.category is not None:
            inside = self._repository.within(filters.category, [item.item_id for item in kept])
            kept = [item for item in kept if item.item_id in inside]
        return kept[: filters.limit]

    def _popular(
        self,
        live: LiveVersion,
        items: Iterable[ScoredItem],
        filters: Filters,
        *,
        category: str | None = None,
        is_degraded: bool = False,
    ) -> Answer:
        left_out = _any_of(*self._left_out(filters))
        shown = [BlendedItem(item, score, POPULAR) for item, score in items if item not in left_out]
        shown = shown[: filters.limit]
        return Answer(
            version=live.name,
            variant=live.variant,
            as_of=live.as_of,
            generated_at=self._clock(),
            source=POPULAR,
            items=shown,
            reasons=[[popular_reason(category)] for _ in shown],
            is_degraded=is_degraded,
        )


def _ranked(items: Sequence[BlendedItem], rank: Sequence[str], left_out: Container[str]) -> list[BlendedItem]:
    """The items that were given, those first that the blend knows, the others in their order."""
    wanted = dict.fromkeys(rank)
    known = [item for item in items if item.item_id in wanted]
    rest = wanted.keys() - {item.item_id for item in known}
    return known + [
        BlendedItem(item, 0.0, POPULAR) for item in wanted if item in rest and item not in left_out
    ]


def _source(visitor: Visitor, told: Sequence[Event], asked: Asked, items: Sequence[BlendedItem]) -> Source:
    """Honest: where nothing but popular items came out, that is what it says."""
    if items and all(item.source == POPULAR for item in items):
        return "popular"
    if visitor.is_known and asked.strategy != "session":
        return "personalized"
    return "session" if visitor.posted or told or visitor.history else "popular"
