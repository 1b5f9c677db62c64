"""Dashboards as code: generated, complete, and about metrics that there are."""

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from contract.metrics import METRICS, Metric
from grafana.described import boards
from grafana.generate import FOLDER, documents
from tests.grafana.promql import ROOT, SERIES, names, objections, rules

BOARDS = boards()
NOT_SHOWN: dict[str, str] = {}
"""Metrics of the contract that are on no panel, each with the reason."""


def panels() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            yield name, panel


PANELS = [pytest.param(panel, id=f"{name}/{panel['title']}") for name, panel in panels()]


def test_the_committed_json_is_what_is_generated() -> None:
    committed = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert committed == documents(), "run: python -m grafana.generate"


def test_the_five_dashboards_are_there_each_under_an_id_of_its_own() -> None:
    assert {board["uid"] for board in BOARDS.values()} == {
        *("shop-overview", "shop-api", "shop-training-and-data", "shop-retrain-runs", "shop-variants")
    }


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_each_dashboard_says_what_it_is_for_and_leads_to_the_others_and_to_mlflow(
    board: dict[str, Any],
) -> None:
    assert len(board["description"].split()) > 5
    assert board["editable"] is False
    assert board["tags"] == ["shop"]
    assert [link["title"] for link in board["links"]] == ["Dashboards", "MLflow"]
    assert board["links"][0]["tags"] == board["tags"]


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_each_dashboard_lets_source_and_stage_be_chosen(board: dict[str, Any]) -> None:
    chosen = {variable["name"]: variable["type"] for variable in board["templating"]["list"]}
    assert chosen["datasource"] == "datasource"
    assert chosen["stage"] == "query"
    used = set(re.findall(r"\$(\w+)", json.dumps([board["panels"], board["annotations"]])))
    assert used - {"__rate_interval", "__value"} <= set(chosen)
    assert set(chosen) - {"datasource"} <= used


def test_api_and_variants_let_variants_be_chosen() -> None:
    with_variants = {
        name
        for name, board in BOARDS.items()
        if "variant" in {each["name"] for each in board["templating"]["list"]}
    }
    assert with_variants == {"api", "variants"}


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_switches_of_the_version_are_annotated_at_their_moment(board: dict[str, Any]) -> None:
    (annotation,) = board["annotations"]["list"]
    assert annotation["enable"] is True
    assert annotation["useValueForTime"] is True
    assert list(objections(annotation["expr"])) == []
    assert names(annotation["expr"]) == {"shop_version_live_since_timestamp_seconds"}


@pytest.mark.parametrize("panel", PANELS)
def test_each_panel_says_what_it_tells_in_which_unit_and_names_its_series(panel: dict[str, Any]) -> None:
    assert len(panel["description"].split()) > 4
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    for target in panel["targets"]:
        assert target["legendFormat"]
        assert target["datasource"]["uid"] == "${datasource}"
        assert target.get("instant", False) != target.get("range", False)
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("panel", PANELS)
def test_thresholds_rise_and_begin_without_a_bound(panel: dict[str, Any]) -> None:
    first, *rest = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
    assert first is None
    assert rest == sorted(rest)


@pytest.mark.parametrize("panel", PANELS)
def test_each_query_is_about_metrics_labels_and_values_of_the_contract(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        assert list(objections(target["expr"])) == []
        assert names(target["expr"]), "no metric is named"
        assert 'stage="$stage"' in target["expr"]


@pytest.mark.parametrize(
    ("expr", "objection"),
    [
        ("rate(shop_api_request_total[5m])", "no metric shop_api_request_total"),
        ("shop_api_request_duration_seconds", "no metric shop_api_request_duration_seconds"),
        ("slo:sli_errors:ratio_rate1h", "no metric slo:sli_errors:ratio_rate1h"),
        ('shop_api_events_total{outcome="lost"}', "outcome of shop_api_events_total is never lost"),
        ('shop_api_requests_total{status=~"4xx|6xx"}', "status of shop_api_requests_total is never 6xx"),
        ('shop_api_events_total{route="x"}', "shop_api_events_total has no label route"),
        (
            'shop_api_request_duration_seconds_bucket{le="0.3"}',
            "shop_api_request_duration_seconds_bucket has no bucket of 0.3",
        ),
    ],
)
def test_what_is_misspelt_is_objected_to(expr: str, objection: str) -> None:
    assert list(objections(expr)) == [objection]


def test_panels_lie_side_by_side_and_never_overlap() -> None:
    for name, board in BOARDS.items():
        taken: dict[tuple[int, int], str] = {}
        for panel in board["panels"]:
            place = panel["gridPos"]
            x, y = place.get("x", 0), place.get("y", 0)
            assert x + place["w"] <= 24, panel["title"]
            for cell in itertools.product(range(x, x + place["w"]), range(y, y + place["h"])):
                assert cell not in taken, f"{name}: {panel['title']} lies on {taken[cell]}"
                taken[cell] = panel["title"]
        titles = [panel["title"] for panel in board["panels"]]
        assert len(set(titles)) == len(titles)


def test_the_overview_fits_a_screen() -> None:
    # A unit of the grid is 38 pixels high; Grafana's own bars take about 120 of 1080.
    assert max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in BOARDS["overview"]["panels"]) <= 25


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_each_metric_of_the_contract_is_on_a_panel_or_in_a_rule(metric: Metric) -> None:
    shown = [target["expr"] for _, panel in panels() for target in panel["targets"]]
    named = {name for expr in [*shown, *(rule["expr"] for rule in rules())] for name in names(expr)}
    is_shown = metric in {SERIES.get(name) for name in named}
    assert is_shown != (metric.name in NOT_SHOWN)


def test_a_training_that_is_shown_leads_to_its_run_in_mlflow() -> None:
    tables = [panel for _, panel in panels() if "mlflow_run" in json.dumps(panel["targets"])]
    assert len(tables) == 3
    for panel in tables:
        (override,) = panel["fieldConfig"]["overrides"]
        assert override["matcher"]["options"] == "Run in MLflow"
        (link,) = override["properties"][0]["value"]
        assert link["url"].endswith("/mlflow/#/runs/${__value.raw}")
        assert link["targetBlank"] is True


def test_grafana_finds_the_source_that_dashboards_take_by_default() -> None:
    provisioned = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    (prometheus,) = [source for source in provisioned["datasources"] if source.get("isDefault")]
    assert (prometheus["type"], prometheus["uid"]) == ("prometheus", "prometheus")


def test_the_compose_file_runs_the_grafana_of_the_image_with_what_the_image_holds() -> None:
    compose = yaml.safe_load((ROOT / "grafana/docker-compose.yml").read_text())
    (grafana,) = compose["services"].values()
    dockerfile = (ROOT / "grafana/Dockerfile").read_text()
    assert grafana["build"] == {"context": "."}
    for folder in re.findall(r"^COPY (\w+)", dockerfile, re.MULTILINE):
        assert (ROOT / "grafana" / folder).is_dir()
    variables = re.findall(
        r"\$\{(\w+)\}", (ROOT / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    )
    assert set(variables) <= set(grafana["environment"])
