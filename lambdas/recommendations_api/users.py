"""What is stored of a user, for whoever has to tell or to delete it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

import psycopg

from contract.blending import ScoredItem
from contract.events import Event
from contract.recommendations import ListKind
from lambdas.recommendations_api.database import Database, DatabaseUnavailableError
from lambdas.recommendations_api.variants import SPLIT, place_of

LATEST_EVENTS: Final = 100

Connection = psycopg.Connection[tuple[Any, ...]]


class DeletionError(DatabaseUnavailableError):
    """A deletion that Postgres did not confirm: it may have happened, or not."""


class PostedEvent(NamedTuple):
    """One event as it was posted."""

    event_id: str
    item_id: str
    event_type: str
    timestamp: int
    recommendation_id: str | None
    received_at: datetime


class ListedIn(NamedTuple):
    """A version that holds lists of a user."""

    version: str
    kinds: list[str]


@dataclass(frozen=True, kw_only=True)
class StoredUser:
    """All that Postgres holds of one user."""

    model_version: str | None
    """The version that answers; None where there is none yet."""
    personal: list[ScoredItem] = field(default_factory=list)
    """Of the version that answers, as is the history."""
    history: list[Event] = field(default_factory=list)
    listed_in: list[ListedIn] = field(default_factory=list)
    """The newest version first."""
    events: int
    """How many posted events there are, on all days of receipt that Postgres still holds."""
    oldest_event: int | None
    newest_event: int | None
    latest_events: list[PostedEvent] = field(default_factory=list)
    deleted_at: datetime | None
    """When they were deleted last."""

    @property
    def is_stored(self) -> bool:
        """Whether there is anything of them but a tombstone."""
        return bool(self.listed_in or self.events)


class Deleted(NamedTuple):
    """What a deletion took out of Postgres; nothing where an earlier one had done so."""

    lists: int
    events: int


_LIVE: Final[LiteralString] = f"""
WITH {SPLIT}
SELECT number, name FROM split JOIN versions ON number = version
WHERE %(place)s * total <= upto ORDER BY upto LIMIT 1
"""  # noqa: S608 - made of constants
_LISTS: Final[LiteralString] = """
SELECT number, name, kind FROM recommendations JOIN versions ON number = version
WHERE version = ANY (ARRAY(SELECT number FROM versions)) AND key = %(user)s
    AND kind IN ('personal', 'history')
ORDER BY number DESC, kind
"""
_LIVE_LISTS: Final[LiteralString] = """
SELECT kind, item_ids, scores, event_types, timestamps FROM recommendations
WHERE version = %(version)s AND key = %(user)s AND kind IN ('personal', 'history')
"""
_EVENTS: Final[LiteralString] = """
SELECT count(*), min("timestamp"), max("timestamp") FROM events WHERE user_id = %(user)s
"""
_LATEST_EVENTS: Final[LiteralString] = """
SELECT event_id, item_id, event_type, "timestamp", recommendation_id, received_at FROM events
WHERE user_id = %(user)s ORDER BY "timestamp" DESC, received_at DESC LIMIT %(latest)s
"""
# As `delete_user` makes them, and under earlier keys, too.
_DELETED_AT: Final[LiteralString] = """
SELECT max(deleted_at) FROM deleted_users JOIN keys ON keys.purpose = 'tombstones' AND keys.id = key_id
WHERE user_hash
    = sha256(hmac_key(secret, 92) || sha256(hmac_key(secret, 54) || convert_to(%(user)s::text, 'UTF8')))
"""
_DELETE: Final[LiteralString] = "SELECT lists, events FROM delete_user(%s)"


class Users:
    """Tells and deletes what is stored of users."""

    def __init__(self, database: Database, *, timeout: float) -> None:
        """Read nothing yet; the timeout is in seconds."""
        self._database = database
        self._timeout = timeout

    def stored(self, user_id: str) -> StoredUser:
        """What is stored of a user, all of it as of one moment. Raises DatabaseUnavailableError."""
        values = {"user": user_id, "variant": None, "place": place_of(user_id), "latest": LATEST_EVENTS}

        def read(connection: Connection) -> StoredUser:
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                return _read(connection, values)

        return self._database.run(read, timeout=self._timeout)

    def delete(self, user_id: str) -> Deleted:
        """Forget a user: at once in Postgres, and by a tombstone wherever they come up again.

        Harmless to repeat. Raises DeletionError where it is not certain that it happened.
        """

        def delete(connection: Connection) -> Deleted:
            return Deleted(*_one(connection, _DELETE, (user_id,)))

        try:
            return self._database.run(delete, timeout=self._timeout)
        except DatabaseUnavailableError as error:
            raise DeletionError(str(error)) from error


def _read(connection: Connection, values: dict[str, Any]) -> StoredUser:
    live = connection.execute(_LIVE, values).fetchone()
    lists: dict[str, tuple[Any, ...]] = {}
    if live is not None:
        lists = {row[0]: row[1:] for row in connection.execute(_LIVE_LISTS, {**values, "version": live[0]})}
    events, oldest, newest = _one(connection, _EVENTS, values)
    (deleted_at,) = _one(connection, _DELETED_AT, values)
    return StoredUser(
        model_version=live[1] if live else None,
        personal=_scored(*lists.get(ListKind.PERSONAL, _NO_LIST)),
        history=_history(*lists.get(ListKind.HISTORY, _NO_LIST)),
        listed_in=_by_version(connection.execute(_LISTS, values).fetchall()),
        events=events,
        oldest_event=oldest,
        newest_event=newest,
        latest_events=[PostedEvent(*row) for row in connection.execute(_LATEST_EVENTS, values)],
        deleted_at=deleted_at,
    )


_NO_LIST: Final[tuple[Any, ...]] = ((), None, None, None)


def _scored(items: Sequence[str], scores: Sequence[float] | None, *_: Any) -> list[ScoredItem]:
    return list(zip(items, scores or (), strict=True))


def _history(
    items: Sequence[str], _: Any, kinds: Sequence[str] | None, timestamps: Sequence[int] | None
) -> list[Event]:
    return [Event(*values) for values in zip(items, kinds or (), timestamps or (), strict=True)]


def _by_version(rows: Sequence[tuple[Any, ...]]) -> list[ListedIn]:
    kinds: dict[str, list[str]] = {}
    for _, name, kind in rows:
        kinds.setdefault(name, []).append(kind)
    return [ListedIn(name, found) for name, found in kinds.items()]


def _one(connection: Connection, statement: LiteralString, values: Any) -> tuple[Any, ...]:
    row = connection.execute(statement, values).fetchone()
    assert row is not None  # noqa: S101 - aggregates and functions always give a row
    return row
