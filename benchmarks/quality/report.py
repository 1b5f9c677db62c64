"""The figures for people: tables as Markdown, and a plot that needs no colour."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.quality.judge import OURS, Part, Rows
from benchmarks.quality.split import Split
from training.bootstrap import Interval
from training.judged import PROTOCOLS

COLUMNS = ("precision@10", "recall@10", "ndcg@10")
DISCOVERY = "recall@10"


def tables(split: Split, judged: Mapping[Part, Rows]) -> str:
    """One table a protocol and choice of windows, the best recall first."""
    everything = list(range(len(split.windows)))
    parts = []
    for protocol in PROTOCOLS:
        for windows, title in ((split.judged, "not tuned on"), (everything, "all")):
            served, discovery = (judged[protocol, kind].within(windows) for kind in ("served", "discovery"))
            users = f"{len(served.users):,} users, {len(discovery.users):,} of them with new truth"
            heading = f"**{protocol}**, {len(windows)} windows ({title}), {users}"
            parts.append("\n\n".join([heading, _table(served, discovery)]))
    return "\n\n".join(parts)


def _table(served: Rows, discovery: Rows) -> str:
    lines = ["| Model | " + " | ".join([*COLUMNS, f"discovery {DISCOVERY}"]) + " |", "|---" * 5 + "|"]
    for name in _ranked(served, "recall@10"):
        cells = [_told(served.interval(name, metric)) for metric in COLUMNS]
        cells.append(_told(discovery.interval(name, DISCOVERY)) if len(discovery.users) else "–")
        lines.append(f"| {f'**{name}**' if name == OURS else name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _ranked(rows: Rows, metric: str) -> list[str]:
    return sorted(rows.values, key=lambda name: -float(rows.values[name][metric].mean()))


def _told(interval: Interval) -> str:
    return f"{interval.value:.4f} ({interval.low:.4f}–{interval.high:.4f})"


def plot(split: Split, judged: Mapping[Part, Rows], file: Path) -> None:
    """Recall with intervals on the windows that nothing was tuned on, a panel a protocol and kind of list."""
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    panels = figure.subplots(2, len(PROTOCOLS))
    for row, kind in enumerate(("served", "discovery")):
        for column, protocol in enumerate(PROTOCOLS):
            rows = judged[protocol, kind].within(split.judged)
            title = f"{protocol}, {'all items' if kind == 'served' else 'only what is new to the user'}"
            _panel(panels[row][column], rows, title)
    # Without a date, and with ids that are not random: the same figures give the same bytes.
    with rc_context({"svg.hashsalt": "quality", "svg.fonttype": "none"}):
        figure.savefig(file, metadata={"Date": None})


def _panel(axes: Axes, rows: Rows, title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("recall@10, 95 % interval", fontsize=8)
    axes.tick_params(labelsize=8)
    if not len(rows.users):
        return
    names = _ranked(rows, "recall@10")[::-1]
    for place, name in enumerate(names):
        interval = rows.interval(name, "recall@10")
        width, face = (2.5, "black") if name == OURS else (1.0, "white")
        axes.plot([interval.low, interval.high], [place, place], color="black", linewidth=width)
        axes.plot(interval.value, place, "o", color="black", markersize=6, markerfacecolor=face)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(left=0)
    axes.grid(axis="x", linewidth=0.3, color="0.7")
