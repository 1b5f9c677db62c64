"""What the API asks the database for a visitor, noted from the API's own repository.

So the peers run the same SQL, without importing anything of the API, whatever that SQL is by now.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, cast

import psycopg

from lambdas.recommendations_api.database import Database
from lambdas.recommendations_api.repository import Repository

Connection = psycopg.Connection[tuple[Any, ...]]
Result = TypeVar("Result")

_SECONDS = 10.0


def note_question(database_url: str, visitor: str, path: Path) -> None:
    """Write the statement, its values, and what a warm environment knows of the live version."""
    database = _NotingDatabase(database_url)
    repository = Repository(
        database,
        events_days=14,
        events_limit=200,
        read_timeout=_SECONDS,
        write_timeout=_SECONDS,
    )
    try:
        for _ in ("learn of the version", "ask as one who knows it"):
            live = repository.visitor(visitor).live
    finally:
        database.close()
    path.write_text(
        json.dumps(
            {
                "statement": database.statement,
                "values": database.values,
                "version": live.name,
                "weights": asdict(live.weights),
                "popular": live.popular,
            }
        )
    )


class _NotingDatabase(Database):
    """A database that remembers what it was asked last."""

    statement = ""
    values: Mapping[str, Any]

    def __init__(self, url: str) -> None:
        super().__init__(url, connect_timeout=10, pause=0, statement_timeout=_SECONDS)
        self.values = {}

    def run(self, work: Callable[[Connection], Result], *, timeout: float) -> Result:
        """Run it with a connection that tells what it executes."""
        return super().run(
            lambda connection: work(cast(Connection, _Listening(connection, self))), timeout=timeout
        )


class _Listening:
    """As much of a connection as a repository uses."""

    def __init__(self, connection: Connection, database: _NotingDatabase) -> None:
        self._connection = connection
        self._database = database

    def execute(self, statement: Any, values: Mapping[str, Any], **options: bool) -> Any:
        self._database.statement, self._database.values = statement, values
        return self._connection.execute(statement, values, **options)
