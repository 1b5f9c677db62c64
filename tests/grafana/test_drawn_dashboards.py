"""Every panel, asked for by its own queries from a real Prometheus that scrapes real pushes."""

import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from contract.metrics import METRICS
from grafana.described import ask, boards, panels
from grafana.queries import Prometheus, PrometheusError
from tests.grafana.conftest import VARIABLES, Live
from tests.grafana.objections import is_traffic, objections
from tests.grafana.promql import ROOT
from tests.grafana.pushed import NOW_LABELS

TITLES = [(name, panel.title) for name, board in boards().items() for panel in panels(board)]


@pytest.mark.parametrize("place", range(len(TITLES)), ids=lambda place: "/".join(TITLES[place]))
def test_each_panel_shows_finite_values_and_traffic_above_zero(live: Live, place: int) -> None:
    answered = live.answered[place]
    assert answered.panel.title == TITLES[place][1]
    assert list(objections(answered)) == []


def test_a_panel_with_a_misspelt_metric_is_objected_to(live: Live) -> None:
    prometheus, now = Prometheus(live.url, VARIABLES), time.time()
    caught = 0
    for answered in live.answered:
        for expr, legend in answered.panel.queries:
            misspelt = re.sub(r"\b(shop|slo|stage)([_:])", r"\1s\2", expr)
            if misspelt == expr or "or vector(0)" in expr:
                continue
            panel = replace(answered.panel, queries=((misspelt, legend),))
            assert list(objections(ask(prometheus, panel, now - 60, now))) == ["nothing is shown"], misspelt
            caught += 1
    assert caught >= len(TITLES) - 1


def test_a_counter_that_stands_still_is_objected_to(live: Live) -> None:
    prometheus, now = Prometheus(live.url, VARIABLES), time.time()
    (errors,) = [each.panel for each in live.answered if each.panel.title == "Degraded answers"]
    still = replace(errors, queries=(("sum(rate(shop_housekeeping_key_age_seconds[10s]))", "still"),))
    told = ask(prometheus, still, now - 1, now)
    assert is_traffic(told)
    assert any("while there is traffic" in objection for objection in objections(told))


def test_a_query_that_prometheus_cannot_read_is_an_error_that_names_it(live: Live) -> None:
    prometheus = Prometheus(live.url, VARIABLES)
    with pytest.raises(PrometheusError, match=r"sum\(: .*parse error"):
        prometheus.at("sum(", "", 0)


def test_a_prometheus_that_is_away_is_an_error_that_names_it() -> None:
    with pytest.raises(PrometheusError, match=r"the Prometheus at http://127\.0\.0\.1:1 can't be asked"):
        Prometheus("http://127.0.0.1:1", VARIABLES).at("up", "", 0)


def test_the_program_draws_what_it_is_told_and_says_where_it_could_not(live: Live, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "grafana.draw", "--into", str(tmp_path / "drawn"), "--minutes", "2"]
    told = subprocess.run(
        [*command, "--prometheus", live.url], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout == f"{tmp_path}/drawn/index.html\n"
    assert {file.suffix for file in (tmp_path / "drawn").iterdir()} == {".html", ".png"}
    told = subprocess.run(
        [*command, "--prometheus", "http://127.0.0.1:1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("draw: the Prometheus at http://127.0.0.1:1 can't be asked: ")


def test_a_picture_and_a_place_on_the_page_are_made_for_each_dashboard(live: Live) -> None:
    page = (live.folder / "index.html").read_text()
    for name, board in boards().items():
        assert (live.folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (live.folder / f"{name}.png").stat().st_size > 20_000
        assert f'src="{name}.png"' in page
        assert board["title"] in page


def test_what_was_pushed_is_what_is_shown(live: Live) -> None:
    shown = {each.panel.title: each.series for each in live.answered}
    versions = {(each.labels["variant"], each.labels["version"]) for each in shown["Versions that answer"]}
    assert versions == {
        (variant, version) for variant in NOW_LABELS["variant"] for version in NOW_LABELS["version"]
    }
    assert max(each.latest for each in shown["Versions that answer"]) == pytest.approx(
        1000 * live.pushed_at, abs=1
    )
    assert [each.latest for each in shown["Peak memory"]] == [3]
    # 2 environments, 4 steps of 10 for each pair; of a Wilson interval the ends lie about the value.
    assert [each.latest for each in shown["Answers"]] == pytest.approx([80] * 4, rel=0.3)
    clicked: dict[str, list[float]] = {"Low": [], "Share": [], "High": []}
    for each in shown["Answers that were clicked"]:
        clicked[each.name].append(each.latest)
    ordered = list(zip(clicked["Low"], clicked["Share"], clicked["High"], strict=True))
    assert len(ordered) == 4
    assert all(low < share < high for low, share, high in ordered)


def test_each_switch_of_a_version_is_a_mark_at_its_moment(live: Live) -> None:
    prometheus = Prometheus(live.url, VARIABLES)
    for board in boards().values():
        (annotation,) = board["annotations"]["list"]
        marks = prometheus.at(annotation["expr"], annotation["titleFormat"], time.time())
        assert annotation["useValueForTime"] is True
        assert f"default: {NOW_LABELS['version'][0]}" in {mark.name for mark in marks}
        assert {mark.latest // 1000 for mark in marks} >= {live.pushed_at // 1}


def test_prometheus_has_every_metric_of_the_contract(live: Live) -> None:
    prometheus = Prometheus(live.url, VARIABLES)
    for metric in METRICS:
        name = f"{metric.name}_count" if metric.type == "histogram" else metric.name
        assert prometheus.at(f"count({name})", name, time.time()), metric.name


def test_no_rule_fails(live: Live) -> None:
    prometheus = Prometheus(live.url, VARIABLES)
    (failures,) = prometheus.at("sum(prometheus_rule_evaluation_failures_total)", "failures", time.time())
    assert failures.latest == 0
