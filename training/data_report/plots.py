"""The plots of a data report as SVG: told apart by hatching and lightness, so colours may be missing.

Text stays text: pages are small, and can be searched. What comes out of the data is written without
characters that a font may lack; the tables below the plots have it whole.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from training.data_report.days import OTHERS
from training.data_report.drift import Drift
from training.data_report.funnel import Funnel
from training.data_report.profile import DataProfile

_STYLES: Final = (
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
"""A colour and a hatching for each of a few kinds; none so dark that a black mark is lost on it."""

_NOW, _BEFORE = ("#0b3c5d", ""), ("#ffffff", "///")
_WIDTH: Final = 9.0
_LABEL_LENGTH: Final = 24
_LETTERS_ON_AN_AXIS: Final = 70
_IDS: Final = re.compile(r'(\bid="|url\(#|xlink:href="#)')
_NO_METADATA: Final = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def days_plot(profile: DataProfile) -> str:
    """Events by day and type, what is usual, and the users of each day below."""
    figure = _figure(5.5)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    days = [day.day for day in profile.days]
    bottom = [0] * len(days)
    for kind, (colour, hatch) in zip(profile.event_types, _STYLES, strict=False):
        heights = [day.by_type[kind] for day in profile.days]
        above.bar(
            days,
            heights,
            bottom=bottom,
            width=0.8,
            color=colour,
            hatch=hatch,
            edgecolor="black",
            linewidth=0.4,
            label=_plain(kind),
        )
        bottom = [start + height for start, height in zip(bottom, heights, strict=True)]
    usual = [(day.day, day.usual) for day in profile.days if day.usual is not None]
    if usual:
        above.plot(
            *zip(*usual, strict=True), "k_", markersize=8, markeredgewidth=2, label="usual on its weekday"
        )
    odd = [day for day in profile.days if day.verdict in {"low", "empty"}]
    if odd:
        above.plot(
            [day.day for day in odd],
            [day.events for day in odd],
            "kx",
            markersize=9,
            label="low or empty day",
        )
    above.set_ylabel("events a day")
    below.plot(days, [day.users for day in profile.days], "k.-", linewidth=1)
    below.set_ylabel("users a day")
    below.set_xlabel("day (UTC)")
    below.set_xticks(days[:: 1 + len(days) // 8])
    for axes in (above, below):
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    above.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False)
    return _svg(figure, "days")


def funnel_plot(funnels: Sequence[Funnel]) -> str:
    """How far users and sessions came, as shares of those that viewed."""
    figure = _figure(2.6)
    axes = figure.subplots()
    steps = ("viewed", "and carted", "and bought")
    for place, (funnel, style) in enumerate(zip(funnels, (_NOW, _BEFORE), strict=True)):
        counts = (funnel.viewed, funnel.carted, funnel.bought)
        shares = [count / funnel.viewed if funnel.viewed else 0.0 for count in counts]
        positions = [step + 0.4 * place for step in range(len(steps))]
        bars = axes.barh(positions, shares, height=0.38, label=funnel.unit, **_look(style))
        axes.bar_label(
            bars, [f" {count:,} ({share:.1%})" for count, share in zip(counts, shares, strict=True)]
        )
    axes.set_yticks([step + 0.2 for step in range(len(steps))], steps)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25)
    axes.set_xlabel("share of those that viewed")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(loc="lower right", frameon=False)
    return _svg(figure, "funnel")


def change_plot(change: Drift, name: str) -> str:
    """One distribution, before and now, as shares of all; the rest of a long tail would dwarf the others."""
    figure = _figure(2.8)
    axes = figure.subplots()
    rows = [row for row, label in enumerate(change.labels) if label != OTHERS]
    for offset, counts, style, label in (
        (-0.2, change.before, _BEFORE, "window before"),
        (0.2, change.now, _NOW, "this window"),
    ):
        total = sum(counts)
        shares = [counts[row] / total for row in rows]
        axes.bar([row + offset for row in rows], shares, width=0.38, label=label, **_look(style))
    labels = [_plain(change.labels[row]) for row in rows]
    are_short = sum(map(len, labels)) <= _LETTERS_ON_AN_AXIS
    axes.set_xticks(rows, labels if are_short else [str(row + 1) for row in rows])
    axes.set_xlabel(change.name if are_short else f"{change.name}, numbered as in the table")
    axes.set_ylabel(f"share of {change.unit.split()[0]}")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    return _svg(figure, name)


def rejected_plot(rows_by_reason: Mapping[str, int]) -> str:
    """Rejected rows by reason."""
    figure = _figure(0.9 + 0.35 * len(rows_by_reason))
    axes = figure.subplots()
    places = range(len(rows_by_reason))
    bars = axes.barh(places, list(rows_by_reason.values()), **_look(_NOW))
    axes.bar_label(bars, [f" {rows:,}" for rows in rows_by_reason.values()])
    axes.set_yticks(places, [_plain(reason) for reason in rows_by_reason])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel("rejected rows")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return _svg(figure, "rejected")


def _figure(height: float) -> Figure:
    return Figure(figsize=(_WIDTH, height), layout="constrained")


def _look(style: tuple[str, str]) -> dict[str, Any]:
    colour, hatch = style
    return {"color": colour, "hatch": hatch, "edgecolor": "black", "linewidth": 0.6}


def _plain(text: str) -> str:
    """Text that every font has, and that isn't taken for a formula."""
    seen = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)
    seen = seen.replace("$", "?")
    return seen if len(seen) <= _LABEL_LENGTH else f"{seen[: _LABEL_LENGTH - 3]}..."


def _svg(figure: Figure, name: str) -> str:
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
