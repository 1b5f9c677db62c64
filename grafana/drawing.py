"""One dashboard as a picture."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grafana.described import Answered
from grafana.shown import COLORS, color_of, shown

CELL: Final = (0.62, 0.42)
"""Inches of one unit of Grafana's grid."""
DAY: Final = 86400
"""Seconds; matplotlib counts days since 1970."""


def draw_board(title: str, answered: Sequence[Answered], switches: Mapping[float, str], path: Path) -> None:
    """Draw all panels at their places; `switches` are moments, in seconds since 1970 UTC, and their names."""
    height = max(panel.place[1] + panel.place[3] for panel in (each.panel for each in answered))
    with mpl.rc_context({"font.size": 7, "axes.titlesize": 8, "axes.titleweight": "bold"}):
        figure = Figure(figsize=(24 * CELL[0], height * CELL[1] + 0.4), dpi=110)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", y=0.995)
        for each in answered:
            x, y, width, tall = each.panel.place
            # A margin for labels at the left and below, and for the title above.
            axes = figure.add_axes(
                (
                    (x + 0.95) / 24,
                    (height - y - tall + 1.15) / (height + 0.9),
                    (width - 1.25) / 24,
                    (tall - 2.0) / (height + 0.9),
                )
            )
            axes.set_title(each.panel.title, loc="left")
            _draw_panel(axes, each, switches)
        figure.savefig(path)


def _draw_panel(axes: Axes, answered: Answered, switches: Mapping[float, str]) -> None:
    if not answered.series:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "No data", ha="center", va="center", color="grey", transform=axes.transAxes)
    elif answered.panel.kind == "timeseries":
        _draw_lines(axes, answered, switches)
    elif answered.panel.kind == "bargauge":
        _draw_bars(axes, answered)
    elif answered.panel.kind == "table":
        _draw_table(axes, answered)
    else:
        _draw_number(axes, answered)


def _draw_lines(axes: Axes, answered: Answered, switches: Mapping[float, str]) -> None:
    panel = answered.panel
    below: dict[float, float] = {}
    for each in answered.series:
        moments = [moment / DAY for moment, _ in each.points]
        if not panel.stacked:
            axes.plot(moments, [value for _, value in each.points], label=each.name, linewidth=1.2)
            continue
        floor = [below.get(moment, 0) for moment, _ in each.points]
        below.update({moment: below.get(moment, 0) + value for moment, value in each.points})
        axes.fill_between(
            moments, floor, [below[moment] for moment, _ in each.points], label=each.name, alpha=0.7
        )
    drawn = [value for each in answered.series for _, value in each.points if math.isfinite(value)]
    for bound, color in panel.bounds:
        # A bound far above all values would flatten them.
        if drawn and bound <= 1.5 * max(drawn):
            axes.axhline(bound, color=COLORS[color], linestyle="--", linewidth=0.8)
    for moment in switches:
        axes.axvline(moment / DAY, color="purple", linewidth=0.8)
    highest = max([value for value in (*drawn, *below.values()) if math.isfinite(value)], default=0)
    if panel.lowest is not None and highest > panel.lowest:
        axes.set_ylim(panel.lowest, panel.lowest + 1.1 * (highest - panel.lowest))
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, panel.unit))
    axes.xaxis_date()
    axes.tick_params(axis="x", labelsize=5.5)
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    _name_lines(axes, [each.name for each in answered.series], panel.place[2])


def _name_lines(axes: Axes, names: Sequence[str], width: int) -> None:
    """A legend below, as far as there is room."""
    columns = max(1, int(width * 14 / (max(map(len, names)) + 8)))
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[: 3 * columns],
        labels[: 3 * columns],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.08),
        ncols=columns,
        frameon=False,
        fontsize=5.5,
        columnspacing=1,
    )


def _draw_bars(axes: Axes, answered: Answered) -> None:
    names = [each.name for each in answered.series]
    values = [each.latest for each in answered.series]
    colors = [color_of(value, answered.panel.bounds) for value in values]
    places = range(len(names))
    axes.barh(places, values, color=colors)
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", labelsize=5.5, direction="in", pad=-2, length=0)
    for label in axes.get_yticklabels():
        label.set_horizontalalignment("left")
    for place, value in zip(places, values, strict=True):
        axes.annotate(
            shown(value, answered.panel.unit),
            (1, place),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="center",
        )
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _draw_table(axes: Axes, answered: Answered) -> None:
    axes.set_axis_off()
    columns = answered.panel.columns
    values = [legend for _, legend in answered.panel.queries]
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for each in answered.series:
        row = tuple(each.labels.get(label, "") for label in columns)
        cells.setdefault(row, {})[each.name] = shown(each.latest, answered.panel.unit)
    table = axes.table(
        [[*row, *(told.get(value, "") for value in values)] for row, told in cells.items()],
        colLabels=[*columns.values(), *values],
        loc="upper center",
        cellLoc="left",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(5.5)
    table.auto_set_column_width(list(range(len(columns) + len(values))))


def _draw_number(axes: Axes, answered: Answered) -> None:
    axes.set_axis_off()
    panel = answered.panel
    for place, each in enumerate(answered.series):
        text = each.name if panel.named else shown(each.latest, panel.unit)
        axes.text(
            (place + 0.5) / len(answered.series),
            0.4,
            text,
            ha="center",
            va="center",
            fontsize=17,
            color=color_of(each.latest, panel.bounds) if panel.bounds else "black",
            transform=axes.transAxes,
        )
