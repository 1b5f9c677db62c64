"""One connection to Postgres for an environment: opened at first use, replaced once where it was lost.

An environment serves one request at a time, so one connection is enough and a pool would only add threads.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import RV, PQGen

from lambdas.database_login import Login, LoginError, UrlLogin

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# A connection that rested this long may be cut by something in between that told neither side.
_LONG_REST_SECONDS: Final = 30.0


class DatabaseUnavailableError(Exception):
    """Postgres cannot be reached, or did not answer in time."""


class _Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose waits end at `deadline`, whatever the server does."""

    deadline: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait as psycopg does, but no longer than until the deadline."""
        if self.deadline is not None:
            left = max(0.001, self.deadline - time.monotonic())
            timeout = left if timeout is None else min(timeout, left)
        return super().wait(gen, interval, timeout)


class Database:
    """Runs work on the environment's connection."""

    def __init__(
        self, login: Login | str, *, connect_timeout: int, pause: float, statement_timeout: float
    ) -> None:
        """Connect to nothing yet. A `login` that is text is all of the URL. Times are in seconds."""
        self._login = UrlLogin(login) if isinstance(login, str) else login
        self._connect_timeout = connect_timeout
        self._pause = pause
        self._statement_timeout = statement_timeout
        self._connection: _Connection | None = None
        self._used_at = 0.0
        self._paused_until = 0.0
        self.calls = 0
        """How often something was asked."""
        self.seconds = 0.0
        """How long that took altogether, with what failed."""

    def run(self, work: Callable[[psycopg.Connection[tuple[Any, ...]]], Result], *, timeout: float) -> Result:
        """What `work` returns, in at most `timeout` seconds of waiting for the server.

        Where the connection turns out to be lost, the work is done again on a new one: it has to be
        harmless to repeat. Raises DatabaseUnavailableError.
        """
        started = time.monotonic()
        try:
            return self._run(work, timeout)
        finally:
            self.calls += 1
            self.seconds += time.monotonic() - started

    def close(self) -> None:
        """Close the connection, where there is one; `run` opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, work: Callable[[psycopg.Connection[tuple[Any, ...]]], Result], timeout: float) -> Result:
        may_be_stale = self._connection is not None
        rest = time.monotonic() - self._used_at
        try:
            return self._attempt(work, timeout)
        except psycopg.OperationalError as error:
            is_lost = self._connection is None
            is_late = time.monotonic() - self._used_at >= timeout
            if not (may_be_stale and is_lost and (not is_late or rest > _LONG_REST_SECONDS)):
                raise _unavailable(error) from error
            logger.warning("the connection to the database was lost; connecting anew")
        try:
            return self._attempt(work, timeout)
        except psycopg.OperationalError as error:
            raise _unavailable(error) from error

    def _attempt(
        self, work: Callable[[psycopg.Connection[tuple[Any, ...]]], Result], timeout: float
    ) -> Result:
        connection = self._connection or self._connect()
        self._used_at = time.monotonic()
        connection.deadline = self._used_at + timeout
        try:
            return work(connection)
        except psycopg.OperationalError:
            # After a deadline the server's answer may still arrive, and would be taken for the next one.
            if connection.closed or time.monotonic() >= connection.deadline:
                self.close()
            raise

    def _connect(self) -> _Connection:
        if time.monotonic() < self._paused_until:
            raise DatabaseUnavailableError("the database could not be reached a moment ago")
        try:
            connection = self._open()
            connection.deadline = time.monotonic() + self._connect_timeout
            # Plans for each set of values would be made anew every time: with a partition a day that takes
            # longer than the query.
            connection.execute(
                "SELECT set_config('plan_cache_mode', 'force_generic_plan', false),"
                " set_config('statement_timeout', %s, false)",
                (f"{self._statement_timeout * 1000:.0f}ms",),
            )
        except LoginError as error:
            self._paused_until = time.monotonic() + self._pause
            raise _unavailable(error) from error
        except psycopg.OperationalError:
            self._paused_until = time.monotonic() + self._pause
            raise
        self._connection = connection
        return connection

    def _open(self) -> _Connection:
        try:
            return self._open_once()
        except psycopg.OperationalError as error:
            # No code tells what was refused, and its text may be in any language.
            is_refused = error.pgconn is not None and error.pgconn.used_password
            if not (is_refused and self._login.renew()):
                raise
        logger.warning("the database refused the password, which has changed; connecting anew")
        return self._open_once()

    def _open_once(self) -> _Connection:
        return _Connection.connect(
            self._login.conninfo(),
            autocommit=True,
            application_name="recommendations-api",
            connect_timeout=self._connect_timeout,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=5_000,  # ms
        )


def _unavailable(error: Exception) -> DatabaseUnavailableError:
    """What the caller gets, who is not told why; the log is."""
    reason = _one_line(error)
    logger.warning("the database is not available: %s", reason)
    return DatabaseUnavailableError(reason)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
