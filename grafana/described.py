"""Panels as the generated JSON describes them, and what Prometheus said to their queries."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from grafana.generate import FOLDER
from grafana.queries import Prometheus, Series


@dataclass(frozen=True)
class Panel:
    """One panel, as the JSON describes it."""

    title: str
    kind: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    """Expressions, and the legends of what they yield."""
    bounds: tuple[tuple[float, str], ...]
    place: tuple[int, int, int, int]
    """x, y, width and height on the grid."""
    columns: Mapping[str, str]
    """Of a table: labels and their headings; those of values are the legends of the queries."""
    named: bool
    """Whether the name is shown instead of the value."""
    lowest: float | None
    """Where the axis begins."""
    stacked: bool


@dataclass(frozen=True)
class Answered:
    """A panel, and what Prometheus said to its queries."""

    panel: Panel
    series: tuple[Series, ...]


def panels(board: Mapping[str, Any]) -> Iterator[Panel]:
    """The panels of a dashboard."""
    for panel in board["panels"]:
        defaults = panel["fieldConfig"]["defaults"]
        columns: dict[str, str] = {}
        for transformation in panel.get("transformations", ()):
            columns.update(transformation["options"].get("renameByName", {}))
        place = panel["gridPos"]
        yield Panel(
            title=panel["title"],
            kind=panel["type"],
            unit=defaults["unit"],
            queries=tuple((target["expr"], target["legendFormat"]) for target in panel["targets"]),
            bounds=tuple(
                (step["value"], step["color"])
                for step in defaults["thresholds"]["steps"]
                if step["value"] is not None
            ),
            place=(place.get("x", 0), place.get("y", 0), place["w"], place["h"]),
            columns={label: name for label, name in columns.items() if not label.startswith("Value")},
            named=panel.get("options", {}).get("textMode") == "name",
            lowest=defaults.get("min"),
            stacked="stacking" in defaults.get("custom", {}),
        )


def ask(prometheus: Prometheus, panel: Panel, start: float, end: float) -> Answered:
    """What a panel shows. Raises PrometheusError."""
    found: list[Series] = []
    for expr, legend in panel.queries:
        if panel.kind == "timeseries":
            found += prometheus.over(expr, legend, start, end)
        else:
            found += prometheus.at(expr, legend, end)
    return Answered(panel, tuple(found))


def boards() -> dict[str, Mapping[str, Any]]:
    """The generated dashboards, by the names of their files."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
