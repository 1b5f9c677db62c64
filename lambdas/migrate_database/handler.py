"""Where Lambda enters: brings the database to the current schema."""

import logging
from typing import Any

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from lambdas.migrate_database.migrate import migrate

logger = logging.getLogger(__name__)


class Settings(BaseSettings):
    """Each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(extra="ignore", use_attribute_docstrings=True)

    database_url: SecretStr
    """Where Postgres is; the user has to own the schema."""


def handler(_event: dict[str, Any], _context: object) -> dict[str, list[str]]:
    """Apply what is missing; harmless to repeat. Raises psycopg.Error where Postgres refuses it."""
    applied = migrate(Settings().database_url.get_secret_value())
    # A warning, because Lambda shows nothing below by default, and what changes a schema should be seen.
    logger.warning("applied %s", ", ".join(applied) or "nothing: the schema is current")
    return {"applied": applied}
