"""The roles that own and use the product's database, and whom they may be.

A role belongs to the whole server, where others may have one of the same name: those made here bear a
comment. On RDS the login roles are members of `rds_iam`, which lets them log in by a token and in no other
way, and so does whoever is a member of theirs: nobody may be granted one of them, least of all the master.
"""

from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from lambdas.migrate_database.errors import SetUpError

Connection = psycopg.Connection[tuple[Any, ...]]

OWNER: Final[LiteralString] = "shop_owner"
"""Owns all that migrations make; nobody logs in as this role."""
RETRAIN: Final[LiteralString] = "retrain"
"""Makes, attaches, detaches and drops partitions, which only their owner can: so it acts as the owner."""
LOGINS: Final[tuple[LiteralString, ...]] = ("api_read", "api_write", "housekeeping", RETRAIN)
SCHEMA: Final[LiteralString] = "public"

_MARK: Final = "shop recommender"

# By default everybody may connect, and make temporary tables. Those come before all others on the search path
# of the functions that run as the owner: one named like a table of ours would be taken for it.
_PRIVILEGES: Final[LiteralString] = """
REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC;
REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC;
GRANT CONNECT ON DATABASE {database} TO {logins};
GRANT USAGE ON SCHEMA {schema} TO {owner}, {logins};
GRANT TEMPORARY ON DATABASE {database} TO {owner};
GRANT CREATE ON SCHEMA {schema} TO {owner};
"""
_OWNERS: Final[LiteralString] = """
SELECT 'DATABASE ' || quote_ident(datname), pg_get_userbyid(datdba), pg_has_role(datdba, 'USAGE')
FROM pg_database WHERE datname = current_database()
UNION ALL
SELECT 'SCHEMA ' || quote_ident(nspname), pg_get_userbyid(nspowner), pg_has_role(nspowner, 'USAGE')
FROM pg_namespace WHERE nspname = %s
"""


def make_roles(connection: Connection) -> list[str]:
    """Make the roles that are missing, and say where all of them may go; the names of the new ones.

    Raises SetUpError where a role is somebody else's, or the database is not the connected user's, and
    psycopg.Error where Postgres refuses. Then none is made.
    """
    with connection.transaction():
        _require_own_database(connection)
        made = [name for name in (OWNER, *LOGINS) if make_role(connection, name, can_login=name != OWNER)]
        # From Postgres 16 on whoever made a role may grant it, but neither becomes it nor has what it has.
        _grant(connection, OWNER, sql.SQL("CURRENT_USER"), sql.Identifier(RETRAIN))
        connection.execute(f"ALTER ROLE {RETRAIN} SET role = '{OWNER}'")
        if _exists(connection, "rds_iam"):
            _grant(connection, "rds_iam", *map(sql.Identifier, LOGINS))
        connection.execute(
            sql.SQL(_PRIVILEGES).format(
                database=sql.Identifier(connection.info.dbname),
                schema=sql.Identifier(SCHEMA),
                owner=sql.Identifier(OWNER),
                logins=_listed(*map(sql.Identifier, LOGINS)),
            )
        )
    return made


def make_role(connection: Connection, name: str, *, can_login: bool) -> bool:
    """Whether the role was missing, and is made. Raises SetUpError where it is somebody else's."""
    role = sql.Identifier(name)
    if _exists(connection, name):
        _require_mark(connection, name)
        return False
    login = sql.SQL("LOGIN" if can_login else "NOLOGIN")
    connection.execute(sql.SQL("CREATE ROLE {} {}").format(role, login))
    connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(role, _MARK))
    return True


def _exists(connection: Connection, name: str) -> bool:
    return bool(connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,)).rowcount)


def _require_mark(connection: Connection, name: str) -> None:
    comment = connection.execute(
        "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", (name,)
    ).fetchone()
    if comment != (_MARK,):
        raise SetUpError(
            f"roles: the role {name} exists, and was not made by this set-up: rename or drop it; if it is "
            f"meant to be the product's, run: COMMENT ON ROLE {name} IS '{_MARK}'"
        )


def _require_own_database(connection: Connection) -> None:
    """Postgres only warns where somebody takes privileges away on what is not theirs."""
    user = connection.info.user
    for what, owner, is_own in connection.execute(_OWNERS, (SCHEMA,)).fetchall():
        if not is_own:
            raise SetUpError(
                f"roles: the {what} belongs to {owner}: connect as that one instead of {user}, or have it "
                f"run: ALTER {what} OWNER TO {user}"
            )


def _grant(connection: Connection, role: str, *members: sql.Composable) -> None:
    connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), _listed(*members)))


def _listed(*parts: sql.Composable) -> sql.Composed:
    return sql.SQL(", ").join(parts)
