"""Panels as they are here: each says what it tells, in which unit, and names each of its series."""

import string
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, table
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import timeseries as lines
from grafana_foundation_sdk.models import common as values
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
MLFLOW: Final = "../../../../mlflow/"
"""Up from wherever Grafana is served to the root of its host, below which the load balancer has MLflow."""

Panel = TypeVar("Panel", lines.Panel, stat.Panel, bargauge.Panel, table.Panel)
AnyPanel = lines.Panel | stat.Panel | bargauge.Panel | table.Panel


class Query(NamedTuple):
    """One expression and the names of what it yields."""

    expr: str
    legend: str


class Bound(NamedTuple):
    """From here on a value has this colour; what is below the first one is green."""

    value: float
    color: str


def series(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    bounds: Sequence[Bound] = (),
    stacked: bool = False,
    lowest: float | None = 0,
) -> lines.Panel:
    """How something changed with time."""
    panel = _described(lines.Panel(), title, description, unit, queries, bounds=bounds)
    panel = (
        panel.legend(
            common.VizLegendOptions()
            .display_mode(values.LegendDisplayMode.LIST)
            .placement(values.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(values.TooltipDisplayMode.MULTI))
        .line_width(2)
        .fill_opacity(30 if stacked else 0)
        .show_points(values.VisibilityMode.NEVER)
        # Environments push every few seconds: what is missing for a minute is not there.
        .span_nulls(60_000)
    )
    if lowest is not None:
        panel = panel.min(lowest)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(values.StackingMode.NORMAL))
    if bounds:
        panel = panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(values.GraphThresholdsStyleMode.DASHED)
        )
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    bounds: Sequence[Bound] = (),
    named: bool = False,
) -> stat.Panel:
    """The latest value, large; only its name where that says it all."""
    panel = _described(stat.Panel(), title, description, unit, queries, bounds=bounds, instant=True)
    shown = values.BigValueTextMode.NAME if named else values.BigValueTextMode.AUTO
    return (
        panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .text_mode(shown)
        .graph_mode(values.BigValueGraphMode.NONE)
        .color_mode(values.BigValueColorMode.VALUE if bounds else values.BigValueColorMode.NONE)
    )


def bars(
    title: str, description: str, unit: str, *queries: Query, bounds: Sequence[Bound] = ()
) -> bargauge.Panel:
    """The latest values, side by side."""
    panel = _described(bargauge.Panel(), title, description, unit, queries, bounds=bounds, instant=True)
    return (
        panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .orientation(values.VizOrientation.HORIZONTAL)
        .display_mode(values.BarGaugeDisplayMode.BASIC)
        .min(0)
    )


def rows(
    title: str, description: str, unit: str, columns: dict[str, str], *queries: Query, run: str | None = None
) -> table.Panel:
    """A row a set of labels: `columns` are these and their headings, the queries' legends those of values.

    `run` names a label that holds the id of a run in MLflow: it leads there.
    """
    panel = _described(table.Panel(), title, description, unit, queries, instant=True)
    # What Grafana calls the columns, once `merge` has put all queries into one table.
    values = [f"Value #{ref}" for ref, _ in zip(string.ascii_uppercase, queries, strict=False)]
    named = columns | dict(
        zip(values if len(values) > 1 else ["Value"], (query.legend for query in queries), strict=True)
    )
    panel = panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(
        DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {},
                "includeByName": dict.fromkeys(named, True),
                "indexByName": {name: place for place, name in enumerate(named)},
                "renameByName": named,
            },
        )
    )
    if run is not None:
        link = {"title": "Run in MLflow", "url": f"{MLFLOW}#/runs/${{__value.raw}}", "targetBlank": True}
        panel = panel.override_by_name(columns[run], [DynamicConfigValue(id_val="links", value=[link])])
    return panel


def to_mlflow() -> builders.DashboardLink:
    """A link to all of MLflow."""
    return (
        builders.DashboardLink("MLflow")
        .type(DashboardLinkType.LINK)
        .url(MLFLOW)
        .target_blank(True)
        .tooltip("Trainings: parameters, metrics, reports")
    )


def _described(
    panel: Panel,
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    *,
    bounds: Sequence[Bound] = (),
    instant: bool = False,
) -> Panel:
    colors: list[Any] = [Threshold(value=None, color="green")]
    colors += [Threshold(value=bound.value, color=bound.color) for bound in bounds]
    for ref, query in zip(string.ascii_uppercase, queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref)
        target = target.instant() if instant else target.range()
        if isinstance(panel, table.Panel):
            target = target.format(PromQueryFormat.TABLE)
        panel = panel.with_target(target.datasource(SOURCE))
    return (
        panel.title(title)
        .description(description)
        .unit(unit)
        .datasource(SOURCE)
        .thresholds(builders.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(colors))
    )
