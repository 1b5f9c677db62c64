"""Counting what models showed, window by window."""

import itertools
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from contract.blending import BlendedItem
from training.interactions import Interactions
from training.judged import BANDS, UNHEARD_OF, Judged, Kind, Protocol, Rows, Shown, TrueItems
from training.moments import MILLISECONDS_A_DAY
from training.ranking_metrics import DEPTH, K, coverage, hits_of, novelty, row_values
from training.visitors import Visitor


@dataclass(frozen=True)
class Past:
    """What was known of items at a window's start."""

    users: int
    users_by_item: dict[str, int]
    fill: list[str]
    """Those of them that can be had, most known first, then by id."""
    days_known: dict[str, float]
    """Since an item's first event."""
    bands: dict[str, str]
    """Of `BANDS`."""

    @classmethod
    def of(cls, events: Interactions, unavailable: Collection[str], start: int) -> "Past":
        """Of `events`, all older than `start`, ms UTC."""
        n_items = len(events.item_ids)
        pairs = np.unique(events.users.astype(np.int64) * n_items + events.items)
        counts = np.bincount(pairs % n_items, minlength=n_items)
        order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
        by_item = dict(zip(events.item_ids[order].tolist(), counts[order].tolist(), strict=True))
        gone = set(unavailable)
        seen, first = np.unique(events.items, return_index=True)
        ages = (start - events.timestamps[first]) / MILLISECONDS_A_DAY
        return cls(
            users=len(events.distinct_users()),
            users_by_item=by_item,
            fill=[item for item in by_item if item not in gone],
            days_known=dict(zip(events.item_ids[seen].tolist(), ages.tolist(), strict=True)),
            bands=_bands(list(by_item)),
        )

    def filled(self, items: list[str], exclude: Collection[str]) -> list[str]:
        """Ten items: where exclusions left a list short, with the best known of all other items."""
        if len(items) >= K or not exclude:
            return items[:K]
        others = (item for item in self.fill if item not in exclude and item not in items)
        return [*items, *itertools.islice(others, K - len(items))]


def _bands(best_known_first: list[str]) -> dict[str, str]:
    """Of each item the band that it is in."""
    bounds = [round(share * len(best_known_first)) for share in BANDS.values()]
    places = np.searchsorted(bounds, np.arange(len(best_known_first)), side="right")
    names = list(BANDS)
    return {item: names[place] for item, place in zip(best_known_first, places, strict=True)}


@dataclass
class Tally:
    """What one model showed under one protocol, one value a row."""

    users: list[int] = field(default_factory=list)
    windows: list[int] = field(default_factory=list)
    history: list[int] = field(default_factory=list)
    hits: list[list[bool]] = field(default_factory=list)
    truths: list[int] = field(default_factory=list)
    shown: Counter[str] = field(default_factory=Counter)
    """In this window."""
    true_rows: list[int] = field(default_factory=list)
    true_items: list[str] = field(default_factory=list)
    true_ranks: list[int] = field(default_factory=list)
    days_known: list[float] = field(default_factory=list)
    """Of each true item."""
    by_part: Counter[str] = field(default_factory=Counter)
    hits_by_part: Counter[str] = field(default_factory=Counter)
    by_band: Counter[str] = field(default_factory=Counter)
    true_by_band: Counter[str] = field(default_factory=Counter)
    coverages: list[float] = field(default_factory=list)
    """Of each window in which something could be shown."""
    novelties: list[tuple[float, int]] = field(default_factory=list)
    """Of each window, and how many items were shown."""

    def add(
        self, window: int, visitor: Visitor, protocol: Protocol, items: Sequence[str], truth: set[str]
    ) -> None:
        """One list, best first, and what was right."""
        self.users.append(visitor.user)
        self.windows.append(window)
        self.history.append(visitor.history(protocol))
        self.hits.append(hits_of(items, truth, DEPTH))
        self.truths.append(len(truth))
        self.shown.update(items[:K])
        rank_of = {item: rank for rank, item in enumerate(items, start=1)}
        for item in sorted(truth):
            self.true_rows.append(len(self.users) - 1)
            self.true_items.append(item)
            self.true_ranks.append(rank_of.get(item, 0))

    def count_parts(self, shown: Sequence[BlendedItem], truth: set[str]) -> None:
        """By the part of the blend, what was shown and what of it was right."""
        self.by_part.update(item.source for item in shown)
        self.hits_by_part.update(item.source for item in shown if item.item_id in truth)

    def end_window(self, past: Past) -> None:
        """Put what was shown beside what was known before; a tally is of one window, until it is joined."""
        self.days_known = [past.days_known.get(item, -1.0) for item in self.true_items]
        self.true_by_band.update(past.bands.get(item, UNHEARD_OF) for item in self.true_items)
        for item, times in self.shown.items():
            self.by_band[past.bands.get(item, UNHEARD_OF)] += times
        if not self.shown:
            return
        covered = coverage(self.shown, past.users_by_item)
        if covered is not None:
            self.coverages.append(covered)
        novel = novelty(self.shown, past.users_by_item, past.users)
        if novel is not None:
            self.novelties.append((novel, self.shown.total()))
        self.shown.clear()

    @classmethod
    def joined(cls, windows: Sequence["Tally"]) -> "Tally":
        """One tally of several windows, each of which has ended."""
        whole = cls()
        for window in windows:
            offset = len(whole.users)
            whole.true_rows += [row + offset for row in window.true_rows]
            for name in _OF_ROWS:
                getattr(whole, name).extend(getattr(window, name))
            for name in _COUNTED:
                getattr(whole, name).update(getattr(window, name))
        return whole

    def rows(self) -> Rows:
        """With the metrics of each list."""
        hits = np.array(self.hits, dtype=np.bool_).reshape(-1, DEPTH)
        truths = np.array(self.truths, dtype=np.int64)
        return Rows(
            users=np.array(self.users, dtype=np.int64),
            windows=np.array(self.windows, dtype=np.int64),
            history=np.array(self.history, dtype=np.int64),
            hits=hits,
            truths=truths,
            values=row_values(hits, truths),
        )

    def found(self) -> TrueItems:
        """All that was right, and where it came."""
        return TrueItems(
            rows=np.array(self.true_rows, dtype=np.int64),
            item_ids=np.array(self.true_items, dtype=object),
            ranks=np.array(self.true_ranks, dtype=np.int64),
            days_known=np.array(self.days_known, dtype=np.float64),
        )

    def counted(self) -> Shown:
        """What was shown, by part and by band."""
        return Shown(
            by_part=dict(self.by_part),
            hits_by_part=dict(self.hits_by_part),
            by_band=dict(self.by_band),
            true_by_band=dict(self.true_by_band),
        )


_OF_ROWS: Final = (
    "users", "windows", "history", "hits", "truths", "true_items", "true_ranks", "days_known",
    "coverages", "novelties",
)  # fmt: skip
_COUNTED: Final = ("by_part", "hits_by_part", "by_band", "true_by_band")
Tallies = dict[tuple[Protocol, str, Kind], Tally]


def judged_of(served: Tally, discovery: Tally) -> Judged:
    """What one model was worth under one protocol, out of the tallies of both kinds of lists."""
    shown = sum(times for _, times in served.novelties)
    return Judged(
        rows=served.rows(),
        discovery=discovery.rows(),
        coverage=float(np.mean(served.coverages)) if served.coverages else None,
        novelty=sum(novel * times for novel, times in served.novelties) / shown if shown else None,
        true_items=served.found(),
        shown=served.counted(),
    )
