"""What each candidate source is good for: what it finds, and what of it is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from training.candidates.pool import UNRANKED, Pool
from training.interactions import BoolArray, LongArray
from training.ranking.examples import Examples

Shares = dict[str, float]


@dataclass
class Proposed:
    """Counts of candidates by source, taken in part by part."""

    total: int = 0
    by_source: dict[str, int] = field(default_factory=dict)
    """How many of them each source proposed."""
    alone: dict[str, int] = field(default_factory=dict)
    """And how many of these no other did."""

    def add(self, pool: Pool, rows: LongArray | BoolArray, total: int) -> None:
        """Count some candidates of a pool, out of `total`, which may be more than any source proposed."""
        self.total += total
        is_proposed = {name: ranks[rows] < UNRANKED for name, ranks in pool.ranks.items()}
        sources = sum(np.asarray(each, dtype=np.int64) for each in is_proposed.values())
        for name, each in is_proposed.items():
            self.by_source[name] = self.by_source.get(name, 0) + int(each.sum())
            self.alone[name] = self.alone.get(name, 0) + int((each & (sources == 1)).sum())

    def shares(self, counts: Mapping[str, int]) -> Shares:
        """Of all that was counted."""
        return {name: count / self.total if self.total else 0.0 for name, count in counts.items()}


def found_by_source(parts: Sequence[Examples]) -> Proposed:
    """Of all that users carted or bought within the windows, what each source had among its proposals."""
    found = Proposed()
    for part in parts:
        found.add(part.pool, part.came_true, int(part.n_true.sum()))
    return found


def document(found: Proposed, shown: Proposed) -> dict[str, Shares]:
    """By source, shares of what came true (`found`, `found_alone`) and of first places (`shown`, …)."""
    columns = {
        "found": found.shares(found.by_source),
        "found_alone": found.shares(found.alone),
        "shown": shown.shares(shown.by_source),
        "shown_alone": shown.shares(shown.alone),
    }
    names = {**found.by_source, **shown.by_source}
    return {name: {column: shares.get(name, 0.0) for column, shares in columns.items()} for name in names}
