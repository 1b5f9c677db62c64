"""Where Lambda enters: EventBridge invokes it every few minutes, with an event that says nothing."""

import logging
from typing import Any

from lambdas.housekeeping.run import HousekeepingError, Run
from lambdas.housekeeping.settings import Settings
from lambdas.recommendations_api.logs import FIELDS, configure_logs

configure_logs("lambdas")
logger = logging.getLogger(__name__)
_settings = Settings()


def handler(_event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Run once. Raises HousekeepingError where a part failed, so that Lambda counts an error."""
    report = Run(_settings)()
    logger.info("housekeeping", extra={FIELDS: report.document()})
    if report.failed:
        raise HousekeepingError(f"failed: {', '.join(report.failed)}")
    return report.document()
