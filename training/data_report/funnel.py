"""How many who viewed put something into the cart, and how many of these bought: by users, by sessions."""

from dataclasses import dataclass
from typing import Final

import duckdb

from contract.events import ADD_TO_CART, PURCHASE, VIEW

SESSION_GAP_MS: Final = 30 * 60 * 1000
"""A visit ends with this long a silence, as web analytics has it since Catledge & Pitkow (1995)."""


@dataclass(frozen=True)
class Funnel:
    """Of users or of sessions, how many came how far; in whatever order, to whatever item."""

    unit: str
    total: int
    viewed: int
    carted: int
    """Of those who viewed."""
    bought: int
    """Of those who viewed and carted."""
    carted_unseen: int
    """Without any view."""
    bought_uncarted: int
    """Without any cart."""
    cart_rate: float
    """Of those who viewed, the share that carted; 0 where nobody viewed."""
    purchase_rate: float
    """Of those who viewed and carted, the share that bought; 0 where nobody carted."""


def funnels(connection: duckdb.DuckDBPyConnection) -> tuple[Funnel, Funnel]:
    """Of the window's users, and of its sessions; `connection` has the tables of `data_report.tables`."""
    users = "SELECT user_id, 0 AS number, event_type FROM events WHERE is_now"
    sessions = f"""
        SELECT user_id, event_type, count(*) FILTER (is_first) OVER (
            PARTITION BY user_id ORDER BY "timestamp" RANGE UNBOUNDED PRECEDING
        ) AS number
        FROM (
            SELECT user_id, event_type, "timestamp", "timestamp" - lag("timestamp") OVER (
                PARTITION BY user_id ORDER BY "timestamp"
            ) > {SESSION_GAP_MS} AS is_first
            FROM events WHERE is_now
        )
    """  # noqa: S608 - a number of ours
    return _funnel(connection, "users", users), _funnel(connection, "sessions", sessions)


def _funnel(connection: duckdb.DuckDBPyConnection, unit: str, visits: str) -> Funnel:
    row = connection.execute(
        f"""
        WITH visits AS ({visits}), steps AS (
            SELECT bool_or(event_type = $view) AS viewed, bool_or(event_type = $cart) AS carted,
                bool_or(event_type = $purchase) AS bought
            FROM visits GROUP BY user_id, number
        )
        SELECT count(*), count(*) FILTER (viewed), count(*) FILTER (viewed AND carted),
            count(*) FILTER (viewed AND carted AND bought), count(*) FILTER (carted AND NOT viewed),
            count(*) FILTER (bought AND NOT carted)
        FROM steps
        """,  # noqa: S608 - queries of ours
        {"view": VIEW, "cart": ADD_TO_CART, "purchase": PURCHASE},
    ).fetchone()
    total, viewed, carted, bought, carted_unseen, bought_uncarted = row or (0,) * 6
    return Funnel(
        unit=unit,
        total=total,
        viewed=viewed,
        carted=carted,
        bought=bought,
        carted_unseen=carted_unseen,
        bought_uncarted=bought_uncarted,
        cart_rate=carted / viewed if viewed else 0.0,
        purchase_rate=bought / carted if carted else 0.0,
    )
