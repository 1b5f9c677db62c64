"""The plots of a model report."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from training.judged import SERVED, Protocol
from training.model_report.comparison import CURVES, LENGTHS, Comparison
from training.model_report.popularity import ALL_BANDS, TRUTH, Exposure
from training.model_report.ranker import RankerChoice
from training.model_report.slices import POPULAR, Slicing
from training.model_report.sources import Part, Source
from training.model_report.words import MODELS, PROTOCOLS, told
from training.plots import DARK, HATCHED, STYLES, look, new_figure, plain, svg

_LINES: Final[dict[str, dict[str, Any]]] = {
    "served": {"color": "#0b3c5d", "linestyle": "-", "marker": "o", "linewidth": 2.0},
    "recipe": {"color": "#0b3c5d", "linestyle": "-", "marker": "o", "linewidth": 2.0},
    "champion": {"color": "#7b3294", "linestyle": "-.", "marker": "D", "linewidth": 1.4},
    "item_item": {"color": "#5c5c5c", "linestyle": ":", "marker": "^", "linewidth": 1.6},
    "popular": {"color": "#a6611a", "linestyle": "--", "marker": "s", "linewidth": 1.4},
}
"""Colour, dashes and markers each tell the models apart by themselves."""
_HATCHES: Final = {"served": "", "recipe": "", "champion": "\\\\\\", "item_item": "...", "popular": "///"}
_LABEL: Final = 34


def comparison_plot(comparison: Comparison, name: str) -> str:
    """Metrics against the length of the list, a panel each, with bands of 95 %."""
    figure = new_figure(3.4)
    panels = figure.subplots(1, len(CURVES))
    for axes, metric in zip(panels, CURVES, strict=True):
        for model, intervals in comparison.curves[metric].items():
            line = _LINES[model]
            ends = [each.low for each in intervals], [each.high for each in intervals]
            axes.fill_between(LENGTHS, *ends, color=line["color"], alpha=0.12, linewidth=0)
            # Above the colour, what is left of the band where there is none.
            axes.fill_between(
                LENGTHS,
                *ends,
                facecolor="none",
                edgecolor=line["color"],
                alpha=0.6,
                hatch=_HATCHES[model],
                linewidth=0.5,
                linestyle=line["linestyle"],
            )
            axes.plot(
                LENGTHS,
                [each.value for each in intervals],
                label=told(model, MODELS),
                markersize=4,
                markerfacecolor="white",
                markevery=(0, 3),
                **line,
            )
        axes.set_title(f"{metric}@K", loc="left", fontsize="medium")
        axes.set_xlabel("length of the list, K")
        axes.set_xticks((1, 5, 10, 15, 20))
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), frameon=False, handlelength=4)
    return svg(figure, name)


def slices_plot(slicing: Slicing) -> str:
    """Each group's means with their intervals, a panel a protocol; groups are numbered as in the table."""
    names = slicing.names
    figure = new_figure(1.3 + 0.42 * len(names))
    panels = figure.subplots(1, len(slicing.by_protocol), sharey=True, squeeze=False)[0]
    for axes, (protocol, slices) in zip(panels, slicing.by_protocol.items(), strict=True):
        for offset, model, label in ((-0.14, SERVED, "ours"), (0.14, POPULAR, "popular")):
            intervals = [getattr(each, label) for each in slices]
            values = [each.value for each in intervals]
            ends = (
                [max(0.0, each.value - each.low) for each in intervals],
                [max(0.0, each.high - each.value) for each in intervals],
            )
            line = _LINES[model]
            axes.errorbar(
                values,
                [names.index(each.name) + offset for each in slices],
                xerr=ends,
                fmt=line["marker"],
                color=line["color"],
                markerfacecolor=line["color"] if model == SERVED else "white",
                linestyle="none",
                capsize=3,
                label=told(model, MODELS),
            )
        for place in range(1, len(names)):
            axes.axhline(place - 0.5, color="#dddddd", linewidth=0.6, zorder=0)
        axes.set_title(_titled(protocol), loc="left", fontsize="medium")
        axes.set_xlim(left=0)
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel(slicing.measure)
    panels[0].set_yticks(
        range(len(names)), [f"{place}. {plain(name, _LABEL)}" for place, name in enumerate(names, start=1)]
    )
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2, frameon=False)
    return svg(figure, f"slices-{slicing.id}")


def exposure_plot(exposure: Exposure) -> str:
    """Where places go by how well known items are, beside what visitors carted or bought."""
    figure = new_figure(3.2)
    axes = figure.subplots()
    models = [name for name in (TRUTH, SERVED, POPULAR, "item_item") if name in exposure.counts]
    width = 0.8 / len(models)
    styles = (DARK, STYLES[0], HATCHED, STYLES[2])
    for place, (model, style) in enumerate(zip(models, styles, strict=False)):
        label = "what visitors carted or bought" if model == TRUTH else told(model, MODELS)
        positions = [band + width * (place - (len(models) - 1) / 2) for band in range(len(ALL_BANDS))]
        shares = [exposure.share(model, band) for band in ALL_BANDS]
        axes.bar(positions, shares, width=width, label=label, **look(style))
    axes.set_xticks(range(len(ALL_BANDS)), ALL_BANDS)
    axes.set_xlabel("items by how many users knew them when the days began")
    axes.set_ylabel("share of places, of items")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False)
    return svg(figure, f"exposure-{exposure.protocol}")


def sources_plot(sources: Sequence[Source]) -> str:
    """What each source finds, what of it is shown, and what of both no other source has."""
    figure = new_figure(1.3 + 0.4 * len(sources))
    panels = figure.subplots(1, 2, sharey=True)
    places = range(len(sources))
    for axes, all_of_them, alone, label in (
        (
            panels[0],
            [each.found for each in sources],
            [each.found_alone for each in sources],
            "found: of what was carted or bought",
        ),
        (
            panels[1],
            [each.shown for each in sources],
            [each.shown_alone for each in sources],
            "shown: of the first ten places",
        ),
    ):
        axes.barh(places, all_of_them, height=0.7, label="proposed by it", **look(HATCHED))
        axes.barh(places, alone, height=0.7, label="and by no other source", **look(DARK))
        axes.set_xlabel(label)
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    panels[0].set_yticks(places, [plain(each.name) for each in sources])
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2, frameon=False)
    return svg(figure, "candidate-sources")


def parts_plot(parts_of: Mapping[Protocol, Sequence[Part]]) -> str:
    """Places by the part of the blend that an item was there for, and hits among them."""
    figure = new_figure(2.6)
    panels = figure.subplots(1, len(parts_of), squeeze=False)[0]
    for axes, (protocol, parts) in zip(panels, parts_of.items(), strict=True):
        rows = range(len(parts))
        all_places, all_hits = sum(part.places for part in parts), sum(part.hits for part in parts)
        places = [part.places / all_places for part in parts]
        hits = [part.hits / all_hits if all_hits else 0.0 for part in parts]
        axes.barh(
            [row - 0.2 for row in rows], places, height=0.38, label="of the places shown", **look(HATCHED)
        )
        axes.barh(
            [row + 0.2 for row in rows], hits, height=0.38, label="of what was right there", **look(DARK)
        )
        axes.set_title(_titled(protocol), loc="left", fontsize="medium")
        axes.set_yticks(rows, [plain(part.name) for part in parts])
        axes.invert_yaxis()
        axes.set_xlabel("share")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2, frameon=False)
    return svg(figure, "blend-parts")


def curves_plot(ranker: RankerChoice) -> str:
    """The loss of the boosted ranker after each tree."""
    figure = new_figure(3.0)
    axes = figure.subplots()
    axes.plot(range(1, 1 + len(ranker.learnt)), ranker.learnt, "k-", label="learnt from")
    axes.plot(
        range(1, 1 + len(ranker.unseen)), ranker.unseen, color="#0b3c5d", linestyle="--", label="unseen"
    )
    axes.plot(
        [ranker.best_trees],
        [min(ranker.unseen)],
        color="#0b3c5d",
        marker="D",
        markerfacecolor="white",
        linestyle="none",
        label="best of unseen",
    )
    axes.set_xlabel("trees")
    axes.set_ylabel("logistic loss")
    axes.legend(loc="upper right", frameon=False)
    return svg(figure, "learning-curve")


def shares_plot(values: Mapping[str, float], name: str, label: str, *, unit: str = "") -> str:
    """One bar a name, from the top down, with its figure."""
    figure = new_figure(0.9 + 0.3 * len(values))
    axes = figure.subplots()
    places = range(len(values))
    bars = axes.barh(places, list(values.values()), **look(DARK))
    axes.bar_label(bars, [f"{value:,.2f}{unit}" for value in values.values()], padding=3)
    axes.set_yticks(places, [plain(each) for each in values])
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.02)
    axes.set_xlabel(label)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    return svg(figure, name)


def _titled(protocol: Protocol) -> str:
    return told(protocol, PROTOCOLS)
