"""Users that behave like programs: few plain rules, each told with what it found.

After the signs that studies of web robots agree on: pace, hours, breadth without a purchase (Tan & Kumar,
Discovery of Web Robot Sessions Based on Their Navigational Patterns, 2002; Kohavi & Parekh, Ten
Supplementary Analyses to Improve E-commerce Web Sites, 2003).
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import duckdb

FLAGGED_TOLD: Final = 50


@dataclass(frozen=True)
class BotRules:
    """From where on a user is flagged."""

    fast_moments: int = 100
    """Moments of one day (UTC) with an event: a basket that is bought at once is one …"""
    fast_gap_ms: int = 2_000
    """… half of them at most this long after the one before."""
    sleepless_hours: int = 22
    """Different hours of one day with an event."""
    many_items: int = 500
    """Different items in the window, without a single cart or purchase."""


@dataclass(frozen=True)
class BotLike:
    """One flagged user."""

    pseudonym: str
    events: int
    share: float
    """Of all events of the window."""
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Concentration:
    """How much of all comes from few, and from users that are flagged."""

    flagged_users: int
    flagged_events: int
    flagged_share: float
    """Of all events."""
    flagged: tuple[BotLike, ...]
    """Those with the most events."""
    top_users: int
    """One in a hundred, at least one."""
    top_share: float
    """Of all events, by these."""


def pseudonym(user_id: str) -> str:
    """A short hash that keeps an id off the page; whoever has the id can find it again."""
    return hashlib.sha256(user_id.encode()).hexdigest()[:12]


def concentration(connection: duckdb.DuckDBPyConnection, rules: BotRules | None = None) -> Concentration:
    """Who did most in the window; `connection` has the tables of `data_report.tables`."""
    rules = rules or BotRules()
    total, users = connection.execute("SELECT sum(events), count(*) FROM users WHERE is_now").fetchone() or (
        0,
        0,
    )
    events, reasons = _flagged(connection, rules)
    flagged = [
        BotLike(pseudonym(user), events[user], events[user] / total, tuple(reasons[user])) for user in reasons
    ]
    flagged.sort(key=lambda user: (-user.events, user.pseudonym))
    top_users = -(-users // 100)
    top_events = connection.execute(
        "SELECT sum(events) FROM (SELECT events FROM users WHERE is_now ORDER BY events DESC LIMIT $n)",
        {"n": top_users},
    ).fetchone() or (0,)
    flagged_events = sum(user.events for user in flagged)
    return Concentration(
        flagged_users=len(flagged),
        flagged_events=flagged_events,
        flagged_share=flagged_events / total,
        flagged=tuple(flagged[:FLAGGED_TOLD]),
        top_users=top_users,
        top_share=int(top_events[0]) / total,
    )


def _flagged(
    connection: duckdb.DuckDBPyConnection, rules: BotRules
) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Events and reasons of each flagged user."""
    events: dict[str, int] = {}
    reasons: dict[str, list[str]] = {}
    for rows in (_fast(connection, rules), _sleepless(connection, rules), _browsing(connection, rules)):
        for user, count, reason in rows:
            events[user] = count
            reasons.setdefault(user, []).append(reason)
    return events, reasons


def _fast(connection: duckdb.DuckDBPyConnection, rules: BotRules) -> list[tuple[str, int, str]]:
    rows = connection.execute(
        """
        WITH busy AS (
            SELECT user_id, day FROM events WHERE is_now GROUP BY user_id, day HAVING count(*) >= $moments
        ), moments AS (
            SELECT DISTINCT user_id, day, "timestamp" FROM events SEMI JOIN busy USING (user_id, day)
        ), gaps AS (
            SELECT user_id, day,
                "timestamp" - lag("timestamp") OVER (PARTITION BY user_id, day ORDER BY "timestamp") AS gap
            FROM moments
        ), fast AS (
            SELECT user_id, day, count(*) AS on_day, quantile_disc(gap, 0.5) AS typical
            FROM gaps GROUP BY user_id, day HAVING on_day >= $moments AND typical <= $gap
        )
        SELECT user_id, any_value(events), max(on_day), min(typical)
        FROM fast JOIN users USING (user_id) WHERE is_now GROUP BY user_id ORDER BY user_id
        """,
        {"moments": rules.fast_moments, "gap": rules.fast_gap_ms},
    ).fetchall()
    return [
        (
            user,
            events,
            f"{on_day:,} clicks on one day, half of them within {gap / 1000:.1f} s of the one before",
        )
        for user, events, on_day, gap in rows
    ]


def _sleepless(connection: duckdb.DuckDBPyConnection, rules: BotRules) -> list[tuple[str, int, str]]:
    rows = connection.execute(
        """
        WITH awake AS (
            SELECT user_id, count(DISTINCT "timestamp" // 3600000) AS hours
            FROM events SEMI JOIN (SELECT * FROM users WHERE is_now AND events >= $hours) USING (user_id)
            WHERE is_now GROUP BY user_id, day HAVING hours >= $hours
        )
        SELECT user_id, any_value(events), max(hours), count(*)
        FROM awake JOIN users USING (user_id) WHERE is_now GROUP BY user_id ORDER BY user_id
        """,
        {"hours": rules.sleepless_hours},
    ).fetchall()
    return [
        (user, events, f"active in {hours} of 24 hours, on {days:,} {'day' if days == 1 else 'days'}")
        for user, events, hours, days in rows
    ]


def _browsing(connection: duckdb.DuckDBPyConnection, rules: BotRules) -> list[tuple[str, int, str]]:
    rows = connection.execute(
        """
        SELECT user_id, count(*), count(DISTINCT item_id) AS items
        FROM events SEMI JOIN (
            SELECT user_id FROM users WHERE is_now AND targets = 0 AND events >= $items
        ) USING (user_id)
        WHERE is_now GROUP BY user_id HAVING items >= $items ORDER BY user_id
        """,
        {"items": rules.many_items},
    ).fetchall()
    return [
        (user, events, f"{items:,} different items, and not one put into the cart or bought")
        for user, events, items in rows
    ]
