"""The database's first set-up, and every later one: roles, MLflow's database, the schema, who may do what.

It is run by the user that RDS made: no superuser, but one who may make roles and databases. All of it is
harmless to repeat, and what is right already stays. The schema comes last, in one transaction: whatever
fails, it is as it was.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from lambdas.database_login import Login, LoginError, Secret
from lambdas.migrate_database.errors import SetUpError
from lambdas.migrate_database.migrate import apply_missing
from lambdas.migrate_database.mlflow_database import MLFLOW, make_mlflow_database
from lambdas.migrate_database.ownership import hand_over
from lambdas.migrate_database.roles import OWNER, Connection, make_roles

GRANTS: Final = Path(__file__).with_name("grants.sql")

MINIMUM_VERSION: Final = 15
"""Of Postgres: the first in which a schema belongs to whoever owns the database."""

_LOCK: Final = 7_240_519_864
"""Another than that of the migrations, which are one part of this."""
_CONNECT_SECONDS: Final = 10
_LOCK_SECONDS: Final = 120
"""How long a statement may wait for others: for another set-up, or for who reads a table that is to change.
Meanwhile all who come later wait for it."""


@dataclass(kw_only=True)
class Report:
    """What a set-up did."""

    roles: list[str]
    """That were made."""
    databases: list[str]
    """That were made."""
    handed_over: int
    """Tables and functions that became the owner's."""
    applied: list[str]
    """Migrations, by the names of their files."""

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def set_up(login: Login, *, otherwise: Login | None = None, mlflow: Secret | None = None) -> Report:
    """Bring a server to what the product needs; without a secret MLflow gets no database.

    Where Postgres refuses `login` it is tried `otherwise`.

    Raises SetUpError. One at a time: whoever comes second waits.
    """
    with _connected(login, otherwise) as connection:
        with _step("lock", "try again"):
            connection.execute(f"SET lock_timeout = '{_LOCK_SECONDS}s'")
            connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        with _step("roles", "the user needs CREATEROLE, and on RDS has to be the master user"):
            roles = make_roles(connection)
        databases = []
        if mlflow is not None:
            with _step(
                "MLflow's database", "the user needs CREATEDB, and the secret has to be readable from here"
            ):
                is_new_role, is_new = make_mlflow_database(connection, mlflow)
            roles += [MLFLOW] * is_new_role
            databases += [MLFLOW] * is_new
        handed_over, applied = _bring_schema_up_to_date(connection)
    return Report(roles=roles, databases=databases, handed_over=handed_over, applied=applied)


def _bring_schema_up_to_date(connection: Connection) -> tuple[int, list[str]]:
    with _step("schema", "try again"), connection.transaction():
        with _step("ownership", "connect as whoever migrated the schema before"):
            handed_over = hand_over(connection)
            connection.execute(f"SET LOCAL ROLE {OWNER}")
        with _step("migrations", "mend what it names, then run it again"):
            applied = apply_missing(connection)
        with _step("grants", f"mend {GRANTS.name}: it has to name what the migrations made"):
            connection.execute(GRANTS.read_bytes())
    return handed_over, applied


@contextmanager
def _connected(login: Login, otherwise: Login | None) -> Iterator[Connection]:
    with _step("connection", "see DATABASE_URL, the secret, and who may reach Postgres from here"):
        connection = _connect(login, otherwise)
    with connection:
        major = connection.info.server_version // 10_000
        if major < MINIMUM_VERSION:
            raise SetUpError(
                f"connection: Postgres {major} is too old: upgrade it to {MINIMUM_VERSION} or newer"
            )
        yield connection


def _connect(login: Login, otherwise: Login | None) -> Connection:
    try:
        return _open(login)
    except psycopg.OperationalError as refused:
        if login.renew():
            return _connect(login, otherwise)
        if otherwise is None:
            raise
        try:
            return _connect(otherwise, None)
        except (psycopg.OperationalError, LoginError) as error:
            refused.add_note(f"; and with a token: {error}")
            raise refused from error


def _open(login: Login) -> Connection:
    return psycopg.connect(login.conninfo(), autocommit=True, connect_timeout=_CONNECT_SECONDS)


@contextmanager
def _step(name: str, advice: str) -> Iterator[None]:
    try:
        yield
    except (psycopg.Error, LoginError) as error:
        told = " ".join(" ".join([str(error), *getattr(error, "__notes__", ())]).split())
        if isinstance(error, psycopg.errors.LockNotAvailable):
            advice = "somebody else is at work there: try again when that has ended"
        raise SetUpError(f"{name}: {told}; {advice}") from error
