"""Ids of answers: signed with a key that all environments share, which lies in Postgres."""

import logging
import time
from typing import Any, Final, LiteralString

import psycopg

from contract import recommendation_id
from contract.recommendation_id import Key, RecommendationId, TooLongError, UnknownKeyError
from lambdas.recommendations_api.database import Database, DatabaseUnavailableError

logger = logging.getLogger(__name__)

_KEYS: Final[LiteralString] = "SELECT id, secret FROM recommendation_keys()"


class Signer:
    """Makes and reads ids of answers. Has read no key until it is first asked for one."""

    def __init__(self, database: Database, *, timeout: float, refresh: float, pause: float) -> None:
        """`refresh` is how long keys are good for, `pause` the least time between attempts; in seconds."""
        self._database = database
        self._timeout = timeout
        self._refresh = refresh
        self._pause = pause
        self._keys: list[Key] = []
        self._due_at = 0.0
        self._may_read_at = 0.0

    def sign(self, *, version: str, variant: str, source: str, user_id: str | None, now: int) -> str | None:
        """A new id for an answer.

        None where no key is known and the database can't tell one, and where the names of version and variant
        are too long: an answer is worth more than its id. `now` is in ms UTC; `user_id` is None where the
        answer is for nobody in particular.
        """
        if time.monotonic() >= self._due_at:
            self._read_keys()
        if not self._keys:
            return None
        try:
            return recommendation_id.make(
                self._keys[0], version=version, variant=variant, source=source, user_id=user_id, now=now
            )
        except TooLongError as error:
            logger.warning("an answer has no id: %s", error)
            return None

    def read(self, token: str) -> RecommendationId:
        """What an id says. Raises RecommendationIdError.

        A key that another environment made, or housekeeping, is looked for once the pause is over.
        """
        try:
            return recommendation_id.read(token, dict(self._keys))
        except UnknownKeyError:
            if not self._read_keys():
                raise
        return recommendation_id.read(token, dict(self._keys))

    def _read_keys(self) -> bool:
        """Ask the database, unless that was only just done; whether it told."""
        now = time.monotonic()
        if now < self._may_read_at:
            return False
        try:
            self._keys = self._database.run(_select, timeout=self._timeout)
        except DatabaseUnavailableError as error:
            logger.warning("the keys of recommendation ids could not be read: %s", error)
            return False
        else:
            self._due_at = now + self._refresh
            return True
        finally:
            self._may_read_at = time.monotonic() + self._pause


def _select(connection: psycopg.Connection[Any]) -> list[Key]:
    return [Key(*row) for row in connection.execute(_KEYS).fetchall()]
