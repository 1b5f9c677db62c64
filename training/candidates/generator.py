"""All candidate sources, learnt at one moment, and what they propose for users."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import structlog

from training.candidates import Candidates, CandidateSource
from training.candidates.pool import Pool, pool
from training.candidates.popular import Popular, RecentPopular
from training.candidates.similar_items import Similarities, similarities
from training.candidates.sources import Ingredients, make_sources
from training.event_weights import learned_event_weights
from training.interactions import BoolArray, IntArray, Interactions, distinct
from training.settings import Hyperparameters
from training.shop_items import ShopItems

log = structlog.get_logger()

PRIOR_PEOPLE = 5.0
"""How many average people the rate of return to an item begins with."""


@dataclass(frozen=True)
class Generator:
    """Sources that know events before `now` (ms UTC) alone."""

    events: Interactions
    now: int
    items: ShopItems
    event_weights: dict[str, float]
    available: BoolArray
    similarities: Similarities
    sources: tuple[CandidateSource, ...]
    popular: RecentPopular
    all_time_popular: Popular

    @cached_property
    def return_odds(self) -> npt.NDArray[np.float64]:
        """Of each item: how much more its people carted or bought it than the average."""
        events, n_items = self.events, max(1, len(self.items))
        keys = events.users.astype(np.int64) * n_items + events.items
        people = np.bincount(distinct(keys) % n_items, minlength=n_items)
        buyers = np.bincount(distinct(keys[events.is_target]) % n_items, minlength=n_items)
        mean = max(1, buyers.sum()) / max(1, people.sum())
        odds: npt.NDArray[np.float64] = (buyers + PRIOR_PEOPLE * mean) / (people + PRIOR_PEOPLE) / mean
        return odds

    def pool(self, users: IntArray, per_source: int) -> Pool:
        """What the sources propose for `users` (ascending), at most `per_source` items each."""
        found = {source.name: source.candidates(users, per_source) for source in self.sources}
        return pool({name: self._available(each) for name, each in found.items()}, len(self.items))

    def _available(self, found: Candidates) -> Candidates:
        kept = self.available[found.items]
        if kept.all():
            return found
        return Candidates(found.users[kept], found.items[kept], found.scores[kept])


def fit_generator(
    events: Interactions, items: ShopItems, *, now: int, settings: Hyperparameters
) -> Generator:
    """Learn every source from `events`, all older than `now`."""
    weights = learned_event_weights(events)
    measures = similarities(
        events, neighbours=2 * settings.similar_length, history=settings.item_item_history
    )
    popular, all_time = RecentPopular(), Popular()
    sources = make_sources(
        Ingredients(
            events=events,
            now=now,
            items=items,
            event_weights=weights,
            similarities=measures,
            popular=popular,
            settings=settings,
        )
    )
    for source in (*sources, popular, all_time):
        source.fit(events, now)
        log.debug("source fitted", source=source.name, n_events=len(events))
    return Generator(
        events=events,
        now=now,
        items=items,
        event_weights=weights,
        available=~items.unavailable_at(events, now),
        similarities=measures,
        sources=tuple(sources),
        popular=popular,
        all_time_popular=all_time,
    )
