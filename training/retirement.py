"""Taking versions out of Postgres without a reader noticing, and cleaning up what was interrupted.

Waiting for readers is limited: what can't be removed now stays marked as `dropping`, and whoever comes
next goes on with it.
"""

import re
from dataclasses import dataclass
from typing import Final

from contract.recommendations import LISTS_TABLE
from training.database import Connection, alone, connected, lists_table_name, one_value, patience
from training.errors import VersionError
from training.partitions import detach, drop, finalize, partitions
from training.serving import VersionInfo, find, versions

KEEP: Final = 3
PATIENCE_SECONDS: Final = 10.0


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
        finalize(connection, LISTS_TABLE)
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
    if detach(connection, LISTS_TABLE, name) and drop(connection, name):
        connection.execute("DELETE FROM versions WHERE number = %s AND state <> 'ready'", (number,))


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
        if is_ours and name not in wanted and name not in partitions(connection, LISTS_TABLE):
            drop(connection, name)
