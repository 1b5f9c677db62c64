"""Options that the programs which import have in common, and what their texts mean."""

import argparse

from contract.events import KNOWN_EVENT_TYPES
from training.errors import BadInputError
from training.importing.columns import NAMEABLE_COLUMNS
from training.importing.rejects import MAX_BAD_SHARE
from training.importing.roles import IMPORT_FORMATS
from training.moments import parse_moment


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """How files are to be understood, and how much of them may be bad."""
    parser.add_argument(
        "--format",
        choices=IMPORT_FORMATS,
        default="auto",
        help="whose files they are; auto tells by their columns (default: %(default)s)",
    )
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        type=pair,
        metavar="THEIRS=OURS",
        help=f"which column of the source is which of {', '.join(NAMEABLE_COLUMNS)}",
    )
    parser.add_argument(
        "--max-bad-share",
        type=share,
        default=MAX_BAD_SHARE,
        metavar="SHARE",
        help="stop where more than this share of the rows is bad (default: %(default)s)",
    )


def add_event_options(parser: argparse.ArgumentParser) -> None:
    """What events mean, and which of them there have to be."""
    parser.add_argument(
        "--event-type",
        action="append",
        default=[],
        type=pair,
        metavar="THEIRS=OURS",
        help=f"what a name of an event means: {', '.join(KNOWN_EVENT_TYPES)}, or any other",
    )
    parser.add_argument(
        "--as-of", type=moment, metavar="T", help="reject events after this moment (ISO 8601)"
    )
    parser.add_argument(
        "--allow-empty-days",
        action="store_true",
        help="go on where a day between the first and the last has no event",
    )
    parser.add_argument(
        "--allow-no-targets", action="store_true", help="go on where nothing was carted or bought"
    )


def pair(text: str) -> tuple[str, str]:
    """THEIRS=OURS."""
    theirs, _, ours = text.rpartition("=")
    if not theirs or not ours:
        raise argparse.ArgumentTypeError(f"{text!r} isn't THEIRS=OURS")
    return theirs, ours


def moment(text: str) -> int:
    """ISO 8601, as UTC ms."""
    try:
        return parse_moment(text)
    except BadInputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def share(text: str) -> float:
    """A number from 0 to 1."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} isn't a share from 0 to 1")
    return number
