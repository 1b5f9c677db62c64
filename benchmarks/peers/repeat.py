"""What needs hardly any fitting: popularity, own items, own items × conversion, own items + co-visitation."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import scipy.sparse as sp

from benchmarks.peers.peer import Model, Settings, kind_weights, positive, weightings
from benchmarks.peers.session_knn import SESSION_GAPS, SessionKnn, session_matrix
from benchmarks.peers.split import Floats, States, Window

DAY = 24 * 3600 * 1000
HALF_LIVES = (0.25, 5.0, 30.0, 1000.0)
"""Days; the shortest ranks by the last event alone, the longest hardly looks at time."""


def own_items(states: States, weights: Floats, half_life: float) -> sp.csr_matrix:
    """States × items: the weights of own events, halved every `half_life` days, added up."""
    history = states.history
    age = (states.moments[history.users] - history.timestamps) / DAY
    # Float64, and never zero: with a short half-life only order is left of an old event.
    exponent = np.maximum(-age / half_life, -1000.0)
    values = weights[history.kinds].astype(np.float64) * np.exp2(exponent)
    matrix = sp.csr_matrix((values, (history.users, history.items)), shape=(len(states), states.n_items))
    matrix.eliminate_zeros()
    return matrix


def relative_ranks(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The same entries, valued by their rank in the row: 1 for the best, towards 0 for the last."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    sizes = np.diff(matrix.indptr)
    places = np.arange(len(order)) - np.repeat(matrix.indptr[:-1], sizes)
    values = np.empty(len(order), dtype=np.float32)
    values[order] = 1 - places / np.repeat(np.maximum(sizes, 1), sizes)
    return sp.csr_matrix((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def relative_to_best(scores: sp.csr_matrix) -> sp.csr_matrix:
    """Rows from 0 to 1, of scores that are not negative."""
    best = scores.max(axis=1).toarray().ravel()
    return sp.csr_matrix(sp.diags(1 / np.where(best > 0, best, 1)) @ scores)


class Popular:
    """Nothing but the fill."""

    name = "popular"

    def grid(self, window: Window) -> list[Settings]:
        """One: how popularity is counted is tuned for everybody."""
        del window
        return [{}]

    def fit(self, window: Window, settings: Settings) -> Model:
        """Nothing to learn."""
        del window, settings
        return NoScores()


class NoScores:
    """No candidates at all."""

    def scores(self, states: States) -> sp.csr_matrix:
        """Nothing."""
        return sp.csr_matrix(np.zeros((len(states), states.n_items), dtype=np.float32))


class ViewedTimesConversion:
    """What the user viewed or carted, times the item's conversion rate; no fitting."""

    name = "own items × conversion"

    def grid(self, window: Window) -> list[Settings]:
        """How strongly rates are smoothed, and whether recency counts beside them."""
        del window
        return [
            {"smoothing": smoothing, "half_life": half_life}
            for smoothing, half_life in product((1.0, 10.0), HALF_LIVES)
        ]

    def fit(self, window: Window, settings: Settings) -> Model:
        """Conversion rates: users with a target among users with any event, smoothed towards the mean."""
        known, shape = window.known, (window.n_known_users, window.n_items)
        ones = np.ones(len(known.items), dtype=np.float32)
        touched = sp.csr_matrix((ones, (known.users, known.items)), shape=shape)
        got = sp.csr_matrix((window.is_target[known.kinds] * ones, (known.users, known.items)), shape=shape)
        users = touched.sign().sum(axis=0).A1
        buyers = got.sign().sum(axis=0).A1
        mean = buyers.sum() / max(1, users.sum())
        rates = (buyers + settings["smoothing"] * mean) / (users + settings["smoothing"])
        return Conversion(rates.astype(np.float32), len(window.kinds), settings["half_life"])


@dataclass(frozen=True)
class Conversion:
    """Own items by rate and recency."""

    rates: Floats
    n_kinds: int
    half_life: float

    def scores(self, states: States) -> sp.csr_matrix:
        """Decayed own events, times rates."""
        own = own_items(states, np.ones(self.n_kinds, dtype=np.float32), self.half_life)
        own.data = own.data * self.rates[own.indices]
        return relative_ranks(own)


class RepeatAndCovisitation:
    """Own items by recency and weight first, then what other people had in the same sessions."""

    name = "repeat + co-visitation"

    def grid(self, window: Window) -> list[Settings]:
        """Half-life, weights, what counts as one visit, and how popular companions are held back."""
        names = ("half_life", "weighting", "session", "norm")
        values = product(
            HALF_LIVES, [each for each in weightings(window) if each != "pair"], SESSION_GAPS, (0.0, 0.5)
        )
        return [dict(zip(names, each, strict=True)) for each in values]

    def fit(self, window: Window, settings: Settings) -> Model:
        """Sessions × items, each item's column divided by its popularity to the power of `norm`."""
        sessions = session_matrix(window.known, window.n_items, settings["session"])
        popularity = np.maximum(sessions.sum(axis=0).A1, 1)
        return Covisitation(
            sessions=sessions,
            scale=(popularity ** -settings["norm"]).astype(np.float32),
            weights=kind_weights(window, settings["weighting"]),
            half_life=settings["half_life"],
        )


@dataclass(frozen=True)
class Covisitation:
    """Own items, and those of the sessions that hold them."""

    sessions: sp.csr_matrix
    scale: Floats
    weights: Floats
    half_life: float

    def scores(self, states: States) -> sp.csr_matrix:
        """Own items from 2 to 3, companions from 0 to 1."""
        own = relative_ranks(own_items(states, self.weights, self.half_life))
        asked = sp.csr_matrix(own.multiply(self.scale[None, :]))
        together = sp.csr_matrix(((asked @ self.sessions.T) @ self.sessions).multiply(self.scale[None, :]))
        return positive(relative_to_best(together) + own + 2 * own.sign())


class RepeatAndSessionKnn:
    """Own items, plus a share of session-kNN."""

    name = "repeat + session-kNN"

    def grid(self, window: Window) -> list[Settings]:
        """How own items are ranked, and the neighbours' share."""
        names = ("half_life", "weighting", "share", "session")
        own = [each for each in weightings(window) if each != "pair"]
        values = product(HALF_LIVES, own, (0.1, 0.5), SESSION_GAPS)
        return [dict(zip(names, each, strict=True)) for each in values]

    def fit(self, window: Window, settings: Settings) -> Model:
        """The neighbours' part."""
        knn = SessionKnn().fit(
            window,
            {"session": settings["session"], "k": 500, "decay": "harmonic", "idf": False},
        )
        weights = kind_weights(window, settings["weighting"])
        return RepeatPlus(knn, weights, settings["half_life"], settings["share"])


@dataclass(frozen=True)
class RepeatPlus:
    """Own items and another model."""

    other: Model
    weights: Floats
    half_life: float
    share: float

    def scores(self, states: States) -> sp.csr_matrix:
        """Own items, half by decayed weights and half by ranks; the other's best counts `share`."""
        own = own_items(states, self.weights, self.half_life)
        other = relative_to_best(self.other.scores(states))
        return positive(0.5 * relative_to_best(own) + 0.5 * relative_ranks(own) + self.share * other)
