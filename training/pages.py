"""Pages for people: one HTML file each that needs nothing else, from Jinja templates over `page.html`."""

from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_LONGEST_ID: Final = 60


def environment(folder: Path) -> Environment:
    """Where the templates of `folder` are rendered; whatever they are given is escaped."""
    made = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = (count, share, signed, visible, visible_whole)
    made.filters |= {each.__name__: each for each in filters}
    return made


def count(value: float) -> str:
    """A number with commas, and with one decimal where it isn't whole."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def share(part: float, whole: float = 1) -> str:
    """Per cent of the whole; a dash of nothing."""
    return f"{part / whole:.2%}" if whole else "–"


def signed(value: float) -> str:
    """A difference, to four decimals."""
    return f"{value:+.4f}".replace("-", "−")


def visible_whole(text: Any) -> str:
    """What came with the events, without characters that can't be seen."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in str(text)
    )


def visible(text: Any) -> str:
    """The same, and not longer than a cell."""
    shown = visible_whole(text)
    return shown if len(shown) <= _LONGEST_ID else f"{shown[:_LONGEST_ID]}…"
