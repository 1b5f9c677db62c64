"""What the command lines have in common: running a command, settings with a variable behind them, tables."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from training.errors import UserError

Told = tuple[Any, str]
"""What a command gives: a document for --json, and text for people."""


def run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Do what a command says, by its `run`, and tell about it; the exit status."""
    options = parser.parse_args(arguments)
    try:
        document, text = options.run(options)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if options.json:
        text = json.dumps(document, indent=2, ensure_ascii=False, default=_as_text)
    sys.stdout.write(f"{text}\n")
    return 0


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in JSON")


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
