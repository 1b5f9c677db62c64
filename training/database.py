"""The connection to Postgres as loading, serving and retiring use it, and the lock that they share."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

from contract.recommendations import (
    DELETED_USERS_TABLE,
    EXPORTS_TABLE,
    LISTS_TABLE,
    SERVING_TABLE,
    VERSIONS_TABLE,
)
from training.errors import DatabaseError, VersionError

Connection = psycopg.Connection[tuple[Any, ...]]

APPLICATION_NAME: Final = "shop recommender versions"
"""What `pg_stat_activity` shows."""

_SECONDS_BETWEEN_TRIES: Final = 0.2


class Lock(NamedTuple):
    """An advisory lock that one program at a time can hold."""

    key: int
    """Any number does that nobody else takes."""
    held: str
    """What is going on while it is held."""


VERSIONS_LOCK: Final = Lock(5_318_008_221, "versions are being loaded or dropped")
EXPORT_LOCK: Final = Lock(5_318_008_222, "events are being exported")
FILES_LOCK: Final = Lock(5_318_008_223, "files in the bucket are being rewritten or deleted")


@contextlib.contextmanager
def connected(database_url: str) -> Iterator[Connection]:
    """A connection in autocommit mode to a database that has the product's tables.

    Raises DatabaseError where there is none, and where it fails or is cut within the block.
    """
    try:
        with _connect(database_url) as connection:
            _check_migrated(connection)
            yield connection
    except psycopg.errors.DiskFull as error:
        raise DatabaseError(
            f"the database's disk is full: drop versions that nobody needs (python -m training.versions drop "
            f"VERSION) or give it more room, then try again; what is served stays: {_one_line(error)}"
        ) from error
    except psycopg.OperationalError as error:
        raise DatabaseError(f"the database failed, try again: {_one_line(error)}") from error
    # A role without the rights, or a replica instead of the writer.
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction) as error:
        raise DatabaseError(f"the database refuses: {_one_line(error)}") from error


def _connect(database_url: str) -> Connection:
    try:
        return psycopg.connect(database_url, autocommit=True, application_name=APPLICATION_NAME)
    except psycopg.Error as error:
        raise DatabaseError(f"the database can't be reached: {_one_line(error)}") from error


def _check_migrated(connection: Connection) -> None:
    for table in (VERSIONS_TABLE, SERVING_TABLE, LISTS_TABLE, DELETED_USERS_TABLE, EXPORTS_TABLE):
        if one_value(connection, "SELECT to_regclass(%s)", table) is None:
            raise DatabaseError(
                f"the database has no table {table}: run the migrations: python -m lambdas.migrate_database"
            )


@contextlib.contextmanager
def alone(connection: Connection, *, wait: bool, lock: Lock = VERSIONS_LOCK) -> Iterator[None]:
    """Hold a lock, by default that under which versions are loaded and dropped, one at a time.

    Raises VersionError where another holds it and `wait` is not set.
    """
    # A process that was killed shall not hold the lock until its statement ends. Not every platform has it.
    with contextlib.suppress(psycopg.errors.InvalidParameterValue):
        connection.execute("SET client_connection_check_interval = '1s'")
    _take_lock(connection, lock, wait=wait)
    try:
        yield
    finally:
        # Closing would free it, but only when the server has noticed.
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", (lock.key,))


def _take_lock(connection: Connection, lock: Lock, *, wait: bool) -> None:
    # Not pg_advisory_lock: whoever waits in a statement holds a snapshot, and a detach of the one who is at
    # work would wait for that snapshot.
    while not one_value(connection, "SELECT pg_try_advisory_lock(%s)", lock.key):
        if not wait:
            raise VersionError(f"{lock.held} by another: try again later, or wait with --wait")
        time.sleep(_SECONDS_BETWEEN_TRIES)


@contextlib.contextmanager
def patience(connection: Connection, seconds: float) -> Iterator[None]:
    """Let each statement take, and wait for locks, no longer than this."""
    limit = f"{max(1, round(seconds * 1000))}ms"
    for setting in ("lock_timeout", "statement_timeout"):
        connection.execute("SELECT set_config(%s, %s, false)", (setting, limit))
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("RESET lock_timeout")
            connection.execute("RESET statement_timeout")


def one_value(connection: Connection, query: str, *parameters: object) -> Any:
    """The first column of the first row; None where there is no row."""
    row = connection.execute(sql.SQL(query), parameters).fetchone()
    return row[0] if row else None


def lists_table(number: int) -> sql.Identifier:
    """The table of one version's lists, a partition of `recommendations` once it is attached."""
    return sql.Identifier(lists_table_name(number))


def lists_table_name(number: int) -> str:
    """Its name."""
    return f"{LISTS_TABLE}_v{number}"


def _one_line(error: psycopg.Error) -> str:
    return " ".join(str(error).split())
