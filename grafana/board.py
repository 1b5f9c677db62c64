"""A dashboard out of rows of panels, with what all dashboards have in common."""

from collections.abc import Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
)

from contract.metrics import VERSION_LIVE_SINCE
from grafana.panels import SOURCE, AnyPanel, to_mlflow

WIDTH: Final = 24
TAG: Final = "shop"

Row = tuple[int, Sequence[tuple[int, AnyPanel]]]
"""Height, and panels with their widths, which make up WIDTH."""

STAGE: Final = 'stage="$stage"'
VARIANT: Final = 'variant=~"$variant"'


def board(
    uid: str,
    title: str,
    description: str,
    rows: Sequence[Row],
    *,
    since: str,
    variants: bool = False,
    window: bool = False,
) -> Dashboard:
    """A dashboard that shows the time from `since` to now; `variants` and `window` add choices of these.

    Raises ValueError where the panels of a row don't fill it.
    """
    made = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .time(since, "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            builders.DashboardLink("Dashboards")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .link(to_mlflow())
        .with_variable(builders.DatasourceVariable("datasource").label("Source").type("prometheus"))
        .with_variable(_labels("stage", "Stage", "label_values(up, stage)"))
    )
    if variants:
        query = f"label_values({VERSION_LIVE_SINCE.name}{{{STAGE}}}, variant)"
        everything = VariableOption(text="All", value="$__all")
        variable = _labels("variant", "Variant", query).multi(True).include_all(True).all_value(".+")
        made = made.with_variable(variable.current(everything))
    if window:
        one_day = VariableOption(text="1d", value="1d", selected=True)
        made = made.with_variable(
            builders.CustomVariable("window").label("Days back").values("1d,7d").current(one_day)
        )
    for height, panels in rows:
        if sum(width for width, _ in panels) != WIDTH:
            raise ValueError(f"{title}: a row of panels is {WIDTH} wide")
        for width, panel in panels:
            made = made.with_panel(panel.height(height).span(width))
    result = made.build()
    result.annotations.list_val = [SwitchAnnotation()]
    return result


def _labels(name: str, label: str, query: str) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": "A"})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    )


class SwitchAnnotation(AnnotationQuery):
    """A mark at each moment at which a variant came to answer with another version, by a rollback, too."""

    def __init__(self) -> None:
        super().__init__(
            name="Switches of the version",
            datasource=SOURCE,
            icon_color="purple",
            # The value is the moment, in seconds; Grafana counts milliseconds.
            expr=f"1000 * max by (variant, version) ({VERSION_LIVE_SINCE.name}{{{STAGE}}})",
        )

    def to_json(self) -> dict[str, Any]:
        """Add what Prometheus' annotations have and the SDK's type lacks."""
        return {
            **super().to_json(),
            "useValueForTime": True,
            "titleFormat": "{{variant}}: {{version}}",
            "step": "60s",
        }
