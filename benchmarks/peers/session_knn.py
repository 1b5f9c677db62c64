"""Session-kNN: VS-kNN (Ludewig and Jannach 2018) with the index of VMIS-kNN (Kersbergen et al. 2022).

Who is asked about is a session of latest items, each weighted by how lately it came. Neighbours are the
`k` most similar of the sessions that share an item with it, of which each item's index knows the latest.
A neighbour's items score by its similarity times the weight of the latest item that it shares.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from benchmarks.peers.peer import Model, Settings, positive
from benchmarks.peers.split import Events, Floats, Ints, States, Window

SESSION_GAPS = (30, None)
"""Minutes without an event that end a session; None: all of a user's events are one."""

QUERY_LENGTH = 30
LATEST_SESSIONS = 1000
"""Of each item."""
DECAYS = ("linear", "harmonic", "quadratic")


def session_numbers(events: Events, gap_minutes: int | None) -> Ints:
    """Each event's session; events are ordered by user and time."""
    breaks: npt.NDArray[np.bool_] = np.diff(events.users) != 0
    if gap_minutes is not None:
        breaks |= np.diff(events.timestamps) > gap_minutes * 60_000
    numbers: Ints = np.r_[0, np.cumsum(breaks)].astype(np.int64)[: len(events.users)]
    return numbers


def session_matrix(events: Events, n_items: int, gap_minutes: int | None) -> sp.csr_matrix:
    """Sessions × items, binary; the sessions are ordered by their end, latest first."""
    sessions = session_numbers(events, gap_minutes)
    n_sessions = int(sessions.max(initial=-1)) + 1
    ends = np.zeros(n_sessions, dtype=np.int64)
    np.maximum.at(ends, sessions, events.timestamps)
    place = np.empty(n_sessions, dtype=np.int64)
    place[np.argsort(-ends, kind="stable")] = np.arange(n_sessions)
    ones = np.ones(len(sessions), dtype=np.float32)
    matrix = sp.csr_matrix((ones, (place[sessions], events.items)), shape=(n_sessions, n_items))
    matrix.data[:] = 1
    return matrix


class SessionKnn:
    """VS-kNN."""

    name = "session-kNN"

    def grid(self, window: Window) -> list[Settings]:
        """What a session is, how many of them count, how fast items fade, whether rare items weigh more."""
        del window
        names = ("session", "k", "decay", "idf")
        values = product(SESSION_GAPS, (100, 500), DECAYS, (False, True))
        return [dict(zip(names, each, strict=True)) for each in values]

    def fit(self, window: Window, settings: Settings) -> Model:
        """Index the sessions by item."""
        sessions = session_matrix(window.known, window.n_items, settings["session"])
        index = sessions.tocsc()
        index.sort_indices()
        starts = index.indptr[:-1]
        popularity = np.diff(index.indptr)
        rarity = np.log1p(sessions.shape[0] / np.maximum(popularity, 1)) if settings["idf"] else 1.0
        return Neighbours(
            sessions=sessions,
            index=index.indices.astype(np.int64),
            starts=starts.astype(np.int64),
            lengths=np.minimum(popularity, LATEST_SESSIONS).astype(np.int64),
            k=settings["k"],
            decay=settings["decay"],
            rarity=np.broadcast_to(rarity, popularity.shape).astype(np.float32),
        )


@dataclass(frozen=True)
class Neighbours:
    """Past sessions, and each item's latest ones."""

    sessions: sp.csr_matrix
    index: Ints
    starts: Ints
    lengths: Ints
    k: int
    decay: str
    rarity: Floats

    def scores(self, states: States) -> sp.csr_matrix:
        """The sum over neighbours, a few hundred states at a time."""
        parts = [
            self._scores(states.chunk(start, min(start + 250, len(states))))
            for start in range(0, len(states), 250)
        ]
        return sp.csr_matrix(sp.vstack(parts))

    def _scores(self, states: States) -> sp.csr_matrix:
        askers, items, ranks = latest_distinct(states, QUERY_LENGTH)
        weights = decayed(ranks, self.decay)
        lengths = self.lengths[items]
        rows = np.repeat(np.arange(len(items)), lengths)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        sessions = self.index[self.starts[items][rows] + within]
        n_sessions = self.sessions.shape[0]
        # Rows come by state and rank, so the first of a pair is that of the latest item that both have.
        pairs, first, numbers = np.unique(
            askers[rows] * n_sessions + sessions, return_index=True, return_inverse=True
        )
        similarity = np.bincount(numbers, weights=(weights * self.rarity[items])[rows], minlength=len(pairs))
        pair_states, pair_sessions = np.divmod(pairs, n_sessions)
        order = np.lexsort((pair_sessions, -similarity, pair_states))
        places = np.arange(len(order)) - np.searchsorted(pair_states, pair_states[order])
        kept = order[places < self.k]
        values = (similarity * weights[rows[first]])[kept]
        near = sp.csr_matrix(
            (values, (pair_states[kept], pair_sessions[kept])), shape=(len(states), n_sessions)
        )
        found = (near @ self.sessions).multiply(self.rarity[None, :])
        return positive(found)


def latest_distinct(states: States, length: int) -> tuple[Ints, Ints, Ints]:
    """State, item and rank (0 the latest) of each state's latest distinct items, by state and rank."""
    history = states.history
    newest_first = np.lexsort((-np.arange(len(history.users)), history.users))
    pairs = history.users[newest_first] * states.n_items + history.items[newest_first]
    _, first = np.unique(pairs, return_index=True)
    rows = newest_first[np.sort(first)]
    askers = history.users[rows]
    ranks = np.arange(len(rows)) - np.searchsorted(askers, askers)
    short = ranks < length
    return askers[short], history.items[rows][short], ranks[short]


def decayed(ranks: Ints, decay: str) -> Floats:
    """An item's weight by its rank."""
    if decay == "linear":
        return np.maximum(1 - ranks / QUERY_LENGTH, 0).astype(np.float32)
    return (1.0 / (ranks + 1.0) ** (1 if decay == "harmonic" else 2)).astype(np.float32)
