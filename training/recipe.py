"""The recipe: from events to every list that a version stores. Evaluation and release cook by the same."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import structlog

from contract.blending import BlendWeights
from training.candidates import Candidates, CandidateSource, best_per_user
from training.candidates.als import Als
from training.candidates.item_item import ItemItem
from training.candidates.own_items import OwnItems
from training.candidates.popular import Popular, RecentPopular
from training.interactions import IntArray, Interactions
from training.lists import Lists
from training.repurchase import is_repurchase_worth_showing
from training.served import Served
from training.settings import Hyperparameters

log = structlog.get_logger()

PERSONAL_SHARES = {"own": 1.0, "item_item": 0.5, "als": 0.2}
"""What each source's best item adds to the score of a user's stored list."""


def fit_served(events: Interactions, *, now: int, settings: Hyperparameters) -> Served[Lists]:
    """Learn all that is served from `events`, all older than `now`: weights, switches, lists.

    Whatever is fitted or chosen is fitted and chosen on these events alone, so a backtest may call it at
    any moment.
    """
    weights = BlendWeights()
    return Served(
        lists=build_lists(events, now=now, settings=settings, weights=weights),
        weights=weights,
        exclude_purchased=not is_repurchase_worth_showing(events),
        until=now,
    )


def build_lists(events: Interactions, *, now: int, settings: Hyperparameters, weights: BlendWeights) -> Lists:
    """Fit every source on `events`, all older than `now`, and make the lists of a version."""
    events = events.compact()
    item_item = ItemItem(weights, neighbours=settings.similar_length, history=settings.item_item_history)
    recent_popular, popular = RecentPopular(), Popular()
    sources = personal_sources(settings, weights, item_item)
    for source in (*sources, recent_popular, popular):
        source.fit(events, now)
        log.debug("source fitted", source=source.name, n_events=len(events))
    users = events.distinct_users()
    everybody = np.zeros(1, dtype=np.int32)
    return Lists(
        events=events,
        personal=combine(sources, users, settings.personal_length),
        similar=item_item.similar,
        popular=recent_popular.candidates(everybody, settings.popular_length),
        baselines={
            source.name: source.candidates(everybody, settings.popular_length)
            for source in (popular, recent_popular)
        },
        history_length=weights.history_length,
    )


def personal_sources(
    settings: Hyperparameters, weights: BlendWeights, item_item: ItemItem
) -> list[CandidateSource]:
    """The sources of a user's stored list; a new one is added here, and to `PERSONAL_SHARES`."""
    als = Als(
        weights,
        factors=settings.als_factors,
        iterations=settings.als_iterations,
        regularization=settings.als_regularization,
        alpha=settings.als_alpha,
        seed=settings.seed,
        threads=settings.threads,
    )
    return [OwnItems(weights), item_item, als]


def combine(sources: Sequence[CandidateSource], users: IntArray, per_user: int) -> Candidates:
    """One list a user out of all sources: scores relative to each source's best, weighted, added up."""
    found = [(PERSONAL_SHARES[source.name], source.candidates(users, per_user)) for source in sources]
    everyone = np.concatenate([candidates.users for _, candidates in found])
    items = np.concatenate([candidates.items for _, candidates in found])
    scores = np.concatenate([share * _relative_to_best(candidates) for share, candidates in found])
    n_items = int(items.max(initial=0)) + 1
    pairs, rows = np.unique(everyone.astype(np.int64) * n_items + items, return_inverse=True)
    totals = np.bincount(rows, weights=scores, minlength=len(pairs)).astype(np.float32)
    pair_users, pair_items = np.divmod(pairs, n_items)
    return best_per_user(pair_users.astype(np.int32), pair_items.astype(np.int32), totals, per_user)


def _relative_to_best(candidates: Candidates) -> npt.NDArray[np.float32]:
    if not len(candidates):
        return candidates.scores
    starts = np.flatnonzero(candidates.ranks() == 0)
    lengths = np.diff(np.r_[starts, len(candidates)])
    best = np.maximum(np.repeat(candidates.scores[starts], lengths), np.finfo(np.float32).tiny)
    return np.clip(candidates.scores / best, 0, 1)
