"""What expressions name: metrics, and the labels that they are narrowed by."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from contract.metrics import METRICS, Metric

ROOT: Final = Path(__file__).parents[2]
PROMETHEUS: Final = ROOT / "grafana/prometheus"
RULE_FILES: Final = sorted((PROMETHEUS / "rules").glob("*.yml"))

OF_THE_SERVERS: Final = {
    "ALERTS",
    "up",
    "push_time_seconds",
    "prometheus_rule_evaluation_failures_total",
    "alertmanager_notifications_failed_total",
}
"""What pushgateway, Prometheus and Alertmanager tell of themselves; no other code names them."""
OF_THE_SCRAPE: Final = {"stage", "job", "instance"}

SELECTOR: Final = re.compile(r"([a-zA-Z_:][\w:]*)\{([^{}]*(?:\"[^\"]*\"[^{}]*)*)\}")
MATCHER: Final = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
NAME: Final = re.compile(
    r"(?<![\w$.\"])((?:shop|slo|stage)[_:][\w:]+|" + "|".join(OF_THE_SERVERS) + r")(?![\w:]*\()"
)


def rule_groups() -> Iterator[Mapping[str, Any]]:
    for path in RULE_FILES:
        yield from yaml.safe_load(path.read_text())["groups"]


def rules() -> list[Mapping[str, Any]]:
    return [rule for group in rule_groups() for rule in group["rules"]]


def alerts() -> dict[str, Mapping[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


RECORDED: Final = {rule["record"] for rule in rules() if "record" in rule}

SERIES: Final[dict[str, Metric]] = {
    f"{metric.name}{suffix}": metric
    for metric in METRICS
    for suffix in (("_bucket", "_count", "_sum") if metric.type == "histogram" else ("",))
}
"""Names of series by the metric that they are of."""


def names(expr: str) -> set[str]:
    """Metrics that an expression names."""
    return set(NAME.findall(re.sub(r'"[^"]*"', '""', expr)))


def objections(expr: str) -> Iterator[str]:
    """What it names that there is none of: a metric, a label, a label's value."""
    for name in sorted(names(expr)):
        if name not in SERIES and name not in RECORDED and name not in OF_THE_SERVERS:
            yield f"no metric {name}"
    for name, matchers in SELECTOR.findall(expr):
        metric = SERIES.get(name)
        if metric is None:
            continue
        allowed = {label.name: label.values for label in metric.labels}
        for label, operator, value in MATCHER.findall(matchers):
            if label in OF_THE_SCRAPE or value.startswith("$"):
                continue
            if label == "le" and metric.type == "histogram":
                if float(value) not in metric.buckets:
                    yield f"{name} has no bucket of {value}"
            elif label not in allowed:
                yield f"{name} has no label {label}"
            elif allowed[label]:
                wanted = value.split("|") if operator in {"=~", "!~"} else [value]
                for each in wanted:
                    if each not in allowed[label]:
                        yield f"{label} of {name} is never {each}"
