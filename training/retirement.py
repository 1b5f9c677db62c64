"""Taking versions out of Postgres without a reader noticing, and cleaning up what was interrupted.

A partition leaves by `DETACH … CONCURRENTLY`, which waits for whoever reads the table. That wait is
limited: what can't be removed now stays marked as `dropping`, and whoever comes next goes on with it.
"""

import re
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from contract.recommendations import LISTS_TABLE
from training.database import (
    Connection,
    alone,
    connected,
    lists_table,
    lists_table_name,
    one_value,
    patience,
)
from training.errors import VersionError
from training.serving import VersionInfo, find, versions

KEEP: Final = 3
PATIENCE_SECONDS: Final = 10.0

_LISTS: Final = sql.Identifier(LISTS_TABLE)


@dataclass(frozen=True)
class RetireReport:
    """What a retirement did."""

    dropped: tuple[str, ...]
    pending: tuple[str, ...]
    """Marked for removal, but somebody still reads the table: the next load or retirement removes them."""
    kept: tuple[str, ...]


def retire_versions(
    database_url: str, keep: int = KEEP, *, wait: bool = False, patience_seconds: float = PATIENCE_SECONDS
) -> RetireReport:
    """Drop all but the newest `keep` ready versions and those that a variant serves.

    Raises VersionError where another loads or drops and `wait` is not set.
    """
    if keep < 1:
        raise VersionError(f"{keep} versions can't be kept: expected 1 or more")
    with connected(database_url) as connection, alone(connection, wait=wait):
        ready = [info for info in versions(connection) if info.state == "ready"]
        old = [info for info in ready[keep:] if not info.variants]
        for info in old:
            _mark(connection, info)
        clean_up(connection, patience_seconds=patience_seconds)
        left = {info.name: info.state for info in versions(connection)}
    return RetireReport(
        dropped=tuple(info.name for info in old if info.name not in left),
        pending=tuple(name for name, state in left.items() if state == "dropping"),
        kept=tuple(name for name, state in left.items() if state == "ready"),
    )


def drop_version(
    database_url: str, version: str, *, wait: bool = False, patience_seconds: float = PATIENCE_SECONDS
) -> RetireReport:
    """Drop one version.

    Raises VersionError where there is none of that name, where a variant serves it, or where another loads
    or drops and `wait` is not set.
    """
    with connected(database_url) as connection, alone(connection, wait=wait):
        _mark(connection, find(connection, version))
        clean_up(connection, patience_seconds=patience_seconds)
        left = {info.name: info.state for info in versions(connection)}
    return RetireReport(
        dropped=() if version in left else (version,),
        pending=tuple(name for name, state in left.items() if state == "dropping"),
        kept=tuple(name for name, state in left.items() if state == "ready"),
    )


def clean_up(connection: Connection, *, patience_seconds: float = PATIENCE_SECONDS) -> tuple[str, ...]:
    """Finish or undo what an interrupted load or drop left; the names of what must wait for a reader.

    To be called by who holds the lock: then whatever is unfinished is nobody's work any more.
    """
    with patience(connection, patience_seconds):
        _finalize(connection)
        for info in versions(connection):
            if info.state != "ready":
                _remove(connection, info.number)
        _drop_orphans(connection)
    return tuple(info.name for info in versions(connection) if info.state == "dropping")


def _mark(connection: Connection, info: VersionInfo) -> None:
    """Mark a version for removal; from then on nobody can serve it.

    Raises VersionError where a variant serves it.
    """
    with connection.transaction():
        one_value(connection, "SELECT state FROM versions WHERE number = %s FOR UPDATE", info.number)
        serving = connection.execute(
            "SELECT variant FROM serving WHERE version = %s ORDER BY variant", (info.number,)
        ).fetchall()
        if serving:
            variants = ", ".join(row[0] for row in serving)
            raise VersionError(f"version {info.name} is served as {variants}: move that elsewhere first")
        connection.execute(
            "UPDATE versions SET state = 'dropping', changed_at = now() WHERE number = %s", (info.number,)
        )


def _remove(connection: Connection, number: int) -> None:
    """Detach, drop and forget one version that isn't ready, as far as nobody is in the way."""
    name = lists_table_name(number)
    detach = sql.SQL("ALTER TABLE {} DETACH PARTITION {} CONCURRENTLY")
    is_attached = name in _partitions(connection)
    if is_attached and not _tried(connection, detach.format(_LISTS, lists_table(number))):
        return
    if _tried(connection, sql.SQL("DROP TABLE IF EXISTS {}").format(lists_table(number))):
        connection.execute("DELETE FROM versions WHERE number = %s AND state <> 'ready'", (number,))


def _finalize(connection: Connection) -> None:
    """Finish the detach that a time-out or a crash left half done, unless it must still wait.

    There is at most one, and as long as it is there every other detach fails.
    """
    for name, is_pending in _partitions(connection).items():
        if is_pending:
            statement = sql.SQL("ALTER TABLE {} DETACH PARTITION {} FINALIZE")
            _tried(connection, statement.format(_LISTS, sql.Identifier(name)))


def _drop_orphans(connection: Connection) -> None:
    """Drop tables of lists that are no partitions and belong to no ready version."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        " AND starts_with(relname, %s)",
        (f"{LISTS_TABLE}_v",),
    ).fetchall()
    wanted = {lists_table_name(info.number) for info in versions(connection) if info.state != "loading"}
    for (name,) in rows:
        is_ours = re.fullmatch(rf"{LISTS_TABLE}_v\d+", name)
        if is_ours and name not in wanted and name not in _partitions(connection):
            _tried(connection, sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(name)))


def _partitions(connection: Connection) -> dict[str, bool]:
    """The attached tables by name, and whether a detach of theirs is half done."""
    rows = connection.execute(
        "SELECT relname, inhdetachpending FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = %s::regclass",
        (LISTS_TABLE,),
    )
    return {row[0]: row[1] for row in rows}


def _tried(connection: Connection, statement: sql.Composed) -> bool:
    """Whether it was done; False where it would have taken longer than there is patience for."""
    try:
        connection.execute(statement)
    except (
        psycopg.errors.LockNotAvailable,
        psycopg.errors.QueryCanceled,
        # Another detach is half done: that one couldn't be finished just before.
        psycopg.errors.ObjectNotInPrerequisiteState,
    ):
        return False
    return True
