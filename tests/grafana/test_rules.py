"""Recording rules and alerts: valid, each tested both ways, each in the runbook."""

import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from grafana.described import boards
from tests.grafana.promql import PROMETHEUS, ROOT, RULE_FILES, alerts, objections, rule_groups, rules

ALERTS = alerts()
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="this machine has no promtool")

ALWAYS_FIRES = {"Watchdog"}
"""What there is no other case of."""


def section_of_alerts() -> str:
    """From the heading `## Alerts` to the next of its kind."""
    found = re.search(r"^## Alerts$(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def sections() -> dict[str, str]:
    _, *parts = re.split(r"^### (.+)$", section_of_alerts(), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@promtool
def test_prometheus_takes_configuration_and_rules() -> None:
    told = subprocess.run(
        ["promtool", "check", "config", PROMETHEUS / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert f"{len(RULE_FILES)} rule files found" in told.stdout
    told = subprocess.run(
        ["promtool", "check", "rules", *RULE_FILES], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


@promtool
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_rules_do_what_their_tests_say(path: Any) -> None:
    told = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


@promtool
def test_a_test_that_expects_another_text_fails(tmp_path: Any) -> None:
    shutil.copytree(PROMETHEUS / "rules", tmp_path / "rules")
    (tmp_path / "tests").mkdir()
    changed = tmp_path / "tests/model.yml"
    changed.write_text((PROMETHEUS / "tests/model.yml").read_text().replace("4d 0h 30m 0s", "5d"))
    told = subprocess.run(["promtool", "test", "rules", changed], capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert "ModelOld" in told.stdout + told.stderr


def cases() -> Mapping[str, set[bool]]:
    """For each alert whether there are cases in which it fires, and in which it does not."""
    found: defaultdict[str, set[bool]] = defaultdict(set)
    for path in TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test.get("alert_rule_test", []):
                # An alert is silent for want of any series, too: that is no case.
                if case["exp_alerts"] or test["input_series"]:
                    found[case["alertname"]].add(bool(case["exp_alerts"]))
    return found


def test_each_alert_is_tested_where_it_fires_and_where_it_does_not() -> None:
    expected = {name: {True} if name in ALWAYS_FIRES else {True, False} for name in ALERTS}
    assert cases() == expected


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_says_how_urgent_it_is_what_happened_and_where_to_read_on(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ({"none"} if name in ALWAYS_FIRES else {"page", "ticket"})
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    # With stage and severity it is a subject, of which SNS takes 100 characters of ASCII.
    assert rule["annotations"]["summary"].isascii()
    assert len(f"[resolved] ticket, local: {rule['annotations']['summary']}") <= 100
    assert rule["annotations"]["description"].endswith(".")
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
    assert "for" in rule or name in ALWAYS_FIRES


def test_only_what_hurts_visitors_now_wakes_somebody() -> None:
    assert {name for name, rule in ALERTS.items() if rule["labels"]["severity"] == "page"} == {
        *("AvailabilityBurnsFast", "LatencyBurnsFast", "DegradedBurnsFast", "EverybodyGetsPopular"),
        "DatabaseUnreachable",
    }


def test_each_alert_has_a_section_and_each_section_an_alert() -> None:
    assert set(sections()) == set(ALERTS)


@pytest.mark.parametrize("name", sections())
def test_each_section_says_what_visitors_notice_how_to_confirm_and_what_to_do(name: str) -> None:
    bold = re.findall(r"^- \*\*([^*]+)\*\*: \S", sections()[name], re.MULTILINE)
    assert bold == ["Visitors notice", "Confirm", "Now", "Tomorrow"]


def test_the_runbook_names_panels_that_there_are() -> None:
    titles = {board["title"].rpartition(": ")[2] for board in boards().values()}
    titles |= {panel["title"] for board in boards().values() for panel in board["panels"]}
    # Of Grafana itself.
    titles |= {"Alerting"}
    for name, text in sections().items():
        for italic in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", text):
            assert italic in titles, f"{name} names {italic}"


def test_links_within_the_runbook_lead_to_headings() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= anchors


def test_each_rule_is_about_metrics_labels_and_values_of_the_contract() -> None:
    for rule in rules():
        assert list(objections(rule["expr"])) == [], rule.get("alert", rule.get("record"))


def test_names_are_given_once() -> None:
    groups = [group["name"] for group in rule_groups()]
    assert len(set(groups)) == len(groups)
    named = [rule["alert"] for rule in rules() if "alert" in rule]
    assert len(set(named)) == len(named)
    recorded = [
        (rule["record"], *sorted(rule.get("labels", {}).items())) for rule in rules() if "record" in rule
    ]
    assert len(set(recorded)) == len(recorded)


def test_the_documented_promises_are_those_of_the_rules() -> None:
    page = (ROOT / "docs/dashboards.md").read_text()
    table = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([\d.]+) % \|$", page, re.MULTILINE)
    documented = {slo: f"vector({float(percent) / 100:g})" for slo, percent in table}
    budgets = {
        rule["labels"]["slo"]: rule["expr"]
        for rule in rules()
        if rule.get("record") == "slo:error_budget:ratio"
    }
    assert documented == budgets


def test_alerts_burn_by_the_budget_of_their_slo() -> None:
    budgets = {
        rule["labels"]["slo"]: float(rule["expr"].removeprefix("vector(").removesuffix(")"))
        for rule in rules()
        if rule.get("record") == "slo:error_budget:ratio"
    }
    burning = {name: rule["expr"] for name, rule in ALERTS.items() if "Burns" in name}
    assert len(burning) == 6
    for name, expr in burning.items():
        (slo,) = set(re.findall(r'slo="(\w+)"', expr))
        bounds = re.findall(r"> (?:[\d.]+ \* )?([\d.]+)$", expr, re.MULTILINE)
        assert {float(bound) for bound in bounds} == {budgets[slo]}, name
        factors = re.findall(r"> ([\d.]+) \* ", expr)
        assert factors == (["14.4", "14.4", "6", "6"] if name.endswith("Fast") else ["3", "3"]), name
