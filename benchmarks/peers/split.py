"""A split, as files: what was known when a window began, who came, what they did before their first target.

```
split.json                  targets, windows (latest first), which of them are for tuning
window-0/training.parquet   user_id, item_id, event_type, timestamp: all events before the window
window-0/visitors.parquet   user_id, first_target: who has truth, and when it begins, ms UTC
window-0/live.parquet       their events in the window before their first target
window-0/truth.parquet      user_id, item_id: distinct targets in the window
```
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

PROTOCOLS = ("batch", "session")

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Events:
    """n events as dense numbers, oldest first within each user."""

    users: Ints
    items: Ints
    kinds: Ints
    timestamps: Ints


@dataclass(frozen=True)
class States:
    """Users at the moments at which they are to be answered; `history.users` are numbers of states."""

    history: Events
    known_users: Ints
    """Each state's number among the users of the training, −1 for one who is new."""
    moments: Ints
    """UTC ms."""
    n_items: int
    n_kinds: int

    def __len__(self) -> int:
        return len(self.moments)

    @cached_property
    def seen(self) -> sp.csr_matrix:
        """States × items, 1 where the user had touched the item."""
        return self.touched(np.ones(self.n_kinds, dtype=np.bool_))

    def touched(self, kinds: npt.NDArray[np.bool_]) -> sp.csr_matrix:
        """States × items, 1 where there was an event of one of the kinds."""
        return pairs_matrix(self.history, kinds.astype(np.float32), (len(self), self.n_items), binary=True)

    def chunk(self, start: int, end: int) -> "States":
        """The states from `start` to before `end`."""
        rows = slice(*np.searchsorted(self.history.users, [start, end]))
        history = Events(
            self.history.users[rows] - start,
            self.history.items[rows],
            self.history.kinds[rows],
            self.history.timestamps[rows],
        )
        return States(
            history, self.known_users[start:end], self.moments[start:end], self.n_items, self.n_kinds
        )


@dataclass(frozen=True)
class Window:
    """One window. Items are numbered by how many events they had before it, most first, ties by id.

    So a tie between two scores goes to the more popular item, where the lower number wins.
    """

    number: int
    start: int
    user_ids: list[str]
    """Of the states, in their order."""
    item_ids: npt.NDArray[np.object_]
    kinds: tuple[str, ...]
    targets: tuple[str, ...]
    known: Events
    n_known_users: int
    states: dict[str, States]
    truth: sp.csr_matrix
    """States × items."""

    @property
    def n_items(self) -> int:
        """How many there are, those that only turned up in the window included."""
        return len(self.item_ids)

    @cached_property
    def is_target(self) -> npt.NDArray[np.bool_]:
        """Which kinds are to be brought about."""
        return np.array([kind in self.targets for kind in self.kinds], dtype=np.bool_)

    def truth_of(self, protocol: str, kind: str) -> sp.csr_matrix:
        """What is to be foretold: in `discovery` only what the user had not touched."""
        if kind == "served":
            return self.truth
        seen = widened(self.states[protocol].seen, self.truth.shape[1])
        unseen = self.truth - self.truth.multiply(seen)
        unseen.eliminate_zeros()
        return sp.csr_matrix(unseen)


@dataclass(frozen=True)
class Split:
    """All windows, latest first."""

    windows: list[Window]
    tuning: list[int]


def read_split(folder: Path) -> Split:
    """Read what `benchmarks.quality.split` wrote."""
    description = json.loads((folder / "split.json").read_text())
    windows = [
        _read_window(folder / f"window-{number}", number, each["from"], tuple(description["targets"]))
        for number, each in enumerate(description["windows"])
    ]
    return Split(windows, description["tuning"])


def _read_window(folder: Path, number: int, start: int, targets: tuple[str, ...]) -> Window:
    training, live, visitors, truth = (
        pd.read_parquet(folder / f"{name}.parquet") for name in ("training", "live", "visitors", "truth")
    )
    items = _items_by_popularity(training, live)
    kinds = pd.Index(sorted({*training["event_type"].unique(), *live["event_type"].unique()}))
    known_users = pd.Index(np.sort(training["user_id"].unique()))
    state_users = pd.Index(visitors["user_id"])
    known = _events(training, known_users, items, kinds)
    stored = training[training["user_id"].isin(state_users)]

    def states(history: pd.DataFrame, moments: Ints) -> States:
        events = _events(history, state_users, items, kinds)
        return States(events, known_users.get_indexer(state_users), moments, len(items), len(kinds))

    first_targets = visitors["first_target"].to_numpy(np.int64)
    return Window(
        number=number,
        start=start,
        user_ids=list(state_users),
        item_ids=items.to_numpy(dtype=object),
        kinds=tuple(kinds),
        targets=targets,
        known=known,
        n_known_users=len(known_users),
        states={
            "batch": states(stored, np.full(len(visitors), start, dtype=np.int64)),
            "session": states(pd.concat([stored, live]), first_targets),
        },
        truth=_truth(truth, state_users, items),
    )


def _items_by_popularity(training: pd.DataFrame, live: pd.DataFrame) -> pd.Index:
    counts = training.groupby("item_id").size().rename("events").reset_index()
    known = counts.sort_values(["events", "item_id"], ascending=[False, True])["item_id"]
    new = sorted(set(live["item_id"]) - set(known))
    items: pd.Index = pd.Index([*known, *new], dtype=object)
    return items


def _truth(truth: pd.DataFrame, users: pd.Index, items: pd.Index) -> sp.csr_matrix:
    # An item of which nobody had heard keeps a column beyond all others: it counts, and cannot be found.
    codes = _codes(items, truth["item_id"])
    unheard = codes < 0
    codes[unheard] = len(items) + np.arange(unheard.sum())
    shape = (len(users), len(items) + int(unheard.sum()))
    ones = np.ones(len(truth), dtype=np.float32)
    return sp.csr_matrix((ones, (_codes(users, truth["user_id"]), codes)), shape=shape)


def _codes(names: pd.Index, column: pd.Series) -> Ints:
    """Each value's place among the names, −1 where it has none."""
    return names.get_indexer(pd.Index(column)).astype(np.int64)


def _events(frame: pd.DataFrame, users: pd.Index, items: pd.Index, kinds: pd.Index) -> Events:
    codes = _codes(users, frame["user_id"])
    timestamps = frame["timestamp"].to_numpy(np.int64)
    order = np.lexsort((timestamps, codes))
    return Events(
        users=codes[order],
        items=_codes(items, frame["item_id"])[order],
        kinds=_codes(kinds, frame["event_type"])[order],
        timestamps=timestamps[order],
    )


def widened(matrix: sp.csr_matrix, n_columns: int) -> sp.csr_matrix:
    """The same with so many columns; the new ones are empty."""
    return sp.csr_matrix(
        (matrix.data, matrix.indices, matrix.indptr), shape=(matrix.indptr.size - 1, n_columns)
    )


def pairs_matrix(
    events: Events, weights: Floats, shape: tuple[int, int], *, binary: bool = False
) -> sp.csr_matrix:
    """Users × items: each pair's events by the weights of their kinds, added up, or 1 where there is one."""
    values = weights[events.kinds]
    matrix = sp.csr_matrix((values, (events.users, events.items)), shape=shape, dtype=np.float32)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if binary:
        matrix.data[:] = 1
    return matrix
