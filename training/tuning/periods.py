"""Days to search by, and later days to judge the outcome by, which the search never sees."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.backtest import refuse_without_truth
from training.interactions import IntArray, Interactions, distinct
from training.moments import MILLISECONDS_A_DAY, format_moment
from training.split import Window, windows


@dataclass(frozen=True)
class Periods:
    """Windows, the latest first; those for tuning end where the first test window starts."""

    tuning: tuple[Window, ...]
    test: tuple[Window, ...]
    notes: tuple[str, ...]
    """What is not as it was asked."""

    @property
    def test_start(self) -> int:
        """No event from here on reaches the search, ms UTC."""
        return self.test[-1].start


def split_periods(events: Interactions, *, days: float, tuning: int, test: int) -> Periods:
    """`test` windows of `days` each at the end of the events, `tuning` ones before them.

    Raises TooLittleDataError where not even an hour can be held out, or where nobody has a target event.
    """
    held_out = windows(events, days=days, count=test, end=int(events.timestamps[-1]) + 1)
    refuse_without_truth(events, held_out)
    start = held_out[-1].start
    before = events.before(start)
    searched = windows(before, days=days, count=tuning, end=start)
    refuse_without_truth(before, searched)
    notes = [
        *_shrunk("tuning", searched, asked=tuning, days=days),
        *_shrunk("test", held_out, asked=test, days=days),
    ]
    return Periods(tuple(searched), tuple(held_out), tuple(notes))


def _shrunk(kind: str, found: Sequence[Window], *, asked: int, days: float) -> list[str]:
    length = (found[0].end - found[0].start) / MILLISECONDS_A_DAY
    if len(found) == asked and round(length, 6) >= days:
        return []
    between = f"from {format_moment(found[-1].start)} to {format_moment(found[0].end)}"
    there = f"there are {len(found)} of {length:.6g} days, {between}"
    return [f"the events span too little for {asked} {kind} windows of {days:g} days: {there}"]


def as_if_ended(events: Interactions, end: int) -> Interactions:
    """The events before `end` (ms UTC) as if read then: no id or kind tells of later ones."""
    known = events.before(end).compact()
    kinds = distinct(known.event_types)
    return replace(
        known,
        event_type_names=tuple(known.event_type_names[kind] for kind in kinds),
        event_types=np.searchsorted(kinds, known.event_types).astype(np.int32),
    )


def buyers(events: Interactions, held_out: Sequence[Window]) -> IntArray:
    """The users who have a target event in any of the windows."""
    inside = events.between(held_out[-1].start, held_out[0].end)
    return inside.where(inside.is_target).distinct_users()
