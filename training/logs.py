"""Logging of the commands; the training container has its own."""

import sys

import structlog


def configure_logging() -> None:
    """Warnings alone, to standard error; standard output is for what a command tells."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
