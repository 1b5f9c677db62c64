"""The sources that the training asks, by name: a new one is registered here."""

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from training.candidates import CandidateSource
from training.candidates.als import Als
from training.candidates.category import CategorySource
from training.candidates.new_items import NewItems
from training.candidates.own_items import OwnItems, own_strengths
from training.candidates.popular import RecentPopular
from training.candidates.session_knn import SessionKnn
from training.candidates.similar_items import Similarities, SimilarSource
from training.errors import BadInputError
from training.interactions import Interactions
from training.settings import Hyperparameters
from training.shop_items import ShopItems


@dataclass(frozen=True)
class Ingredients:
    """What sources are made of; all events are older than `now`, ms UTC."""

    events: Interactions
    now: int
    items: ShopItems
    """What the catalogue says of them, if there is one."""
    event_weights: Mapping[str, float]
    """What an event tells of a cart or a purchase, by its kind."""
    similarities: Similarities
    popular: RecentPopular
    settings: Hyperparameters


MakeSource = Callable[[Ingredients], CandidateSource | None]
"""Gives a source that is yet to be fitted; None where the shop lacks what it needs."""


def _als(made_of: Ingredients) -> CandidateSource:
    settings = made_of.settings
    return Als(
        made_of.event_weights,
        factors=settings.als_factors,
        iterations=settings.als_iterations,
        regularization=settings.als_regularization,
        alpha=settings.als_alpha,
        seed=settings.seed,
        threads=settings.threads,
    )


def _similar(made_of: Ingredients) -> CandidateSource:
    own = own_strengths(made_of.events, made_of.now, made_of.event_weights)
    return SimilarSource(made_of.similarities, own, len(made_of.events.user_ids))


def _category(made_of: Ingredients) -> CandidateSource | None:
    if made_of.items.as_of_ms is None:
        return None
    return CategorySource(made_of.event_weights, made_of.items, per_category=made_of.settings.category_length)


def _new_items(made_of: Ingredients) -> CandidateSource | None:
    if made_of.items.as_of_ms is None:
        return None
    return NewItems(made_of.event_weights, made_of.items, per_category=made_of.settings.category_length)


SOURCES: Final[dict[str, MakeSource]] = {
    "own": lambda made_of: OwnItems(made_of.event_weights),
    "similar": _similar,
    "session_knn": lambda _: SessionKnn(),
    "als": _als,
    "recent_popular": lambda made_of: made_of.popular,
    "category": _category,
    "new_items": _new_items,
}
"""By the name that settings, features and reports know a source by."""


def make_sources(made_of: Ingredients) -> list[CandidateSource]:
    """All sources but those that the settings leave out, yet to be fitted.

    Raises BadInputError where a source is to be left out that isn't there.
    """
    refuse_unknown_sources(made_of.settings.without_sources)
    wanted = [make for name, make in SOURCES.items() if name not in made_of.settings.without_sources]
    return [source for make in wanted if (source := make(made_of)) is not None]


def refuse_unknown_sources(names: Collection[str]) -> None:
    """Raise BadInputError, naming the nearest one, where a name is no source's."""
    for name in names:
        if name not in SOURCES:
            near = difflib.get_close_matches(name, SOURCES, n=1, cutoff=0)
            raise BadInputError(
                f"without_sources: {name!r} is no candidate source, the nearest is {near[0]!r}; "
                f"expected some of {', '.join(SOURCES)}"
            )
