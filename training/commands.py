"""What the command lines have in common: settings with a variable behind them, and tables."""

import argparse
import os
from collections.abc import Sequence


def add_setting(command: argparse.ArgumentParser, option: str, variable: str, told: str) -> None:
    """A URI that an environment variable stands for; needed where that isn't set."""
    value = os.environ.get(variable) or None
    command.add_argument(
        option, default=value, required=value is None, metavar="URI", help=f"{told} (default: {variable})"
    )


def add_database(command: argparse.ArgumentParser) -> None:
    """The database."""
    add_setting(command, "--database-url", "DATABASE_URL", "the database")


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a table for people, each column as wide as it has to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
