"""Logs as JSON, one line each, on standard output."""

import json
import logging
import sys
import time
from typing import Any, Final

LOGGER: Final = "lambdas.recommendations_api"
FIELDS: Final = "fields"
"""The attribute of a log record that holds fields of its own."""


_encode: Final = json.JSONEncoder(default=str).encode


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Text without a line break."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        document: dict[str, Any] = {
            "timestamp": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return _encode(document)


def configure_logs(name: str = LOGGER) -> None:
    """Write the logs below `name` to standard output; call it where a process begins."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger(name)
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # It would log each path, and paths have ids of users in them.
    logging.getLogger("mangum").setLevel(logging.CRITICAL)
