"""Everybody's metrics by one function, out of lists and truth alone, and the bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.bars import Bar
from benchmarks.quality.split import Case, Split
from training.bootstrap import (
    Interval,
    UndefinedRatioError,
    holm,
    mean_interval,
    p_value_greater,
    paired_difference,
    paired_ratio,
)
from training.errors import BadInputError, TooLittleDataError
from training.interactions import LongArray
from training.judged import KINDS, PROTOCOLS
from training.ranking_metrics import DoubleArray, hits_of, row_values

OURS = "ours"
POPULAR = "popular"
BEATEN_BELOW = 0.025
"""A one-sided p-value below it is a two-sided interval of 95 % that excludes zero."""

Shown = dict[tuple[int, str], list[str]]
"""By window and user the items shown, best first."""
Part = tuple[str, str]
"""A protocol and a kind of list, `served` or `discovery`."""


def read_lists(file: Path, *, names: Mapping[str, str]) -> dict[tuple[str, Part], Shown]:
    """Lists by contestant, protocol and kind; `names` gives `peer` and `protocol` where no column does."""
    rows = pq.read_table(file).sort_by(
        [("window", "ascending"), ("user_id", "ascending"), ("rank", "ascending")]
    )
    columns = {
        name: rows[name].to_pylist() if name in rows.column_names else [names[name]] * rows.num_rows
        for name in ("peer", "protocol", "kind", "window", "user_id", "item_id")
    }
    lists: dict[tuple[str, Part], Shown] = {}
    for peer, protocol, kind, window, user, item in zip(*columns.values(), strict=True):
        lists.setdefault((peer, (protocol, kind)), {}).setdefault((window, user), []).append(item)
    return lists


@dataclass(frozen=True)
class Rows:
    """n rows, one a user and window with truth, the same for all contestants."""

    users: LongArray
    windows: LongArray
    values: dict[str, dict[str, DoubleArray]]
    """By contestant and metric."""

    def within(self, windows: Sequence[int]) -> "Rows":
        """Only those of some windows."""
        mask = np.isin(self.windows, windows)
        return Rows(
            self.users[mask],
            self.windows[mask],
            {
                name: {metric: column[mask] for metric, column in metrics.items()}
                for name, metrics in self.values.items()
            },
        )

    def best(self, peers: Sequence[str], metric: str) -> str:
        """The peer with the highest mean."""
        return max(peers, key=lambda name: float(np.mean(self.values[name][metric])))

    def interval(self, name: str, metric: str) -> Interval:
        """A contestant's mean."""
        return mean_interval(self.values[name][metric], self.users)


def judge(split: Split, lists: Mapping[tuple[str, Part], Shown]) -> dict[Part, Rows]:
    """All contestants' metrics, row by row.

    Raises BadInputError where one answered for other users than those of the split.
    """
    parts = [(protocol, kind) for protocol in PROTOCOLS for kind in KINDS]
    return {part: _judged(part, split.cases, lists) for part in parts}


def _judged(part: Part, cases: Sequence[Case], lists: Mapping[tuple[str, Part], Shown]) -> Rows:
    protocol, kind = part
    numbers = {user: number for number, user in enumerate(sorted({case.user_id for case in cases}))}
    asked = {(case.window, case.user_id) for case in cases}
    truths = [(case, case.truth if kind == "served" else case.unseen[protocol]) for case in cases]
    counting = [(case, truth) for case, truth in truths if truth]
    sizes = np.array([len(truth) for _, truth in counting], dtype=np.int64)
    values = {}
    for name in sorted({name for name, _ in lists}):
        shown = lists.get((name, part), {})
        _refuse_other_users(name, part, set(shown), asked)
        hits = [hits_of(shown[case.window, case.user_id], truth) for case, truth in counting]
        values[name] = row_values(np.array(hits, dtype=np.bool_).reshape(len(hits), -1), sizes)
    return Rows(
        users=np.array([numbers[case.user_id] for case, _ in counting], dtype=np.int64),
        windows=np.array([case.window for case, _ in counting], dtype=np.int64),
        values=values,
    )


def _refuse_other_users(
    name: str, part: Part, shown: set[tuple[int, str]], asked: set[tuple[int, str]]
) -> None:
    if shown != asked:
        raise BadInputError(
            f"{name}: answered in {' '.join(part)} for {len(shown - asked)} users and windows that the split "
            f"doesn't have, and not for {len(asked - shown)} that it has: all must answer for the same"
        )


def bars(split: Split, judged: Mapping[Part, Rows], peers: Sequence[str]) -> list[Bar]:
    """The bars, on the windows that nothing was tuned on; each estimate stands beside its bar.

    Raises TooLittleDataError where so little was found that there is no ratio.
    """
    last = {part: rows.within(split.judged) for part, rows in judged.items()}
    recall = {protocol: ratio(last[protocol, "served"], peers) for protocol in PROTOCOLS}
    discovery = {protocol: ratio(last[protocol, "discovery"], peers) for protocol in PROTOCOLS}
    hardest = min(discovery.values(), key=lambda interval: interval.high)
    beaten = {
        name for protocol in PROTOCOLS for name in beating(last[protocol, "served"], peers)
    }  # fmt: skip
    excluded = all(exceeds_popularity(last[protocol, "served"]) for protocol in PROTOCOLS)
    found = []
    for protocol, interval in recall.items():
        found.append(Bar(f"recall_vs_best_peer_{protocol}", interval.high, 1.0, "higher"))
        found.append(Bar(f"recall_estimate_{protocol}", interval.value, None, "higher"))
    found.append(Bar("beaten_by_any_peer", len(beaten), 0, "lower"))
    found.append(Bar("discovery_vs_best_peer", hardest.high, 1.05, "higher"))
    for protocol, interval in discovery.items():
        found.append(Bar(f"discovery_estimate_{protocol}", interval.value, None, "higher"))
    return [*found, Bar("popularity_excluded", int(excluded), 1, "higher")]


def ratio(rows: Rows, peers: Sequence[str], metric: str = "recall@10") -> Interval:
    """Ours to the best peer's, by the peer's mean on these very rows: the hardest choice for us."""
    best = rows.best(peers, metric)
    try:
        return paired_ratio(rows.values[OURS][metric], rows.values[best][metric], rows.users)
    except UndefinedRatioError as error:
        raise TooLittleDataError(
            f"{best}, the best peer, found too little to compare with: {error}"
        ) from error


def beating(rows: Rows, peers: Sequence[str]) -> dict[str, float]:
    """The peers that are surely better in recall or precision, with their adjusted p-value."""
    better: dict[str, float] = {}
    for metric in ("recall@10", "precision@10"):
        ours = rows.values[OURS][metric]
        p_values = {
            name: p_value_greater(rows.values[name][metric], ours, rows.users) for name in peers
        }  # fmt: skip
        for name, p_value in holm(p_values).items():
            if p_value < BEATEN_BELOW:
                better[name] = min(p_value, better.get(name, 1.0))
    return better


def exceeds_popularity(rows: Rows) -> bool:
    """Whether the interval of ours against popularity lies above zero."""
    values = {name: rows.values[name]["recall@10"] for name in (OURS, POPULAR)}
    return paired_difference(values[OURS], values[POPULAR], rows.users).low > 0
