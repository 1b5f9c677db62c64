"""Which distributions of events are compared with those of the window before."""

from collections.abc import Iterator
from typing import Final

import duckdb
import pyarrow as pa

from training.data_report.days import OTHERS, WEEKDAYS, DailyCounts
from training.data_report.drift import Drift, drift
from training.data_report.window import Window

NO_CATEGORY: Final = "(no category)"

_LABELS_COMPARED: Final = 20
_EVENTS_PER_USER: Final = (1, 2, 3, 5, 10, 20, 50, 100)
"""Where each class begins."""


def changes(
    connection: duckdb.DuckDBPyConnection,
    counts: DailyCounts,
    window: Window,
    before: Window,
    item_categories: pa.Table | None,
) -> Iterator[Drift]:
    """Every comparison that makes sense for these windows; `connection` has those tables.

    `item_categories` has `item_id` and `category_id`, each item once; None where the shop has no catalogue.
    """
    found = [
        drift("event types", "events", counts.by_type(before), counts.by_type(window)),
        _of_hours(connection, window, before),
        _of_weekdays(counts, window, before),
        _of_items(connection),
        _of_categories(connection, item_categories),
        _of_users(connection) if len(window.days) == len(before.days) else None,
    ]
    yield from filter(None, found)


def _of_hours(connection: duckdb.DuckDBPyConnection, window: Window, before: Window) -> Drift | None:
    """Of full days only: one that is cut off lacks its evening."""
    rows = connection.execute(
        """
        SELECT is_now, "timestamp" // 3600000 % 24, count(*) FROM events
        WHERE list_contains($full, day) GROUP BY ALL
        """,
        {"full": [*before.full_days, *window.full_days]},
    ).fetchall()
    by_window = {side: {f"{hour:02}": 0.0 for hour in range(24)} for side in (False, True)}
    for is_now, hour, events in rows:
        by_window[is_now][f"{hour:02}"] = events
    return drift("hours of the day (UTC)", "events on full days", by_window[False], by_window[True])


def _of_weekdays(counts: DailyCounts, window: Window, before: Window) -> Drift | None:
    """Of means over full days; None where one of the windows lacks a weekday."""
    observed = tuple(sum(counts.by_day(side.full_days).values()) for side in (before, window))
    means = [_means_by_weekday(counts, side) for side in (before, window)]
    if not all(len(known) == len(WEEKDAYS) for known in means):
        return None
    return drift("weekdays", "events on a mean full day", *means, observed=(observed[0], observed[1]))


def _means_by_weekday(counts: DailyCounts, window: Window) -> dict[str, float]:
    by_weekday: dict[str, list[int]] = {name: [] for name in WEEKDAYS}
    for day, events in counts.by_day(window.full_days).items():
        by_weekday[WEEKDAYS[day.weekday()]].append(events)
    return {name: sum(known) / len(known) for name, known in by_weekday.items() if known}


def _of_items(connection: duckdb.DuckDBPyConnection) -> Drift | None:
    return _of_most_frequent(connection, "most frequent items", "SELECT item_id AS label, is_now FROM events")


def _of_categories(connection: duckdb.DuckDBPyConnection, item_categories: pa.Table | None) -> Drift | None:
    if item_categories is None:
        return None
    connection.register("item_categories", item_categories)
    return _of_most_frequent(
        connection,
        "most frequent categories",
        f"SELECT coalesce(category_id, '{NO_CATEGORY}') AS label, is_now "  # noqa: S608 - a text of ours
        "FROM events LEFT JOIN item_categories USING (item_id)",
    )


def _of_most_frequent(connection: duckdb.DuckDBPyConnection, name: str, labelled: str) -> Drift | None:
    """Of the labels that are the most frequent in both windows together, and of all others as one."""
    rows = connection.execute(
        f"""
        WITH labelled AS ({labelled}), counted AS (
            SELECT label, count(*) FILTER (NOT is_now) AS before, count(*) FILTER (is_now) AS now
            FROM labelled GROUP BY label
        ), ranked AS (
            SELECT *, row_number() OVER (ORDER BY before + now DESC, label) AS place FROM counted
        )
        SELECT CASE WHEN place <= $n THEN label ELSE $others END AS told, sum(before), sum(now)
        FROM ranked GROUP BY told ORDER BY min(place)
        """,  # noqa: S608 - queries of ours
        {"n": _LABELS_COMPARED, "others": OTHERS},
    ).fetchall()
    before = {label: int(events) for label, events, _ in rows}
    now = {label: int(events) for label, _, events in rows}
    return drift(name, "events", before, now)


def _of_users(connection: duckdb.DuckDBPyConnection) -> Drift | None:
    rows = connection.execute(
        """
        SELECT is_now, list_max(list_filter($starts, lambda start: start <= events)), count(*)
        FROM users GROUP BY ALL
        """,
        {"starts": list(_EVENTS_PER_USER)},
    ).fetchall()
    by_window = {side: {_class(start): 0.0 for start in _EVENTS_PER_USER} for side in (False, True)}
    for is_now, start, users in rows:
        by_window[is_now][_class(start)] = users
    return drift("events per user", "users", by_window[False], by_window[True])


def _class(start: int) -> str:
    """How the class of numbers that begins with `start` is called."""
    following = _EVENTS_PER_USER[_EVENTS_PER_USER.index(start) + 1 :]
    if not following:
        return f"{start} or more"
    return str(start) if following[0] == start + 1 else f"{start} to {following[0] - 1}"
