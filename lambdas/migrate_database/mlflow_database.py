"""MLflow's own database, and the role that MLflow logs in as, with the password of a secret."""

from typing import Final, LiteralString

from psycopg import sql

from lambdas.database_login import Secret
from lambdas.migrate_database.errors import SetUpError
from lambdas.migrate_database.roles import Connection, make_role

MLFLOW: Final[LiteralString] = "mlflow"
"""The role, and its database."""

_ROLE: Final = sql.Identifier(MLFLOW)


def make_mlflow_database(connection: Connection, secret: Secret) -> tuple[bool, bool]:
    """Whether the role was made, and whether the database was; the role gets what the secret says now.

    The connection is in no transaction, because CREATE DATABASE can't be. Raises LoginError where the secret
    cannot be read, SetUpError where it doesn't fit, or what is there is somebody else's, and psycopg.Error
    where Postgres refuses.
    """
    password = _password(secret)
    with connection.transaction():
        is_new_role = make_role(connection, MLFLOW, can_login=True)
        _set_password(connection, password)
        # A database can only be made for somebody whose member one is.
        connection.execute(f"GRANT {MLFLOW} TO CURRENT_USER")
    is_new = not _is_there(connection)
    if is_new:
        connection.execute(f"CREATE DATABASE {MLFLOW} OWNER {MLFLOW}")
    connection.execute(f"REVOKE CONNECT, TEMPORARY ON DATABASE {MLFLOW} FROM PUBLIC")
    return is_new_role, is_new


def _password(secret: Secret) -> str:
    fields = secret.read()
    if fields["username"] != MLFLOW:
        raise SetUpError(
            f"MLflow's database: the secret {secret.name} has the username {fields['username']!r}: "
            f"MLflow logs in as {MLFLOW}"
        )
    return fields["password"]


def _set_password(connection: Connection, password: str) -> None:
    # What is sent, and may be logged by Postgres, is what it stores: from that nobody can tell the password.
    verifier = connection.pgconn.encrypt_password(password.encode(), MLFLOW.encode(), b"scram-sha-256")
    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(_ROLE, verifier.decode()))


def _is_there(connection: Connection) -> bool:
    """Raises SetUpError where it is somebody else's."""
    row = connection.execute(
        "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", (MLFLOW,)
    ).fetchone()
    if row is not None and row[0] != MLFLOW:
        raise SetUpError(
            f"MLflow's database: the database {MLFLOW} exists and belongs to {row[0]}: rename it, or have "
            f"its owner run: ALTER DATABASE {MLFLOW} OWNER TO {MLFLOW}"
        )
    return row is not None
