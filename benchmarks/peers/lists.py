"""From scores to lists of ten: what is hidden, what fills them up, how good they are."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from benchmarks.peers.split import Ints, States, Window

K = 10
NOTHING = -1
"""In a list: no item at this rank."""

HIDDEN = {"served": ("nothing", "bought", "seen"), "discovery": ("seen",)}
"""What a list may leave out, by its kind; what is best is a matter of tuning."""

DAY = 24 * 3600 * 1000
FILLS = tuple((days, only) for days in (None, 28, 14, 7) for only in ("targets", "all"))
"""Popularity to fill lists with: of the last so many days (None: of all time), of targets or all events."""

_MOST_POPULAR = 4096
_COLUMNS = 2**31


@dataclass
class Shelf:
    """A window's lists of popular items, each computed once."""

    window: Window
    _fills: dict[tuple[object, ...], Ints] = field(default_factory=dict)
    _truths: dict[tuple[str, str], "Truth"] = field(default_factory=dict)

    def truth(self, protocol: str, kind: str) -> "Truth":
        """What is to be found."""
        key = (protocol, kind)
        if key not in self._truths:
            self._truths[key] = Truth.of(self.window.truth_of(protocol, kind))
        return self._truths[key]

    def hidden(self, protocol: str, hide: str) -> sp.csr_matrix:
        """States × items that are to be left out."""
        return hidden_of(self.window.states[protocol], hide, self.window.is_target)

    def fill(self, protocol: str, hide: str, fill: tuple[int | None, str]) -> Ints:
        """States × 2K popular items, none of them hidden."""
        key = (protocol, hide, fill)
        if key not in self._fills:
            popular = popularity_order(self.window, *fill)[:_MOST_POPULAR]
            hidden = self.hidden(protocol, hide)[:, popular].toarray() > 0
            first = np.argsort(hidden, axis=1, kind="stable")[:, : 2 * K]
            taken = np.where(np.take_along_axis(hidden, first, axis=1), NOTHING, popular[first])
            self._fills[key] = taken
        return self._fills[key]


def hidden_of(states: States, hide: str, is_target: npt.NDArray[np.bool_]) -> sp.csr_matrix:
    """States × items that are to be left out: what was bought, all that was seen, or nothing."""
    if hide == "seen":
        return states.seen
    return states.touched(is_target if hide == "bought" else np.zeros_like(is_target))


def popularity_order(window: Window, days: int | None, only: str) -> Ints:
    """Items by how many events they had before the window; ties by all of their events, then by id."""
    known = window.known
    counted = np.ones(len(known.items), dtype=np.bool_)
    if days is not None:
        counted &= known.timestamps >= window.start - days * DAY
    if only == "targets":
        counted &= window.is_target[known.kinds]
    counts = np.bincount(known.items[counted], minlength=window.n_items)
    return np.argsort(-counts, kind="stable")


def best(scores: sp.csr_matrix, hidden: sp.csr_matrix) -> Ints:
    """Rows × K: the columns of the highest scores, of equals the lower, without those that are hidden."""
    rows, columns = rows_of_entries(scores), scores.indices
    visible = ~np.isin(keys_of(scores), keys_of(hidden))
    rows, columns, values = rows[visible], columns[visible], scores.data[visible]
    order = np.lexsort((columns, -values, rows))
    rows, columns = rows[order], columns[order]
    places = np.arange(len(rows)) - np.searchsorted(rows, rows)
    top = np.full((scores.shape[0], K), NOTHING, dtype=np.int64)
    short = places < K
    top[rows[short], places[short]] = columns[short]
    return top


def pruned(scores: sp.csr_matrix, seen: sp.csr_matrix, most: int = 200) -> sp.csr_matrix:
    """Only each row's highest scores, so many more than `most` as the user has seen items."""
    limits = most + np.diff(seen.indptr)
    kept = [
        start + _highest(scores.data[start:end], limit)
        for start, end, limit in zip(scores.indptr[:-1], scores.indptr[1:], limits, strict=True)
    ]
    entries = np.concatenate(kept)
    starts = np.r_[0, np.cumsum([len(each) for each in kept])]
    return sp.csr_matrix((scores.data[entries], scores.indices[entries], starts), shape=scores.shape)


def _highest(values: npt.NDArray[np.floating], limit: int) -> Ints:
    if len(values) <= limit:
        return np.arange(len(values))
    return np.argpartition(-values, limit - 1)[:limit]


def rows_of_entries(matrix: sp.csr_matrix) -> Ints:
    """The row of each stored entry."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def keys_of(matrix: sp.csr_matrix) -> Ints:
    """One number for each stored entry, by its place."""
    return rows_of_entries(matrix) * _COLUMNS + matrix.indices


def filled(own: Ints, fill: Ints) -> Ints:
    """Each row's own items, then those of the fill that are not among them: K in all."""
    repeated = (fill[:, :, None] == own[:, None, :]).any(axis=2)
    both = np.concatenate([own, np.where(repeated, NOTHING, fill)], axis=1)
    order = np.argsort(both == NOTHING, axis=1, kind="stable")[:, :K]
    return np.take_along_axis(both, order, axis=1)


@dataclass(frozen=True)
class Truth:
    """What is to be found for each state."""

    keys: Ints
    """Ascending."""
    sizes: Ints

    @classmethod
    def of(cls, truth: sp.csr_matrix) -> "Truth":
        """From states × items."""
        return cls(np.sort(keys_of(truth)), np.diff(truth.indptr).astype(np.int64))


def recall_and_ndcg(lists: Ints, truth: Truth) -> npt.NDArray[np.float64]:
    """Two values for each row that has truth."""
    counts = truth.sizes > 0
    asked = np.flatnonzero(counts)[:, None] * _COLUMNS + lists[counts]
    places = np.minimum(np.searchsorted(truth.keys, asked), len(truth.keys) - 1)
    found = (truth.keys[places] == asked) & (lists[counts] != NOTHING)
    sizes = truth.sizes[counts]
    discounts = 1 / np.log2(np.arange(K) + 2)
    ideal = np.cumsum(discounts)[np.minimum(sizes, K) - 1]
    return np.column_stack([found.sum(axis=1) / sizes, found @ discounts / ideal])
