"""Versioned SQL, applied in order, each file once, under a lock.

The files of `sql/` are named `NNNN_what.sql` and only ever go forward: one that has been applied
anywhere is never edited. An API that is one version older keeps working against the newer schema.
"""

from pathlib import Path
from typing import Any

import psycopg

SQL_FOLDER = Path(__file__).with_name("sql")

# Any constant does: it only has to be the same for everybody who migrates.
_LOCK = 7_240_519_863


def migrate(database_url: str) -> list[str]:
    """Apply what is missing, all of it or nothing; the names of the files that were applied.

    Raises psycopg.Error where Postgres refuses a file: then the schema is as it was.
    """
    with psycopg.connect(database_url) as connection:
        return apply_missing(connection)


def apply_missing(connection: psycopg.Connection[tuple[Any, ...]]) -> list[str]:
    """The same in the transaction that the connection is in, as its current role."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations ("
        " name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    applied = {name for (name,) in connection.execute("SELECT name FROM schema_migrations")}
    missing = [file for file in sorted(SQL_FOLDER.glob("*.sql")) if file.name not in applied]
    for file in missing:
        try:
            connection.execute(file.read_bytes())
        except psycopg.Error as error:
            error.add_note(f"in {file.name}")
            raise
        connection.execute("INSERT INTO schema_migrations (name) VALUES (%s)", (file.name,))
    return [file.name for file in missing]
