"""Attributing posted events: how long ten million take, whether it grows with them, and a later hour."""

import math
import os
import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg

from benchmarks.stage import empty_database
from contract import recommendation_id
from contract.recommendation_id import Key
from lambdas.housekeeping.attribution import catch_up
from lambdas.housekeeping.settings import Settings

SIZES: Final = (1_000_000, 10_000_000)
DAYS: Final = 10
"""Of receipt; more events are a larger shop, not a longer time."""
EVENTS_A_USER: Final = 50
EVENTS_A_TRANSACTION: Final = 2_000
ANSWERED_EVERY: Final = 20
"""One event in so many names an answer, one more is a cart, and one in fifty a purchase."""

_DAY: Final = datetime.now(UTC).date() - timedelta(days=DAYS)
_START: Final = int(datetime(_DAY.year, _DAY.month, _DAY.day, tzinfo=UTC).timestamp() * 1000)
_DAY_MS: Final = 86_400_000

# Neighbours in time are of different users; a user turns to three items of their own.
_INSERT: Final = """
INSERT INTO events (received_on, user_id, event_id, item_id, event_type, "timestamp", recommendation_id)
SELECT %(day)s::date + (n * %(days)s / %(events)s)::integer, 'user-' || n * 7919 %% %(users)s, 'event-' || n,
    'item-' || (n * 7919 %% %(users)s * 31 + n / %(users)s %% 3) %% 20000,
    CASE WHEN n %% 20 = 11 THEN 'add_to_cart' WHEN n %% 50 = 13 THEN 'purchase' ELSE 'view' END,
    %(start)s + n * %(days)s * 86400000 / %(events)s, token
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n LEFT JOIN answers ON answers.event = n
"""


class Took(NamedTuple):
    """What attributing events took."""

    seconds: float
    whole: float
    """Seconds of a processor, which don't depend on what else the machine does."""
    later_hour: float
    """The same."""


def measure() -> dict[int, Took]:
    """What it takes, by number of events."""
    return {events: measure_one(events) for events in SIZES}


def measure_one(events: int) -> Took:
    """What it takes for so many, then for those of one more hour, as many as each hour had."""
    with empty_database() as (database_url, _), psycopg.connect(database_url, autocommit=True) as connection:
        hour = events // (DAYS * 24)
        for number in range(DAYS + 8):
            connection.execute("SELECT ensure_events_partition(%s)", (_DAY + timedelta(days=number),))
        _make_answers(connection, events, events + 4 * hour)
        _post(connection, events, 0, events)
        connection.execute("VACUUM ANALYZE events")
        started = time.perf_counter()
        whole = _attribute(connection, events)
        seconds = time.perf_counter() - started
        hours = []
        for number in range(3):
            first = events + number * hour
            _post(connection, events, first, first + hour)
            hours.append(_attribute(connection, hour))
    return Took(seconds, whole, statistics.median(hours))


def users_of(events: int) -> int:
    """Odd, and no multiple of five: else the same few would do all that names an answer."""
    return events // EVENTS_A_USER + 1


def exponent(took: dict[int, Took]) -> float:
    """The slope of log processor time over log events."""
    small, large = min(took), max(took)
    return math.log(took[large].whole / took[small].whole) / math.log(large / small)


def _make_answers(connection: psycopg.Connection[Any], events: int, last: int) -> None:
    """An id for each event that names an answer, as the API would have made it a minute before."""
    row = connection.execute("SELECT id, secret FROM recommendation_keys()").fetchone()
    assert row is not None  # noqa: S101 - the first call makes a key
    key = Key(*row)
    connection.execute("CREATE TABLE answers (event bigint PRIMARY KEY, token text NOT NULL)")
    with connection.cursor().copy("COPY answers FROM STDIN") as copy:
        for number in range(7, last, ANSWERED_EVERY):
            moment = _START + number * DAYS * _DAY_MS // events
            copy.write_row((number, _token(key, number, moment - 60_000, users=users_of(events))))
    connection.execute("ANALYZE answers")


def _token(key: Key, number: int, moment: int, *, users: int) -> str:
    return recommendation_id.make(
        key,
        version=f"2026010{1 + number % 2}T000000Z-3f2a91c0",
        variant="default" if number % 3 else "challenger",
        source="personalized",
        user_id=f"user-{number * 7919 % users}",
        now=moment,
    )


def _post(connection: psycopg.Connection[Any], events: int, first: int, end: int) -> None:
    values = {"day": _DAY, "days": DAYS, "events": events, "users": users_of(events), "start": _START}
    for number in range(first, end, EVENTS_A_TRANSACTION):
        last = min(number + EVENTS_A_TRANSACTION, end) - 1
        connection.execute(_INSERT, {**values, "first": number, "last": last})


def _attribute(connection: psycopg.Connection[Any], expected: int) -> float:
    before = _processor_seconds(connection)
    counted = catch_up(
        connection,
        touch_window=timedelta(hours=Settings.model_fields["attribution_hours"].default),
        most_events=Settings.model_fields["attribution_events"].default,
        seconds=math.inf,
    )
    seconds = _processor_seconds(connection) - before
    if counted != expected:
        raise RuntimeError(f"{counted} of {expected} events were attributed")
    return seconds


def _processor_seconds(connection: psycopg.Connection[Any]) -> float:
    """That the server's process of this connection has taken so far."""
    stat = Path(f"/proc/{connection.info.backend_pid}/stat").read_text()
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
