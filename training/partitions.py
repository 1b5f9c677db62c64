"""Taking partitions out of a table that is being read and written: never in anybody's way.

A partition leaves by `DETACH … CONCURRENTLY`, which waits for whoever uses the table. What can't be done
within the patience of the connection is left for the next one, half done perhaps: then every further
detach fails until somebody finishes it.
"""

import psycopg
from psycopg import sql

from training.database import Connection


def partitions(connection: Connection, table: str) -> dict[str, bool]:
    """The attached partitions by name, and whether a detach of theirs is half done."""
    rows = connection.execute(
        "SELECT relname, inhdetachpending FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = %s::regclass ORDER BY relname",
        (table,),
    )
    return {row[0]: row[1] for row in rows}


def detach(connection: Connection, table: str, partition: str) -> bool:
    """Whether the partition, attached or not, is a table of its own by now."""
    if partition not in partitions(connection, table):
        return True
    statement = sql.SQL("ALTER TABLE {} DETACH PARTITION {} CONCURRENTLY")
    return tried(connection, statement.format(sql.Identifier(table), sql.Identifier(partition)))


def finalize(connection: Connection, table: str) -> None:
    """Finish the detach that a time-out or a crash left half done, unless it must still wait.

    There is at most one, and as long as it is there every other detach fails.
    """
    for name, is_pending in partitions(connection, table).items():
        if is_pending:
            statement = sql.SQL("ALTER TABLE {} DETACH PARTITION {} FINALIZE")
            tried(connection, statement.format(sql.Identifier(table), sql.Identifier(name)))


def drop(connection: Connection, partition: str) -> bool:
    """Whether a table that was detached is gone by now."""
    return tried(connection, sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(partition)))


def tried(connection: Connection, statement: sql.Composed) -> bool:
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
