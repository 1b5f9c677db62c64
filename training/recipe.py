"""The recipe: from events to all that a version serves. Backtest, gate and release cook by the same.

Candidates, then features, then a ranker that learnt from earlier windows; a blend that was fitted on the
visitors of the same windows. Nothing here looks at an event that is not older than the moment it is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import structlog

from training import source_shares
from training.blend_examples import BlendExamples, Fading, Visitors, blend_examples, visitors_within
from training.blend_fit import FittedBlend, fit_blend
from training.bought_together import bought_together
from training.candidates import Candidates, best_per_user, no_candidates
from training.candidates.generator import Generator, fit_generator
from training.candidates.pool import Pool
from training.catalogue import Catalogue
from training.checkpoints import Keep, keep_nothing
from training.errors import TooLittleDataError
from training.explainer import Explainer
from training.explanation import ExplainedUser
from training.interactions import IntArray, Interactions, distinct
from training.lists import Lists
from training.popular_by_category import popular_by_category
from training.progress import each
from training.ranking import Ranker, Scores
from training.ranking.choice import Choice, choose_ranker
from training.ranking.examples import Examples, Featured, examples, featured
from training.ranking.prior import PriorRanker
from training.ranking_metrics import K
from training.repurchase import exclude_purchased_by_category, is_repurchase_worth_showing
from training.served import Served
from training.settings import Hyperparameters
from training.shop_items import ShopItems
from training.source_shares import Proposed, found_by_source
from training.split import Window, windows
from training.steps import part
from training.trending import trending

log = structlog.get_logger()

USERS_AT_ONCE = 5_000
"""Users whose candidates are ranked at a time: bounds the memory."""
MOST_BLEND_VISITORS = 1_500
"""Visitors of a window that the blend is fitted on."""
EXAMPLES = 10
"""Users whose answers are explained, for people to look at."""
POPULAR_IN_FIT = 50
"""How far down the popular list the fit of the blend looks."""


def fit_served(
    events: Interactions,
    *,
    now: int,
    settings: Hyperparameters,
    catalogue: Catalogue | None = None,
    keep: Keep = keep_nothing,
) -> Served[Lists]:
    """Learn all that is served from `events`, all older than `now`: ranker, blend, switches, lists.

    Whatever is fitted or chosen is fitted and chosen on these events alone, so a backtest may call it at
    any moment. What earlier windows taught is kept: a run that was interrupted needn't learn it again.
    """
    events = events.compact()
    items = ShopItems.of(events, catalogue, now=now)
    events = items.extended(events)
    taught = keep(f"taught-{now}", lambda: _teach(events, now, settings, catalogue))
    blend = taught.blend
    with part("candidates"):
        stage = featured(fit_generator(events, items, now=now, settings=settings), threads=settings.threads)
    ranker = _meeting_features(taught.ranker, stage)
    with part("lists"):
        personal, shown = _personal(stage, ranker, settings)
        lists = _lists(stage, personal, blend, settings)
    served = Served(
        lists=lists,
        weights=blend.weights,
        exclude_purchased=not is_repurchase_worth_showing(events),
        exclude_purchased_by_category=exclude_purchased_by_category(events, items),
        category_of=items.category_of,
        unavailable=items.named(~stage.generator.available),
        until=now,
        ranker=ranker,
        notes={
            "ranking": taught.ranking | {"importance": ranker.importance()},
            "sources": source_shares.document(taught.found, shown),
            "blend": {"visitors": blend.n_visitors, "measures": blend.measures},
            "event_weights": stage.generator.event_weights,
        },
    )
    explainer = Explainer(
        stage, ranker, blend.measures, settings.candidates_per_source, settings.history_length
    )
    with part("examples"):
        return replace(served, examples=_examples(served, explainer, settings))


@dataclass(frozen=True)
class Taught:
    """What earlier windows taught."""

    ranker: Ranker
    ranking: dict[str, object]
    """Which ranker, and why."""
    blend: FittedBlend
    found: Proposed
    """What came true, by the source that had proposed it."""


def _teach(events: Interactions, now: int, settings: Hyperparameters, catalogue: Catalogue | None) -> Taught:
    with part("lessons"):
        fitting = _lesson_windows(events, now, settings)
        lessons = [
            _lesson(events, window, catalogue, settings) for window in each(fitting, "lessons", "window")
        ]
    learnt_from = [lesson.examples for lesson in lessons]
    with part("ranker"):
        choice = choose_ranker(learnt_from, settings)
    with part("blend"):
        blend = _fit_blend(lessons, choice, events, settings)
    return Taught(choice.ranker, choice.document(), blend, found_by_source(learnt_from))


@dataclass(frozen=True)
class Lesson:
    """What one window teaches, learnt from what came before it."""

    generator: Generator
    examples: Examples
    visitors: Visitors


def _lesson_windows(events: Interactions, now: int, settings: Hyperparameters) -> list[Window]:
    """Windows before `now`, the latest first, until enough people carted or bought within them."""
    try:
        fitting = windows(events, days=settings.evaluation_days, count=settings.fit_windows, end=now)
    except TooLittleDataError as error:
        log.info("nothing to learn ranking from", reason=str(error))
        return []
    taken, users = [], 0
    for window in fitting:
        inside = events.between(window.start, window.end)
        taken.append(window)
        users += len(distinct(inside.users[inside.is_target]))
        if users >= settings.fit_users:
            break
    return taken


def _lesson(
    events: Interactions, window: Window, catalogue: Catalogue | None, settings: Hyperparameters
) -> Lesson:
    """`events` are those of the whole recipe: numbers of users and items are shared by all lessons."""
    before = events.before(window.start)
    items = ShopItems.of(before, catalogue, now=window.start)
    stage = featured(
        fit_generator(before, items, now=window.start, settings=settings), threads=settings.threads
    )
    inside = events.between(window.start, window.end)
    buyers = inside.where(inside.is_target).distinct_users()
    visitors = visitors_within(
        events,
        window,
        n_items=len(events.item_ids),
        history_length=settings.history_length,
        max_users=MOST_BLEND_VISITORS,
        seed=settings.seed,
    )
    users = _sample(buyers, settings.fit_users, settings.seed)
    users = np.union1d(users, visitors.users).astype(np.int32)
    return Lesson(
        generator=stage.generator,
        examples=examples(stage, events, window, users, per_source=settings.candidates_per_source),
        visitors=visitors,
    )


def _sample(users: IntArray, most: int, seed: int) -> IntArray:
    if len(users) <= most:
        return users
    return np.sort(np.random.default_rng(seed).choice(users, most, replace=False))


def _fit_blend(
    lessons: Sequence[Lesson], choice: Choice, events: Interactions, settings: Hyperparameters
) -> FittedBlend:
    """Fit on visitors whose stored lists were ranked by what did not learn from their own days."""
    ranked = [
        _ranked(lesson.examples.pool, scores, settings.personal_length)
        for lesson, scores in zip(lessons, choice.unseen, strict=True)
    ]

    def examples_at(fading: Fading) -> list[BlendExamples]:
        return [
            blend_examples(
                lesson.visitors,
                lesson.generator,
                {"users": personal.users, "items": personal.items, "ranks": personal.ranks()},
                fading,
                recent_items=settings.recent_items,
                popular_length=POPULAR_IN_FIT,
            )
            for lesson, personal in zip(lessons, ranked, strict=True)
        ]

    return fit_blend(
        examples_at,
        events.event_type_names,
        history_length=settings.history_length,
        recent_items=settings.recent_items,
    )


def _meeting_features(ranker: Ranker, stage: Featured) -> Ranker:
    """Where there was no window to learn from, the prior has met no feature yet."""
    if not isinstance(ranker, PriorRanker) or ranker.names:
        return ranker
    _, names, _ = stage.candidates(np.empty(0, dtype=np.int32), per_source=1)
    return PriorRanker(names)


def _lists(stage: Featured, personal: Candidates, blend: FittedBlend, settings: Hyperparameters) -> Lists:
    generator = stage.generator
    everybody = np.zeros(1, dtype=np.int32)
    return Lists(
        events=generator.events,
        personal=personal,
        similar=_similar(generator, blend.measures, settings.similar_length),
        popular=_available(generator, generator.popular.candidates(everybody, settings.popular_length)),
        bought_together=bought_together(
            generator.events, available=generator.available, length=settings.similar_length
        ),
        popular_by_category=popular_by_category(
            generator.events,
            generator.items,
            now=generator.now,
            available=generator.available,
            length=settings.category_length,
        ),
        trending=trending(
            generator.events,
            generator.items,
            now=generator.now,
            available=generator.available,
            length=settings.category_length,
        ),
        category_ids=generator.items.category_ids,
        baselines={
            source.name: source.candidates(everybody, settings.popular_length)
            for source in (generator.all_time_popular, generator.popular)
        },
        history_length=settings.history_length,
    )


def _personal(stage: Featured, ranker: Ranker, settings: Hyperparameters) -> tuple[Candidates, Proposed]:
    """The ranked list of every user with events, some users at a time; and who proposed the first items."""
    users = stage.generator.events.distinct_users()
    found, shown = [no_candidates()], Proposed()
    for start in each(range(0, len(users), USERS_AT_ONCE), "lists", f"{USERS_AT_ONCE} users"):
        pool, _, matrix = stage.candidates(
            users[start : start + USERS_AT_ONCE], settings.candidates_per_source
        )
        ranked = _ranked(pool, ranker.scores(matrix), settings.personal_length)
        first = ranked.ranks() < K
        keys = ranked.users[first].astype(np.int64) * len(stage.generator.items) + ranked.items[first]
        shown.add(pool, np.searchsorted(pool.keys, keys), len(keys))
        found.append(ranked)
    return _joined(found), shown


def _examples(
    served: Served[Lists], explainer: Explainer, settings: Hyperparameters
) -> tuple[ExplainedUser, ...]:
    """Some users, from those with the shortest histories to those with the longest, and why they get what."""
    events = served.lists.events
    users, counts = np.unique(events.users, return_counts=True)
    order = np.random.default_rng(settings.seed).permutation(len(users))
    by_history = users[order][np.argsort(counts[order], kind="stable")]
    places = np.linspace(0, len(users) - 1, min(EXAMPLES, len(users))).round().astype(np.int64)
    explained = []
    for user_id in events.user_ids[by_history[places]].tolist():
        shown = served.answer(user_id, [], now=served.until, limit=K)
        explained.append(explainer.explain(user_id, shown))
    return tuple(explained)


def _ranked(pool: Pool, scores: Scores, length: int) -> Candidates:
    """The best `length` of each user; the best scores 1, the others how likely they are beside it."""
    ranked = best_per_user(pool.users, pool.items, scores.astype(np.float32), length)
    starts = np.flatnonzero(ranked.ranks() == 0)
    lengths = np.diff(np.r_[starts, len(ranked)])
    relative = np.exp(ranked.scores - np.repeat(ranked.scores[starts], lengths))
    return Candidates(ranked.users, ranked.items, relative.astype(np.float32))


def _similar(generator: Generator, measures: dict[str, float], length: int) -> Candidates:
    """Each item's most similar ones, and first of all the item itself with its odds of a return."""
    mixed = generator.similarities.mixture(measures).tocoo()
    rows, columns = mixed.coords
    kept = generator.available[columns]
    similar = best_per_user(
        rows[kept].astype(np.int32), columns[kept].astype(np.int32), mixed.data[kept], length
    )
    known = distinct(generator.events.items).astype(np.int32)
    known = known[generator.available[known]]
    odds = generator.return_odds[known]
    itself = Candidates(known, known, (odds / (1 + odds)).astype(np.float32))
    both = _joined([itself, similar])
    order = np.argsort(both.users, kind="stable")
    return Candidates(both.users[order], both.items[order], both.scores[order])


def _available(generator: Generator, found: Candidates) -> Candidates:
    kept = generator.available[found.items]
    return Candidates(found.users[kept], found.items[kept], found.scores[kept])


def _joined(found: Sequence[Candidates]) -> Candidates:
    return Candidates(
        np.concatenate([each.users for each in found]),
        np.concatenate([each.items for each in found]),
        np.concatenate([each.scores for each in found]),
    )
