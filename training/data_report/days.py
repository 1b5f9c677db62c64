"""How much happened on each day, and on which days far less than usual."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median
from typing import Final, Literal

import duckdb

from contract.events import KNOWN_EVENT_TYPES
from training.data_report.window import Window

Verdict = Literal["usual", "low", "empty", "cut off"]

WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
OTHERS: Final = "(all others)"
"""What stands for the types, or items, beyond those that are told."""

LOW_SHARE: Final = 0.5
"""A low day has less than this share of what is usual on its weekday …"""
LOW_SCORE: Final = -3.5
"""… and a modified z-score below this (Iglewicz & Hoaglin, How to Detect and Handle Outliers, 1993)."""

_MAD_TO_SIGMA: Final = 0.6745
_ENOUGH_OF_A_WEEKDAY: Final = 3
_TYPES_TOLD: Final = 10


@dataclass(frozen=True)
class Day:
    """One day (UTC) of the window."""

    day: date
    weekday: str
    events: int
    users: int
    by_type: Mapping[str, int]
    usual: float | None
    """Events on the median day of this weekday; None where no full day is known."""
    verdict: Verdict
    """`cut off` is the last day, where `as_of` lies within it."""


@dataclass(frozen=True)
class DailyCounts:
    """Events by day and type, of both windows."""

    counts: Mapping[tuple[date, str], int]
    event_types: tuple[str, ...]
    """The known ones first, the most frequent next; beyond some, `OTHERS`."""

    def by_day(self, days: Iterable[date]) -> dict[date, int]:
        """Events of each of these days."""
        return {day: sum(self.on(day).values()) for day in days}

    def by_type(self, window: Window) -> dict[str, int]:
        """Events of each type, 0 for one that is only found in the other window."""
        days = window.days
        return {kind: sum(self.counts.get((day, kind), 0) for day in days) for kind in self.event_types}

    def on(self, day: date) -> dict[str, int]:
        """Events of each type on one day."""
        return {kind: self.counts.get((day, kind), 0) for kind in self.event_types}


def daily_counts(connection: duckdb.DuckDBPyConnection) -> DailyCounts:
    """Count them; `connection` has the tables of `data_report.tables`."""
    rows = connection.execute(
        "SELECT event_type FROM events GROUP BY event_type ORDER BY count(*) DESC, event_type"
    ).fetchall()
    found = [kind for (kind,) in rows]
    ordered = [kind for kind in KNOWN_EVENT_TYPES if kind in found]
    ordered += [kind for kind in found if kind not in KNOWN_EVENT_TYPES]
    told = ordered[:_TYPES_TOLD]
    counts = connection.execute(
        """
        SELECT day, CASE WHEN list_contains($told, event_type) THEN event_type ELSE $others END, count(*)
        FROM events GROUP BY ALL
        """,
        {"told": told, "others": OTHERS},
    ).fetchall()
    event_types = tuple(told if ordered == told else [*told, OTHERS])
    return DailyCounts({(day, kind): events for day, kind, events in counts}, event_types)


def judged_days(
    connection: duckdb.DuckDBPyConnection, counts: DailyCounts, window: Window, before: Window | None
) -> tuple[Day, ...]:
    """All days of the window, each next to what is usual in both windows."""
    full = counts.by_day([*(before.full_days if before else []), *window.full_days])
    usual = usual_events(full)
    verdicts = judge_days(window.days, full)
    users: dict[date, int] = dict(
        connection.execute(
            "SELECT day, count(DISTINCT user_id) FROM events WHERE is_now GROUP BY day"
        ).fetchall()
    )
    return tuple(
        Day(
            day=day,
            weekday=WEEKDAYS[day.weekday()],
            events=sum(counts.on(day).values()),
            users=users.get(day, 0),
            by_type=counts.on(day),
            usual=usual[day.weekday()] if full else None,
            verdict=verdicts[day],
        )
        for day in window.days
    )


def usual_events(events_by_day: Mapping[date, int]) -> dict[int, float]:
    """The median of each weekday's days (0 is Monday); of all days for weekdays with too few."""
    by_weekday: dict[int, list[int]] = {weekday: [] for weekday in range(7)}
    for day, events in events_by_day.items():
        by_weekday[day.weekday()].append(events)
    overall = median(events_by_day.values()) if events_by_day else 0
    return {
        weekday: float(median(known) if len(known) >= _ENOUGH_OF_A_WEEKDAY else overall)
        for weekday, known in by_weekday.items()
    }


def judge_days(days: Sequence[date], events_by_day: Mapping[date, int]) -> dict[date, Verdict]:
    """For each of the days what to think of it; those not in `events_by_day` are cut off.

    `events_by_day` has every full day that is known, also those before the window, with 0 where nothing
    happened. A day is compared with its own weekday, and its deviation with that of all days.
    """
    usual = usual_events(events_by_day)
    ratios = {
        day: events / usual[day.weekday()] if usual[day.weekday()] else 1.0
        for day, events in events_by_day.items()
    }
    middle = median(ratios.values()) if ratios else 1.0
    spread = median(abs(ratio - middle) for ratio in ratios.values()) if ratios else 0.0
    return {day: _verdict(events_by_day.get(day), ratios.get(day, 1.0), middle, spread) for day in days}


def _verdict(events: int | None, ratio: float, middle: float, spread: float) -> Verdict:
    if events is None:
        return "cut off"
    if not events:
        return "empty"
    # Multiplied out, because the spread is 0 where most days are alike.
    is_far = _MAD_TO_SIGMA * (ratio - middle) < LOW_SCORE * spread
    return "low" if ratio < LOW_SHARE and is_far else "usual"
