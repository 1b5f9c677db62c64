"""Where Lambda enters: a deployment sets the database up, before anything that needs it."""

import logging
from typing import Any

from lambdas.migrate_database.set_up import set_up
from lambdas.migrate_database.settings import Settings

logger = logging.getLogger(__name__)

AWS_SECONDS = 5
"""How long AWS may take to tell a password."""


def handler(_event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Make roles and databases, migrate as the owner, grant; what was done. Harmless to repeat.

    Raises ValidationError where a setting is missing or impossible, and SetUpError where a step fails: then
    the schema is as it was.
    """
    settings = Settings()
    login, secret = settings.login(timeout=AWS_SECONDS), settings.mlflow_secret(timeout=AWS_SECONDS)
    report = set_up(login, otherwise=settings.token_login(), mlflow=secret).document()
    # A warning, because Lambda shows nothing below by default, and what changes a database should be seen.
    logger.warning("set up: %s", report)
    return report
