"""Models side by side, on the same visitors: by the length of their lists, at ten, and pair by pair."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from training.bootstrap import Interval, mean_interval, mean_intervals, paired_difference
from training.interactions import LongArray
from training.judged import Judged, Protocol, Rows
from training.ranking_metrics import DEPTH, LIST_METRICS, METRICS, K

CURVES: Final = ("recall", "precision", "ndcg")
CURVE_DRAWS: Final = 500
"""Enough for a band; the figures at ten have the usual number."""
LENGTHS: Final = tuple(range(1, DEPTH + 1))
DISCOVERY: Final = f"discovery_recall@{K}"
COLUMNS: Final = (*METRICS, DISCOVERY)
"""Of the figures at ten, and of the gaps."""


@dataclass(frozen=True)
class Figures:
    """What one model is worth at ten."""

    model: str
    intervals: Mapping[str, Interval]
    """By `COLUMNS`, as far as there was somebody to judge by."""


@dataclass(frozen=True)
class Gap:
    """Our figures less those of another model, pair by pair."""

    against: str
    intervals: Mapping[str, Interval]
    """By `COLUMNS`, as far as there was somebody to judge by."""


@dataclass(frozen=True)
class Comparison:
    """All models of one protocol."""

    protocol: Protocol
    ours: str
    visitors: int
    """Rows: a user counts once a window."""
    users: int
    """Distinct ones."""
    curves: Mapping[str, Mapping[str, Sequence[Interval]]]
    """By `CURVES`, then by model: of lists of `LENGTHS`."""
    figures: tuple[Figures, ...]
    gaps: tuple[Gap, ...]

    def at_ten(self, column: str, model: str | None = None) -> Interval | None:
        """A model's figure, ours by default; None where there is none."""
        name = self.ours if model is None else model
        return next((each.intervals.get(column) for each in self.figures if each.model == name), None)

    def gap(self, column: str, against: str) -> Interval | None:
        """Ours less theirs; None where that isn't known."""
        return next((each.intervals.get(column) for each in self.gaps if each.against == against), None)


def compare(
    protocol: Protocol,
    judged: Mapping[str, Judged],
    *,
    ours: str,
    plotted: Sequence[str],
    against: Sequence[str],
    seed: int,
) -> Comparison | None:
    """Of models by name; those of `plotted` and `against` that aren't there are left out.

    None where there was nobody to judge by.
    """
    if ours not in judged or not len(judged[ours].rows):
        return None
    rows = judged[ours].rows
    return Comparison(
        protocol=protocol,
        ours=ours,
        visitors=len(rows),
        users=len(set(rows.users.tolist())),
        curves=_curves({name: judged[name].rows for name in plotted if name in judged}, rows.users, seed),
        figures=tuple(Figures(name, _intervals(each, seed)) for name, each in judged.items()),
        gaps=tuple(Gap(name, _gaps(judged[ours], judged[name], seed)) for name in against if name in judged),
    )


def _curves(
    rows_of: Mapping[str, Rows], users: LongArray, seed: int
) -> dict[str, dict[str, tuple[Interval, ...]]]:
    columns = [
        LIST_METRICS[metric](rows.hits[:, :k], rows.truths)
        for metric in CURVES
        for rows in rows_of.values()
        for k in LENGTHS
    ]
    found = iter(mean_intervals(columns, users, draws=CURVE_DRAWS, seed=seed))
    return {metric: {model: tuple(islice(found, len(LENGTHS))) for model in rows_of} for metric in CURVES}


def _columns(judged: Judged) -> Iterator[tuple[str, Rows, str]]:
    for metric in METRICS:
        yield metric, judged.rows, metric
    if len(judged.discovery):
        yield DISCOVERY, judged.discovery, f"recall@{K}"


def _intervals(judged: Judged, seed: int) -> dict[str, Interval]:
    return {
        column: mean_interval(rows.values[metric], rows.users, seed=seed)
        for column, rows, metric in _columns(judged)
    }


def _gaps(ours: Judged, theirs: Judged, seed: int) -> dict[str, Interval]:
    other = {column: rows.values[metric] for column, rows, metric in _columns(theirs)}
    return {
        column: paired_difference(rows.values[metric], other[column], rows.users, seed=seed)
        for column, rows, metric in _columns(ours)
    }
