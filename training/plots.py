"""Plots as SVG for pages: told apart by hatching and lightness, so colours may be missing.

Text stays text: pages are small, and can be searched. What comes out of the data is written without
characters that a font may lack; the tables below the plots have it whole.
"""

import io
import re
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Style = tuple[str, str]
"""A colour and a hatching."""

STYLES: Final[tuple[Style, ...]] = (
    ("#8fb8d4", ""),
    ("#f2c14e", "///"),
    ("#ffffff", "..."),
    ("#7b8a97", "xxx"),
    ("#ffffff", "\\\\\\"),
    ("#56b4e9", "---"),
    ("#e8e8e8", "+++"),
    ("#999999", "ooo"),
    ("#ffffff", "|||"),
    ("#c7a76c", "**"),
    ("#eeeeee", "OO"),
)
"""One for each of a few kinds; none so dark that a black mark is lost on it."""

DARK: Final[Style] = ("#0b3c5d", "")
HATCHED: Final[Style] = ("#ffffff", "///")
"""The two that are told apart most easily."""

_WIDTH: Final = 9.0
_LABEL_LENGTH: Final = 24
_IDS: Final = re.compile(r'(\bid="|url\(#|xlink:href="#)')
_NO_METADATA: Final = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def new_figure(height: float) -> Figure:
    """As wide as a page, `height` inches high."""
    return Figure(figsize=(_WIDTH, height), layout="constrained")


def look(style: Style) -> dict[str, Any]:
    """What makes a bar or a surface of Matplotlib look like that."""
    colour, hatch = style
    return {"color": colour, "hatch": hatch, "edgecolor": "black", "linewidth": 0.6}


def plain(text: str, length: int = _LABEL_LENGTH) -> str:
    """Text that every font has, that isn't taken for a formula, and that isn't longer than a label."""
    seen = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)
    seen = seen.replace("$", "?")
    return seen if len(seen) <= length else f"{seen[: length - 3]}..."


def svg(figure: Figure, name: str) -> str:
    """The element itself, with ids that are its own within the page; the same plot gives the same text."""
    for axes in figure.axes:
        _tidy(axes)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "hatch.linewidth": 0.6}):
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    return _IDS.sub(rf"\1{name}-", text[text.index("<svg") :])


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
