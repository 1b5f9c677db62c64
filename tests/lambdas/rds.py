"""A Postgres of a test's own as RDS makes one: a master user who is no superuser, and the role `rds_iam`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from twin.postgres import url_of_database

from lambdas.migrate_database.roles import LOGINS, OWNER
from lambdas.migrate_database.set_up import MINIMUM_VERSION
from tests.lambdas.own_postgres import OwnPostgres, own_postgres

MASTER = "master"
PASSWORD = "correct-horse"
"""The master's."""
SHOP = "shop"
ROLES = (OWNER, *LOGINS, "mlflow")

_AS_RDS = (
    "CREATE ROLE rds_superuser NOLOGIN",
    "CREATE ROLE rds_iam NOLOGIN",
    f"CREATE ROLE {MASTER} LOGIN NOSUPERUSER CREATEROLE CREATEDB IN ROLE rds_superuser PASSWORD '{PASSWORD}'",
)
# Only who has the admin option of a role may grant it then; before, CREATEROLE is enough.
_AS_RDS_FROM_16_ON = "GRANT rds_iam TO rds_superuser WITH ADMIN OPTION"


class Rds:
    """The server, which asks the master and MLflow for a password, and trusts all others."""

    def __init__(self, server: OwnPostgres) -> None:
        self.server = server

    def url(self, role: str = MASTER, database: str = SHOP, password: str | None = None) -> str:
        password = PASSWORD if role == MASTER else password
        login = f"{role}:{password}" if password else role
        return url_of_database(self.server.url, database).replace("postgres@", f"{login}@")

    @property
    def version(self) -> int:
        with psycopg.connect(self.server.url) as connection:
            return connection.info.server_version // 10_000

    def make_database(self, name: str = SHOP, owner: str = MASTER) -> None:
        self.as_superuser(f'CREATE DATABASE "{name}" OWNER "{owner}" STRATEGY file_copy')

    def as_superuser(self, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(url_of_database(self.server.url, database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def clear(self) -> None:
        """Leave nothing that a set-up makes, and nothing of a test's own."""
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            databases = connection.execute(
                "SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database"
                " WHERE datname NOT IN ('postgres', 'template0', 'template1')"
            ).fetchall()
            roles = connection.execute(
                "SELECT format('DROP ROLE %I', rolname) FROM pg_roles"
                " WHERE rolname !~ '^pg_' AND rolname NOT IN ('postgres', 'rds_superuser', 'rds_iam', 'master')"
            ).fetchall()
            for (statement,) in databases + roles:
                connection.execute(statement.encode())


@contextmanager
def running_rds(log: Path) -> Iterator[Rds]:
    with own_postgres(log) as server:
        rds = Rds(server)
        if rds.version < MINIMUM_VERSION:
            pytest.skip(f"Postgres {rds.version} is older than what a deployment needs")
        rds.as_superuser(*_AS_RDS)
        if rds.version >= 16:
            rds.as_superuser(_AS_RDS_FROM_16_ON)
        server.ask_for_passwords_of(f"{MASTER},mlflow")
        yield rds
