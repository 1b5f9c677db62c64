"""Visitors in the middle of a visit, as the blend would have met them, and what they turned to next.

Features are those that `contract.blending` adds up, for many visitors at once; a test holds the two together.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from contract.blending import RANKED_DEPTH
from training.candidates import best_per_user
from training.candidates.generator import Generator
from training.candidates.similar_items import MEASURES, USUAL_SHARES
from training.interactions import BoolArray, IntArray, Interactions, LongArray, distinct, rank_within
from training.moments import MILLISECONDS_A_DAY
from training.split import Window

Doubles = npt.NDArray[np.float64]

MOST_SIMILAR = 100
"""Items of a visitor, similar to what they turned to, that the fit looks at."""


@dataclass(frozen=True)
class Visitors:
    """Users with events since the lists were made, each just before their next cart or purchase."""

    users: IntArray
    """Ascending."""
    truth: LongArray
    """Place among `users` × number of items + item, ascending: carted or bought from then on."""
    n_items: int
    # Their histories, one row an event, by visitor, newest first, cut to the blend's length.
    places: LongArray
    ranks: LongArray
    items: IntArray
    kinds: IntArray
    ages: Doubles
    """In days."""

    def __len__(self) -> int:
        return len(self.users)

    def matrix(self, values: npt.NDArray[np.floating], rows: BoolArray | slice = slice(None)) -> sp.csr_array:
        """Visitors × items, values of events added up."""
        shape = (len(self.users), self.n_items)
        return sp.coo_array((values[rows], (self.places[rows], self.items[rows])), shape=shape).tocsr()


def visitors_within(
    events: Interactions, window: Window, *, n_items: int, history_length: int, max_users: int, seed: int
) -> Visitors:
    """Who has a cart or purchase within the window with an event of theirs in it before."""
    users, moments = _moments(events.between(window.start, window.end))
    if len(users) > max_users:
        kept = np.sort(np.random.default_rng(seed).choice(len(users), max_users, replace=False))
        users, moments = users[kept], moments[kept]
    place_of = np.full(len(events.user_ids), -1, dtype=np.int64)
    place_of[users] = np.arange(len(users))
    places = place_of[events.users]
    known = places >= 0
    limits = np.where(known, moments[places] if len(moments) else 0, np.iinfo(np.int64).min)
    earlier = np.flatnonzero(known & (events.timestamps < limits))
    order = earlier[np.argsort(-places[earlier], kind="stable")[::-1]]
    ranks = rank_within(places[order])
    order, ranks = order[ranks < history_length], ranks[ranks < history_length]
    later = known & (events.timestamps >= limits) & (events.timestamps < window.end) & events.is_target
    return Visitors(
        users=users,
        truth=distinct(places[later] * n_items + events.items[later]),
        n_items=n_items,
        places=places[order],
        ranks=ranks,
        items=events.items[order],
        kinds=events.event_types[order],
        ages=(moments[places[order]] - events.timestamps[order]) / MILLISECONDS_A_DAY,
    )


def _moments(inside: Interactions) -> tuple[IntArray, LongArray]:
    """Of each user the first moment of a target that has an earlier event within the window."""
    _, first = np.unique(inside.users, return_index=True)
    begins = np.zeros(int(inside.users.max(initial=-1)) + 1, dtype=np.int64)
    begins[inside.users[first]] = inside.timestamps[first]
    ready = np.flatnonzero(inside.is_target & (inside.timestamps > begins[inside.users]))
    users, places = np.unique(inside.users[ready], return_index=True)
    return users, inside.timestamps[ready][places]


@dataclass(frozen=True)
class Fading:
    """How events lose weight by rank and age."""

    rank_decay: float
    half_life_days: float

    def of(self, visitors: Visitors) -> Doubles:
        """Of each event of the histories."""
        fading: Doubles = self.rank_decay**visitors.ranks * 0.5 ** (visitors.ages / self.half_life_days)
        return fading


@dataclass(frozen=True)
class BlendExamples:
    """Candidates of visitors, by visitor, and what the blend would add up of each."""

    visitors: LongArray
    """Places."""
    items: IntArray
    came_true: BoolArray
    features: dict[str, Doubles]
    """By name: `kind:…` of each kind of event, `own`, `latest`, `conversion`, one a measure of similarity,
    `personal`, `personal_own`, `popular`."""


def blend_examples(
    visitors: Visitors,
    generator: Generator,
    personal: Mapping[str, npt.NDArray[np.integer]],
    fading: Fading,
    *,
    recent_items: int,
    popular_length: int,
) -> BlendExamples:
    """Put together what the blend would look at.

    `personal` has the stored lists of these visitors: `users`, `items`, `ranks`, one row an entry.
    """
    weights = fading.of(visitors)
    recent = visitors.matrix(weights, _is_recent(visitors, recent_items))
    measures = {name: recent @ matrix for name, matrix in generator.similarities.by_measure.items()}
    parts = {
        "own": visitors.matrix(np.ones(len(weights))),
        "latest": _latest(visitors),
        "personal": _personal(visitors, personal),
        "popular": _popular(visitors, generator, popular_length),
        **{
            f"kind:{name}": visitors.matrix(weights, visitors.kinds == kind)
            for kind, name in enumerate(generator.events.event_type_names)
        },
    }
    keys = np.unique(np.concatenate([*(_keys(part) for part in parts.values()), _nearest(measures)]))
    keys = keys[generator.available[keys % visitors.n_items]]
    features = {name: _values(part, keys) for name, part in (parts | measures).items()}
    places, items = np.divmod(keys, visitors.n_items)
    is_own = features["own"] > 0
    features["own"] = is_own.astype(np.float64)
    features["conversion"] = np.where(is_own, np.log(generator.return_odds[items]), 0.0)
    features["personal_own"] = np.where(is_own, features["personal"], 0.0)
    for name in (*measures, "personal", "popular"):
        features[name][is_own] = 0.0
    return BlendExamples(places, items.astype(np.int32), np.isin(keys, visitors.truth), features)


def _keys(matrix: sp.csr_array) -> LongArray:
    rows, columns = matrix.tocoo().coords
    keys: LongArray = rows.astype(np.int64) * matrix.shape[1] + columns
    return keys


def _values(matrix: sp.csr_array, keys: LongArray) -> Doubles:
    """The entries of a matrix under `keys`, ascending; 0 where it has none."""
    values = np.zeros(len(keys))
    if len(keys):
        own_keys, data = _keys(matrix), matrix.tocoo().data
        places = np.searchsorted(keys, own_keys).clip(max=len(keys) - 1)
        found = keys[places] == own_keys
        values[places[found]] = data[found]
    return values


def _nearest(measures: Mapping[str, sp.csr_array]) -> LongArray:
    """The keys of each visitor's `MOST_SIMILAR` nearest items."""
    people, visits = (measures[name] * USUAL_SHARES[name] for name in MEASURES)
    together = (people + visits).tocoo()
    rows, columns = together.coords
    nearest = best_per_user(
        rows.astype(np.int32), columns.astype(np.int32), together.data.astype(np.float32), MOST_SIMILAR
    )
    keys: LongArray = nearest.users.astype(np.int64) * together.shape[1] + nearest.items
    return keys


def _latest(visitors: Visitors) -> sp.csr_array:
    """1 / (1 + rank) of the latest event of each visitor's items."""
    keys = visitors.places * visitors.n_items + visitors.items
    _, first = np.unique(keys, return_index=True)
    rows = np.zeros(len(keys), dtype=np.bool_)
    rows[first] = True
    return visitors.matrix(1 / (1.0 + visitors.ranks), rows)


def _is_recent(visitors: Visitors, count: int) -> BoolArray:
    """The events of each visitor's `count` latest distinct items."""
    keys = visitors.places * visitors.n_items + visitors.items
    pairs, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # rows are by visitor, newest first
    ranks = np.empty(len(pairs), dtype=np.int64)
    ranks[order] = rank_within(visitors.places[first[order]])
    recent: BoolArray = ranks[inverse] < count
    return recent


def _personal(visitors: Visitors, personal: Mapping[str, npt.NDArray[np.integer]]) -> sp.csr_array:
    shape = (len(visitors), visitors.n_items)
    known = np.isin(personal["users"], visitors.users)
    places = np.searchsorted(visitors.users, personal["users"][known])
    scores = rank_scores(personal["ranks"][known])
    return sp.coo_array((scores, (places, personal["items"][known])), shape=shape).tocsr()


def _popular(visitors: Visitors, generator: Generator, length: int) -> sp.csr_array:
    items = generator.popular.items
    items = items[generator.available[items]][:length]
    rows = np.repeat(np.arange(len(visitors)), len(items))
    scores = np.tile(rank_scores(np.arange(len(items))), len(visitors))
    shape = (len(visitors), visitors.n_items)
    return sp.coo_array((scores, (rows, np.tile(items, len(visitors)))), shape=shape).tocsr()


def rank_scores(ranks: npt.NDArray[np.integer]) -> Doubles:
    """`contract.blending.rank_score` of many ranks."""
    scores: Doubles = np.maximum(0.0, 1.0 - np.log1p(ranks) / np.log1p(RANKED_DEPTH))
    return scores
