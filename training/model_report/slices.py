"""For whom and for what the new version is better: visitors and items in groups."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from training.bootstrap import Interval, mean_interval, paired_difference
from training.interactions import BoolArray
from training.judged import HISTORIES, PROTOCOLS, SERVED, Evaluation, Judged, Protocol
from training.ranking_metrics import DoubleArray, K

POPULAR: Final = "popular"
CATEGORIES_TOLD: Final = 15
OTHERS: Final = "all others"
NO_CATEGORY: Final = "without a category"
NEW_DAYS: Final = 14
FEWEST_USERS: Final = 20
"""Below that nothing is said to be surely better or worse: an interval of so few is too narrow."""

_HISTORY_WORDS: Final = {
    "0": "unknown visitors (0 events)",
    "1-3": "1 to 3 events",
    "4-10": "4 to 10 events",
    "11+": "11 events or more",
}
_KNOWN: Final = "known visitors (1 event or more)"


@dataclass(frozen=True)
class Slice:
    """One group, and what it is shown."""

    name: str
    n: int
    """How many values the means are of: visitors, or items that were carted or bought."""
    users: int
    """Distinct users among them; of one alone nothing tells how sure the means are."""
    ours: Interval
    popular: Interval
    difference: Interval
    """Ours less that of what is popular, pair by pair."""

    @property
    def is_surely_worse(self) -> bool:
        """Whether what is popular does better, as far as users enough can tell."""
        return self.users >= FEWEST_USERS and self.difference.high < 0


@dataclass(frozen=True)
class Slicing:
    """All groups of one kind, by protocol; a protocol nobody could be judged by has none."""

    id: str
    title: str
    unit: str
    """What is counted."""
    measure: str
    """What the figures are."""
    groups: tuple[str, ...]
    """In the order that they are told in."""
    by_protocol: Mapping[Protocol, tuple[Slice, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the groups that anybody, or anything, is in."""
        found = {each.name for slices in self.by_protocol.values() for each in slices}
        return tuple(name for name in self.groups if name in found)


@dataclass(frozen=True)
class _Values:
    """One value a row, of the new version and of what is popular."""

    ours: DoubleArray
    popular: DoubleArray
    users: np.ndarray

    def slice(self, name: str, mask: BoolArray, seed: int) -> Slice | None:
        """None where nothing is under the mask."""
        if not mask.any():
            return None
        ours, popular, users = self.ours[mask], self.popular[mask], self.users[mask]
        return Slice(
            name=name,
            n=len(ours),
            users=len(np.unique(users)),
            ours=mean_interval(ours, users, seed=seed),
            popular=mean_interval(popular, users, seed=seed),
            difference=paired_difference(ours, popular, users, seed=seed),
        )


def by_history(evaluation: Evaluation, seed: int) -> Slicing:
    """Visitors by how many events were known of them; none of them are unknown visitors."""
    bounds = {
        **{_HISTORY_WORDS.get(name, f"{name} events"): each for name, each in HISTORIES.items()},
        _KNOWN: (1, np.inf),
    }
    recall = f"recall@{K}"
    found: dict[Protocol, tuple[Slice, ...]] = {}
    for protocol, ours, popular in _judged(evaluation):
        values = _Values(ours.rows.values[recall], popular.rows.values[recall], ours.rows.users)
        history = ours.rows.history
        masks = {name: (history >= fewest) & (history <= most) for name, (fewest, most) in bounds.items()}
        found[protocol] = _slices(values, masks, seed)
    return Slicing(
        id="history",
        title="By what was known of the visitor",
        unit="visitors",
        measure=recall,
        groups=tuple(bounds),
        by_protocol=found,
    )


def by_item_age(evaluation: Evaluation, seed: int) -> Slicing:
    """Items that were carted or bought by how long the shop had known them."""
    bounds = {
        "never seen before": (-np.inf, 0),
        f"first seen in the last {NEW_DAYS} days": (0, NEW_DAYS),
        "known for longer": (NEW_DAYS, np.inf),
    }
    found: dict[Protocol, tuple[Slice, ...]] = {}
    for protocol, ours, popular in _judged(evaluation):
        days = ours.true_items.days_known
        masks = {name: (days >= start) & (days < end) for name, (start, end) in bounds.items()}
        found[protocol] = _slices(_of_true_items(ours, popular), masks, seed)
    return _of_items("item-age", "New and known items", tuple(bounds), found)


def by_category(evaluation: Evaluation, category_of: Mapping[str, str], seed: int) -> Slicing:
    """Items that were carted or bought by category: the largest ones, and all others together."""
    judged = list(_judged(evaluation))
    counts = Counter(
        category_of[item]
        for _, ours, _ in judged[:1]
        for item in ours.true_items.item_ids.tolist()
        if item in category_of
    )
    largest = [name for name, _ in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))]
    largest = largest[:CATEGORIES_TOLD]
    found: dict[Protocol, tuple[Slice, ...]] = {}
    for protocol, ours, popular in judged:
        names = np.array([category_of.get(item) for item in ours.true_items.item_ids], dtype=object)
        has_none = np.array([name is None for name in names], dtype=np.bool_)
        masks = {name: names == name for name in largest}
        is_largest = np.isin(np.where(has_none, "", names).astype(object), largest) & ~has_none
        rest = {OTHERS: ~is_largest & ~has_none, NO_CATEGORY: has_none}
        found[protocol] = _slices(_of_true_items(ours, popular), masks | rest, seed)
    return _of_items("category", "By category", (*largest, OTHERS, NO_CATEGORY), found)


def _of_items(
    id_: str, title: str, groups: tuple[str, ...], found: Mapping[Protocol, tuple[Slice, ...]]
) -> Slicing:
    return Slicing(
        id=id_,
        title=title,
        unit="items carted or bought",
        measure=f"share found in the first {K}",
        groups=groups,
        by_protocol=found,
    )


def _judged(evaluation: Evaluation) -> Sequence[tuple[Protocol, Judged, Judged]]:
    """Served and popular, of protocols by which somebody could be judged."""
    return [
        (protocol, models[SERVED], models[POPULAR])
        for protocol in reversed(PROTOCOLS)
        for models in (evaluation.judged[protocol],)
        if {SERVED, POPULAR} <= models.keys() and len(models[SERVED].rows)
    ]


def _of_true_items(ours: Judged, popular: Judged) -> _Values:
    found = [
        ((each.true_items.ranks >= 1) & (each.true_items.ranks <= K)).astype(np.float64)
        for each in (ours, popular)
    ]
    return _Values(found[0], found[1], ours.rows.users[ours.true_items.rows])


def _slices(values: _Values, masks: Mapping[str, BoolArray], seed: int) -> tuple[Slice, ...]:
    found = (values.slice(name, mask, seed) for name, mask in masks.items())
    return tuple(each for each in found if each is not None)
