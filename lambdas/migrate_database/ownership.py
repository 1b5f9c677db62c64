"""Handing over what the connected user owns of the schema, because it migrated it itself before."""

from typing import Final, LiteralString

from lambdas.migrate_database.errors import SetUpError
from lambdas.migrate_database.roles import OWNER, SCHEMA, Connection

_MIGRATED_BY: Final[LiteralString] = """
SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass(%s)
"""
# Not REASSIGN OWNED: it would take whole databases along, and what other schemas hold. Indexes and the
# sequences of columns go with their tables.
_STATEMENTS: Final[LiteralString] = f"""
WITH of_extensions AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e')
SELECT format('ALTER TABLE %s OWNER TO {OWNER}', oid::regclass) FROM pg_class
WHERE relkind IN ('r', 'p', 'v', 'm') AND relnamespace = '{SCHEMA}'::regnamespace
    AND relowner = current_user::regrole AND (tableoid, oid) NOT IN (SELECT * FROM of_extensions)
UNION ALL
SELECT format('ALTER ROUTINE %s OWNER TO {OWNER}', oid::regprocedure) FROM pg_proc
WHERE pronamespace = '{SCHEMA}'::regnamespace
    AND proowner = current_user::regrole AND (tableoid, oid) NOT IN (SELECT * FROM of_extensions)
"""  # noqa: S608 - made of constants


def hand_over(connection: Connection) -> int:
    """Make the owner own what the connected user migrated; how many tables and functions those were.

    Raises SetUpError where somebody else did, and psycopg.Error where Postgres refuses.
    """
    found = connection.execute(_MIGRATED_BY, (f"{SCHEMA}.schema_migrations",)).fetchone()
    if found is None:
        return 0
    (migrated_by,) = found
    if migrated_by not in (OWNER, connection.info.user):
        raise SetUpError(
            f"ownership: the schema was migrated by the role {migrated_by}, whose tables "
            f"{connection.info.user} cannot hand over: run this once as {migrated_by}"
        )
    statements = connection.execute(_STATEMENTS).fetchall()
    for (statement,) in statements:
        connection.execute(statement.encode())
    return len(statements)
