"""Dropping days of posted events from Postgres, once all that they hold was exported."""

import re
from datetime import date
from typing import Final

from psycopg import sql

from contract.recommendations import EVENTS_TABLE
from training.database import EXPORT_LOCK, Connection, alone, connected, one_value, patience
from training.partitions import detach, drop, finalize

PATIENCE_SECONDS: Final = 10.0
_TABLE: Final = re.compile(rf"{EVENTS_TABLE}_(\d{{4}})(\d{{2}})(\d{{2}})")


def drop_exported_days(
    database_url: str, *, keep_days: int, wait: bool = False, patience_seconds: float = PATIENCE_SECONDS
) -> tuple[str, ...]:
    """Drop days of receipt that ended more than `keep_days` days ago, as far as exports cover them.

    The days that were dropped, YYYY-MM-DD. A day that somebody still uses is left for the next time.
    Raises VersionError where another exports and `wait` is not set.
    """
    with connected(database_url) as connection, alone(connection, wait=wait, lock=EXPORT_LOCK):
        exported_to = _exported_to(connection)
        if exported_to is None:
            return ()
        with patience(connection, patience_seconds):
            finalize(connection, EVENTS_TABLE)
            return tuple(
                day.isoformat()
                for name, day in _old_days(connection, keep_days).items()
                if _dropped(connection, name, day, exported_to)
            )


def _exported_to(connection: Connection) -> str | None:
    """The first transaction that is not exported; None where an export is open, or of another system."""
    row = connection.execute(
        "SELECT to_xid::text, state = 'done'"
        " AND system_identifier = (SELECT system_identifier::text FROM pg_control_system())"
        " FROM event_exports ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return row[0] if row and row[1] else None


def _old_days(connection: Connection, keep_days: int) -> dict[str, date]:
    """The tables, attached or not, of days that ended more than so many days ago, oldest first."""
    today: date = one_value(connection, "SELECT (now() AT TIME ZONE 'UTC')::date")
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        " AND starts_with(relname, %s) ORDER BY relname",
        (f"{EVENTS_TABLE}_",),
    ).fetchall()
    days = {name: date(*map(int, match.groups())) for (name,) in rows if (match := _TABLE.fullmatch(name))}
    return {name: day for name, day in days.items() if (today - day).days > keep_days}


def _dropped(connection: Connection, name: str, day: date, exported_to: str) -> bool:
    # Looked at twice: what is committed until the table stands alone may not be exported yet.
    if not _is_exported(connection, name, exported_to) or not detach(connection, EVENTS_TABLE, name):
        return False
    if _is_exported(connection, name, exported_to):
        return drop(connection, name)
    connection.execute(
        sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            sql.Identifier(EVENTS_TABLE),
            sql.Identifier(name),
            sql.Literal(day),
            sql.Literal(date.fromordinal(day.toordinal() + 1)),
        )
    )
    return False


def _is_exported(connection: Connection, name: str, exported_to: str) -> bool:
    rows = sql.SQL("SELECT FROM {} WHERE xid >= {} LIMIT 1").format(
        sql.Identifier(name), sql.Literal(exported_to)
    )
    return connection.execute(rows).fetchone() is None
