"""Where Lambda enters: brings the database to the current schema."""

import logging
from typing import Any

from lambdas.database_login import DatabaseSettings
from lambdas.migrate_database.migrate import migrate

logger = logging.getLogger(__name__)

AWS_SECONDS = 5
"""How long AWS may take to tell a password."""


def handler(_event: dict[str, Any], _context: object) -> dict[str, list[str]]:
    """Apply what is missing, as a user who owns the schema; harmless to repeat.

    Raises LoginError where there is no password to be had, psycopg.Error where Postgres refuses it.
    """
    applied = migrate(DatabaseSettings().login(timeout=AWS_SECONDS).conninfo())
    # A warning, because Lambda shows nothing below by default, and what changes a schema should be seen.
    logger.warning("applied %s", ", ".join(applied) or "nothing: the schema is current")
    return {"applied": applied}
