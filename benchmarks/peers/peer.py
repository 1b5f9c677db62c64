"""What a peer is: settings to try, and a model for each that scores items for users in their states."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from benchmarks.peers.split import Floats, States, Window

Settings = dict[str, Any]

WEIGHTINGS = {
    "pair": (1.0, 1.0, 1.0),
    "event": (1.0, 1.0, 1.0),
    "steep": (1.0, 4.0, 6.0),
    "targets": (0.0, 1.0, 1.0),
}
"""What an event of another kind, a cart and a purchase count; `pair` counts a user's item only once."""


class Model(Protocol):
    """A peer, fitted."""

    def scores(self, states: States) -> sp.csr_matrix:
        """States × items; what is not stored is no candidate."""


class Peer(Protocol):
    """One way to recommend."""

    name: str

    def grid(self, window: Window) -> list[Settings]:
        """The settings to choose from, for a shop with such events."""

    def fit(self, window: Window, settings: Settings) -> Model:
        """Learn from `window.known`, which all lies before the window."""


def weightings(window: Window) -> list[str]:
    """Those of `WEIGHTINGS` that differ in this shop: where all events are targets, how often may count."""
    return ["pair", "event"] if window.is_target.all() else ["pair", "steep", "targets"]


def kind_weights(window: Window, weighting: str) -> Floats:
    """One weight for each kind of event."""
    other, cart, purchase = WEIGHTINGS[weighting]
    named = {"add_to_cart": cart, "purchase": purchase}
    weights = [named.get(kind, cart if kind in window.targets else other) for kind in window.kinds]
    return np.array(weights, dtype=np.float32)


def positive(scores: Any) -> sp.csr_matrix:
    """A sparse matrix of scores, of which only those above zero make a candidate."""
    found = sp.csr_matrix(scores)
    found.data[found.data < 0] = 0
    found.eliminate_zeros()
    return found


def top_candidates(scores: Floats, states: States, most: int = 200) -> sp.csr_matrix:
    """The highest of scores that every item has, so many more than are asked for as a user has seen.

    A state without a history has none.
    """
    seen = np.diff(states.seen.indptr)
    width = min(scores.shape[1], most + int(seen.max(initial=0)))
    columns = np.argpartition(-scores, width - 1, axis=1)[:, :width]
    rows = np.repeat(np.flatnonzero(seen > 0), width)
    found = columns[seen > 0].ravel()
    return sp.csr_matrix((scores[rows, found], (rows, found)), shape=scores.shape)


def chunks(states: States, cells: int = 20_000_000) -> Iterator[States]:
    """States in portions whose scores fit into memory."""
    size = max(1, cells // states.n_items)
    for start in range(0, len(states), size):
        yield states.chunk(start, min(start + size, len(states)))
