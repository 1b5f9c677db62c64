"""Features of candidates: one row a pair of user and item, one column a feature."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.candidates.pool import Pool
from training.features.aggregates import RECENT_DAYS, SECONDS_A_DAY, Aggregates
from training.interactions import FloatArray, Interactions, LongArray, rank_within
from training.moments import MILLISECONDS_A_DAY

Floats = npt.NDArray[np.floating]

MEMORIES_DAYS = (2.0, 14.0, 90.0)
"""Half-lives of the decayed strengths of a pair."""
NEVER_DAYS = 1000.0
"""The age of what never happened."""
PRIOR_PEOPLE = 5.0
"""How many average people a rate of an item begins with."""


@dataclass(frozen=True)
class Known:
    """All that features are made of; everything in it happened before `aggregates.now`."""

    events: Interactions
    aggregates: Aggregates
    strengths: dict[float, FloatArray]
    """By half-life in days: a pair's events, each counted by its age; rows as `aggregates.pair_keys`."""
    recency_ranks: LongArray
    """Of a pair among the pairs of its user, 0 for the latest; rows as `aggregates.pair_keys`."""


@dataclass(frozen=True)
class Rows:
    """Candidates, with the place of each pair among the known ones."""

    pool: Pool
    known: Known
    places: LongArray
    """Into `aggregates.pair_keys`; meaningless where not `is_own`."""
    is_own: npt.NDArray[np.bool_]

    def pair(self, name: str, missing: float) -> Floats:
        """A column of the pairs, `missing` for pairs without an event."""
        return self.own(self.known.aggregates.pairs[name], missing)

    def own(self, values: npt.NDArray[np.generic], missing: float) -> Floats:
        """Values of pairs, `missing` for pairs without an event."""
        if not len(values):
            return np.full(len(self.pool), missing, dtype=np.float32)
        return np.where(self.is_own, values[self.places], missing).astype(np.float32)

    def item(self, name: str) -> Floats:
        """A column of the items."""
        return self.known.aggregates.items[name][self.pool.items].astype(np.float32)

    def user(self, name: str) -> Floats:
        """A column of the users."""
        return self.known.aggregates.users[name][self.pool.users].astype(np.float32)


def known(events: Interactions, aggregates: Aggregates) -> Known:
    """Add to the counts what takes sums of floats, in an order that never changes."""
    n_items = len(events.item_ids)
    places = np.searchsorted(aggregates.pair_keys, events.users.astype(np.int64) * n_items + events.items)
    ages = (aggregates.now - events.timestamps) / MILLISECONDS_A_DAY
    n_pairs = len(aggregates.pair_keys)
    strengths = {
        half_life: np.bincount(places, 0.5 ** (ages / half_life), minlength=n_pairs).astype(np.float32)
        for half_life in MEMORIES_DAYS
    }
    users = aggregates.pair_keys // max(n_items, 1)
    order = np.lexsort((aggregates.pairs["last_age"], users))
    ranks = np.empty(n_pairs, dtype=np.int64)
    ranks[order] = rank_within(users[order])
    return Known(events, aggregates, strengths, ranks)


def feature_matrix(pool: Pool, known: Known) -> tuple[list[str], FloatArray]:
    """The features' names, and a matrix of candidates × features."""
    keys = known.aggregates.pair_keys
    places = np.searchsorted(keys, pool.keys).clip(max=max(len(keys) - 1, 0))
    is_own = keys[places] == pool.keys if len(keys) else np.zeros(len(pool), dtype=np.bool_)
    rows = Rows(pool, known, places, is_own)
    columns: dict[str, Floats] = {}
    for part in FEATURES:
        columns |= part(rows)
    matrix = np.empty((len(pool), len(columns)), dtype=np.float32, order="F")
    for place, values in enumerate(columns.values()):
        matrix[:, place] = values
    return list(columns), matrix


def source_features(rows: Rows) -> Mapping[str, Floats]:
    """What each source thinks of the pair, and how many propose it."""
    pool = rows.pool
    scores = {f"{name}_score": values for name, values in pool.scores.items()}
    ranks = {f"{name}_rank": np.log1p(values) for name, values in pool.ranks.items()}
    proposed = sum((values > 0).astype(np.float32) for values in pool.scores.values())
    return {**scores, **ranks, "n_sources": np.asarray(proposed, dtype=np.float32)}


def pair_features(rows: Rows) -> Mapping[str, Floats]:
    """What the user did to the item: how often, how lately, and whether it is due again."""
    kinds = rows.known.events.event_type_names
    counts = {f"pair_{name}": np.log1p(rows.pair(f"n_{kind}", 0)) for kind, name in enumerate(kinds)}
    strengths = {
        f"pair_strength_{half_life:g}d": np.log(rows.own(values, 0) + 1e-3)
        for half_life, values in rows.known.strengths.items()
    }
    since_target = rows.pair("last_target_age", -1)
    target_days = rows.pair("target_days", 0)
    own_interval = (rows.pair("first_target_age", 0) - since_target) / np.maximum(target_days - 1, 1)
    items = rows.known.aggregates.items
    of_items = (items["again_time"] / np.maximum(items["again_intervals"], 1))[rows.pool.items]
    interval = np.where(target_days > 1, own_interval, of_items)
    due = np.where((since_target >= 0) & (interval > 0), since_target / np.maximum(interval, 1), -1)
    return {
        **counts,
        **strengths,
        "pair_days": rows.pair("days", 0),
        "pair_age": _days(rows.pair("last_age", -1)),
        "pair_first_age": _days(rows.pair("first_age", -1)),
        "pair_recency_rank": np.log1p(rows.own(rows.known.recency_ranks, 1e3)),
        "pair_target_age": _days(since_target),
        "pair_target_days": target_days,
        "pair_after_target": np.where(since_target >= 0, since_target - rows.pair("last_age", 0), 0)
        / SECONDS_A_DAY,
        "pair_due": np.minimum(due, 20),
    }


def item_features(rows: Rows) -> Mapping[str, Floats]:
    """How the item sells: by now and ever, how surely, how often to the same people."""
    people, targets = rows.item("people"), rows.item("target_people")
    is_own = rows.is_own.astype(np.float32)
    own_target = (rows.pair("target_days", 0) > 0).astype(np.float32)
    items = rows.known.aggregates.items
    mean = items["target_people"].sum() / max(items["people"].sum(), 1)
    mean_again = items["again_people"].sum() / max(items["target_people"].sum(), 1)
    recent = {
        f"item_{name}_{days}d": np.log1p(rows.item(f"{name}_{days}"))
        for name in ("events", "targets")
        for days in RECENT_DAYS
    }
    return {
        **recent,
        "item_events": np.log1p(rows.item("events")),
        "item_targets": np.log1p(rows.item("targets")),
        # Without the user's own part: it is told by the pair, and would give the answer away.
        "item_conversion": _rate(targets - own_target, people - is_own, mean),
        "item_again": _rate(
            rows.item("again_people") - (rows.pair("target_days", 0) > 1), targets - own_target, mean_again
        ),
        "item_age": _days(rows.item("first_age")),
    }


def user_features(rows: Rows) -> Mapping[str, Floats]:
    """How the user shops."""
    events, items = rows.user("events"), rows.user("items")
    return {
        "user_events": np.log1p(events),
        "user_items": np.log1p(items),
        "user_targets": np.log1p(rows.user("targets")),
        "user_days": np.log1p(rows.user("days")),
        "user_age": _days(rows.user("last_age")),
        "user_first_age": _days(rows.user("first_age")),
        "user_target_share": rows.user("target_items") / np.maximum(items, 1),
        "user_again_share": rows.user("again_items") / np.maximum(rows.user("target_items"), 1),
    }


FEATURES: tuple[Callable[[Rows], Mapping[str, Floats]], ...] = (
    source_features,
    pair_features,
    item_features,
    user_features,
)
"""What the ranker sees; a new feature is a function of `Rows` that is added here."""


def _days(ages: Floats) -> Floats:
    return np.where(ages >= 0, ages / SECONDS_A_DAY, NEVER_DAYS).astype(np.float32)


def _rate(hits: Floats, of: Floats, mean: float) -> Floats:
    rates: Floats = ((hits + PRIOR_PEOPLE * mean) / (of + PRIOR_PEOPLE)).astype(np.float32)
    return rates
