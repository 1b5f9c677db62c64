"""The plots of a data report."""

from collections.abc import Mapping, Sequence
from typing import Final

from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from training.data_report.days import OTHERS
from training.data_report.drift import Drift
from training.data_report.funnel import Funnel
from training.data_report.profile import DataProfile
from training.plots import DARK, HATCHED, STYLES, look, new_figure, plain, svg

_LETTERS_ON_AN_AXIS: Final = 70


def days_plot(profile: DataProfile) -> str:
    """Events by day and type, what is usual, and the users of each day below."""
    figure = new_figure(5.5)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    days = [day.day for day in profile.days]
    bottom = [0] * len(days)
    for kind, (colour, hatch) in zip(profile.event_types, STYLES, strict=False):
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
            label=plain(kind),
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
    return svg(figure, "days")


def funnel_plot(funnels: Sequence[Funnel]) -> str:
    """How far users and sessions came, as shares of those that viewed."""
    figure = new_figure(2.6)
    axes = figure.subplots()
    steps = ("viewed", "and carted", "and bought")
    for place, (funnel, style) in enumerate(zip(funnels, (DARK, HATCHED), strict=True)):
        counts = (funnel.viewed, funnel.carted, funnel.bought)
        shares = [count / funnel.viewed if funnel.viewed else 0.0 for count in counts]
        positions = [step + 0.4 * place for step in range(len(steps))]
        bars = axes.barh(positions, shares, height=0.38, label=funnel.unit, **look(style))
        axes.bar_label(
            bars, [f" {count:,} ({share:.1%})" for count, share in zip(counts, shares, strict=True)]
        )
    axes.set_yticks([step + 0.2 for step in range(len(steps))], steps)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25)
    axes.set_xlabel("share of those that viewed")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(loc="lower right", frameon=False)
    return svg(figure, "funnel")


def change_plot(change: Drift, name: str) -> str:
    """One distribution, before and now, as shares of all; the rest of a long tail would dwarf the others."""
    figure = new_figure(2.8)
    axes = figure.subplots()
    rows = [row for row, label in enumerate(change.labels) if label != OTHERS]
    for offset, counts, style, label in (
        (-0.2, change.before, HATCHED, "window before"),
        (0.2, change.now, DARK, "this window"),
    ):
        total = sum(counts)
        shares = [counts[row] / total for row in rows]
        axes.bar([row + offset for row in rows], shares, width=0.38, label=label, **look(style))
    labels = [plain(change.labels[row]) for row in rows]
    are_short = sum(map(len, labels)) <= _LETTERS_ON_AN_AXIS
    axes.set_xticks(rows, labels if are_short else [str(row + 1) for row in rows])
    axes.set_xlabel(change.name if are_short else f"{change.name}, numbered as in the table")
    axes.set_ylabel(f"share of {change.unit.split()[0]}")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    return svg(figure, name)


def rejected_plot(rows_by_reason: Mapping[str, int]) -> str:
    """Rejected rows by reason."""
    figure = new_figure(0.9 + 0.35 * len(rows_by_reason))
    axes = figure.subplots()
    places = range(len(rows_by_reason))
    bars = axes.barh(places, list(rows_by_reason.values()), **look(DARK))
    axes.bar_label(bars, [f" {rows:,}" for rows in rows_by_reason.values()])
    axes.set_yticks(places, [plain(reason) for reason in rows_by_reason])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel("rejected rows")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return svg(figure, "rejected")
