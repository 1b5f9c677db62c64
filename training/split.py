"""Splits by time: what was known, what was to be foretold. Never at random."""

from dataclasses import dataclass

from training.errors import TooLittleDataError
from training.interactions import Interactions
from training.moments import MILLISECONDS_A_DAY

SHARE_HELD_OUT = 2 / 3
"""All windows together take at most this share of the data's span: the rest is to learn from."""
LONGEST_SHARE = 1 / 2
"""And a single one at most this."""


@dataclass(frozen=True)
class Window:
    """Days held out: from `start` to before `end`, ms UTC."""

    start: int
    end: int


def windows(events: Interactions, *, days: float, count: int, end: int) -> list[Window]:
    """`count` windows of `days` each that step back from `end`, the latest first.

    Where the span cannot fill them there are fewer, and in the end a shorter one: the caller tells by
    comparing. Raises TooLittleDataError where not even an hour can be held out.
    """
    span = end - int(events.timestamps[0]) if len(events) else 0
    length = min(days * MILLISECONDS_A_DAY, span * LONGEST_SHARE)
    if length < MILLISECONDS_A_DAY / 24:
        raise TooLittleDataError(
            f"the events span {span / MILLISECONDS_A_DAY:.2f} days: "
            "too few to hold out a window and learn from the rest"
        )
    fitting = min(count, max(1, int(span * SHARE_HELD_OUT // length)))
    return [Window(round(end - (back + 1) * length), round(end - back * length)) for back in range(fitting)]
