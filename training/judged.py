"""What an evaluation found, row by row and summed up."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from training.bootstrap import Interval, mean_interval
from training.interactions import BoolArray, LongArray
from training.ranking_metrics import DoubleArray, K, row_values

Protocol = Literal["batch", "session"]
PROTOCOLS: tuple[Protocol, ...] = ("batch", "session")
Kind = Literal["served", "discovery"]
"""Of a list: as it is served, or without what the user had touched."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
SERVED: Final = "served"
BANDS: Final = {"best-known 1 %": 0.01, "next 9 %": 0.1, "next 40 %": 0.5, "other half": 1.0}
"""Items by how many users knew them when a window started, the best known first: up to which share."""

UNHEARD_OF: Final = "unheard of"
"""The band of items that nobody knew."""

HISTORIES: Final = {"0": (0, 0), "1-3": (1, 3), "4-10": (4, 10), "11+": (11, np.inf)}
"""Users by how many events they had before they are answered: the fewest and the most."""

Metrics = dict[str, float]
"""`users`, the metrics of ten, `coverage`, `novelty`, `discovery_recall@10`; absent where unknown."""

Summary = dict[str, Any]
"""The same with intervals, by history, too; what JSON can hold."""


@dataclass(frozen=True)
class Rows:
    """n rows, one a user and window: by window, within it by user."""

    users: LongArray
    """The users' numbers in the events."""
    windows: LongArray
    """0 is the last window."""
    history: LongArray
    """How many events of the user were known."""
    hits: BoolArray
    """n × `DEPTH`: whether the item at that rank was right; lists of discovery end at `K`."""
    truths: LongArray
    """How many items were right."""
    values: dict[str, DoubleArray]
    """Under each of `training.ranking_metrics.METRICS`."""

    def __len__(self) -> int:
        return len(self.users)

    def where(self, mask: BoolArray) -> "Rows":
        """Only the rows under the mask."""
        values = {name: column[mask] for name, column in self.values.items()}
        return Rows(
            self.users[mask],
            self.windows[mask],
            self.history[mask],
            self.hits[mask],
            self.truths[mask],
            values,
        )

    def values_at(self, k: int) -> dict[str, DoubleArray]:
        """The metrics of the first k items, up to `DEPTH`."""
        return row_values(self.hits, self.truths, k)

    def means(self) -> dict[str, float]:
        """The metrics over all rows; none where there is no row."""
        return {name: float(np.mean(column)) for name, column in self.values.items()} if len(self) else {}

    def intervals(self, seed: int = 0) -> dict[str, Interval]:
        """The same with what users drawn anew would have made of them."""
        if not len(self):
            return {}
        return {name: mean_interval(each, self.users, seed=seed) for name, each in self.values.items()}

    def summary(self, seed: int) -> Summary:
        """How many rows, and each metric with its interval."""
        of_metrics = {name: asdict(interval) for name, interval in self.intervals(seed).items()}
        return {"users": len(self), **of_metrics}


@dataclass(frozen=True)
class TrueItems:
    """m items that were right, of all rows, in their order: where they came."""

    rows: LongArray
    """Into the model's `Rows`."""
    item_ids: npt.NDArray[np.object_]
    ranks: LongArray
    """In the list, from 1 to `DEPTH`; 0 where it was not there."""
    days_known: DoubleArray
    """Between the item's first event and the window's start; −1 of an item that had none."""


@dataclass(frozen=True)
class Shown:
    """The first `K` items of all lists, counted."""

    by_part: dict[str, int]
    """By the part of the blend that an item was there for."""
    hits_by_part: dict[str, int]
    by_band: dict[str, int]
    """By `BANDS` and `UNHEARD_OF`."""
    true_by_band: dict[str, int]
    """The items that were right, shown or not."""


@dataclass(frozen=True)
class Judged:
    """What one model showed under one protocol, and what it was worth."""

    rows: Rows
    discovery: Rows
    """Of lists and truth without what the user had touched; users with no other truth aren't here."""
    coverage: float | None
    """The share of the items known at a window's start that anyone was shown: the mean of the windows."""
    novelty: float | None
    """The mean of −log2(share of the users who knew the item at the window's start) of what was shown."""
    true_items: TrueItems
    """Of lists as they are served."""
    shown: Shown
    """The same."""

    def metrics(self) -> Metrics:
        """Values alone."""
        values = {
            "users": len(self.rows),
            **self.rows.means(),
            "coverage": self.coverage,
            "novelty": self.novelty,
            f"discovery_recall@{K}": self.discovery.means().get(f"recall@{K}"),
        }
        return {name: value for name, value in values.items() if value is not None}

    def summary(self, seed: int = 0) -> Summary:
        """Values with their intervals, those of discovery, and those of users by their history."""
        history = self.rows.history
        return {
            **self.rows.summary(seed),
            "coverage": self.coverage,
            "novelty": self.novelty,
            "discovery": self.discovery.summary(seed),
            "by_history": {
                name: self.rows.where((history >= fewest) & (history <= most)).summary(seed)
                for name, (fewest, most) in HISTORIES.items()
            },
        }


class Evaluation(Mapping[str, dict[str, Metrics]]):
    """By protocol and model: `judged` row by row, and as a mapping values alone, as a manifest holds them.

    The rows of all models of a protocol are of the same users and windows in the same order, so they can be
    compared pair by pair; those of their discovery, too.
    """

    def __init__(self, judged: Mapping[Protocol, dict[str, Judged]]) -> None:
        self.judged = judged

    def __getitem__(self, protocol: str) -> dict[str, Metrics]:
        by_model: dict[str, Judged] = dict(self.judged)[protocol]  # type: ignore[index]
        return {name: judged.metrics() for name, judged in by_model.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self.judged)

    def __len__(self) -> int:
        return len(self.judged)

    @classmethod
    def of_nothing(cls) -> "Evaluation":
        """Where there was no window to evaluate on."""
        return cls({protocol: {} for protocol in PROTOCOLS})
