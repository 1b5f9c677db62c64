"""What visitors did with answers: counted in Postgres, told as gauges. docs/attribution.md defines it.

Gauges, not counters: what came late may take a cart from one version and give it to another, and a database
that was restored knows less than it did.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

import psycopg

from contract.metrics import (
    ANSWER_OUTCOMES,
    ATTRIBUTED_EVENTS,
    ATTRIBUTION_ANSWERS,
    ATTRIBUTION_EVENTS,
    ATTRIBUTION_IDS,
    ID_VERDICTS,
    OTHER,
    VERSIONS_ATTRIBUTED,
    WINDOWS,
)
from lambdas.housekeeping.measured import Measured

logger = logging.getLogger(__name__)

Connection = psycopg.Connection[tuple[Any, ...]]

_IS_DUE: Final[LiteralString] = """
SELECT caught_up_at IS NULL OR caught_up_at <= clock_timestamp() - %s FROM attribution_progress
"""
_COUNT: Final[LiteralString] = "SELECT counted, is_done FROM count_attribution(%s, %s)"
_COUNTED: Final[LiteralString] = """
SELECT outcome, version, variant, sum(number)::bigint, max(hour) FROM attributed
WHERE hour > %(now)s - %(window)s AND hour <= %(now)s GROUP BY outcome, version, variant
"""
_UNTIL: Final[LiteralString] = "SELECT extract(epoch FROM counted_until) FROM attribution_progress"


def is_due(connection: Connection, *, every: timedelta) -> bool:
    """Whether the last time that all events were counted is so long ago."""
    row = connection.execute(_IS_DUE, (every,)).fetchone()
    assert row is not None  # noqa: S101 - the migration makes the row
    return bool(row[0])


def catch_up(connection: Connection, *, touch_window: timedelta, most_events: int, seconds: float) -> int:
    """Count the events that were not counted yet, about so many at a time; how many it were.

    After so many seconds the others are left for the next run.
    """
    end = time.monotonic() + seconds
    counted, is_done = 0, False
    while not is_done and time.monotonic() < end:
        row = connection.execute(_COUNT, (touch_window, most_events)).fetchone()
        assert row is not None  # noqa: S101 - a function with OUT parameters always gives one
        counted, is_done = counted + row[0], row[1]
    if not is_done:
        logger.warning("%d events are attributed, the others are left for the next run", counted)
    return counted


def counted_until(connection: Connection) -> float | None:
    """The moment of receipt up to which events are counted, in seconds since 1970 UTC; None before that."""
    row = connection.execute(_UNTIL).fetchone()
    return None if row is None or row[0] is None else float(row[0])


def attributed(connection: Connection, *, now: datetime) -> Iterator[Measured]:
    """What was counted of the days before `now`, for each window."""
    for window, days in WINDOWS.items():
        values = {"now": now, "window": timedelta(days=days)}
        rows = connection.execute(_COUNTED, values).fetchall()
        yield from _answers(window, rows)
        yield from _events(window, rows)
        yield from _ids(window, rows)


def _answers(window: str, rows: list[tuple[Any, ...]]) -> Iterator[Measured]:
    """By version and variant, the latest of them apart; each outcome of each, so that a rate can be 0."""
    of_answers = [row for row in rows if row[0] in ANSWER_OUTCOMES]
    latest: dict[tuple[str, str], datetime] = {}
    for _, version, variant, _, hour in of_answers:
        latest[version, variant] = max(hour, latest.get((version, variant), hour))
    told_apart = sorted(latest, key=lambda pair: (latest[pair], pair), reverse=True)[:VERSIONS_ATTRIBUTED]
    numbers: Counter[tuple[str, str, str]] = Counter()
    for outcome, version, variant, number, _ in of_answers:
        pair = (version, variant) if (version, variant) in told_apart else (OTHER, OTHER)
        for each in ANSWER_OUTCOMES:
            numbers[each, *pair] += number if each == outcome else 0
    for labels, number in numbers.items():
        yield Measured(ATTRIBUTION_ANSWERS, number, (*labels, window))


def _events(window: str, rows: list[tuple[Any, ...]]) -> Iterator[Measured]:
    for event_type in ATTRIBUTED_EVENTS:
        of_type = [(version, number) for outcome, version, _, number, _ in rows if outcome == event_type]
        begun = sum(number for version, number in of_type if version)
        otherwise = sum(number for version, number in of_type if not version)
        yield Measured(ATTRIBUTION_EVENTS, begun, (event_type, "recommendation", window))
        yield Measured(ATTRIBUTION_EVENTS, otherwise, (event_type, "otherwise", window))


def _ids(window: str, rows: list[tuple[Any, ...]]) -> Iterator[Measured]:
    numbers = {outcome: number for outcome, _, _, number, _ in rows}
    for verdict in ID_VERDICTS:
        yield Measured(ATTRIBUTION_IDS, numbers.get(verdict, 0), (verdict, window))
