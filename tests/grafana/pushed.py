"""Every metric of the contract, pushed to a real gateway as its owners push them."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, push_to_gateway

from contract.metrics import METRICS, Metric

NOW_LABELS: Final = {
    "version": ("20261129T020000Z-0a1b2c3d", "20261130T020000Z-4e5f6a7b"),
    "variant": ("default", "calm"),
    "mlflow_run": ("0123456789abcdef0123456789abcdef",),
    "task": ("export_events", "train", "try_canary"),
}
"""Of labels whose values the shop names."""

ENVIRONMENTS: Final = ("a", "b")
"""Of the function: each is a group of its own."""


def job_of(metric: Metric) -> str:
    """Who pushes it, by its name."""
    for prefix, job in (
        ("shop_api_", "recommendations_api"),
        ("shop_training_gate_", "training_gate"),
        ("shop_training_", "training"),
        ("shop_load_", "load"),
        ("shop_dag_", "dags"),
    ):
        if metric.name.startswith(prefix):
            return job
    return "housekeeping"


def label_sets(metric: Metric) -> Iterator[dict[str, str]]:
    """All that its labels can be."""
    values = [label.values or NOW_LABELS[label.name] for label in metric.labels]
    for chosen in product(*values):
        yield dict(zip(metric.label_names, chosen, strict=True))


class Pushes:
    """Groups that grow with each push."""

    def __init__(self, gateway_url: str, moment: float) -> None:
        """Push nothing yet. `moment` is what timestamps are set to, in seconds since 1970 UTC."""
        self._gateway_url = gateway_url
        self._moment = moment
        self._groups: list[tuple[str, Mapping[str, str], CollectorRegistry]] = []
        self._counters: list[tuple[Counter | Histogram, dict[str, str]]] = []
        for job in sorted({job_of(metric) for metric in METRICS}):
            for grouping in self._groupings(job):
                registry = CollectorRegistry()
                for metric in METRICS:
                    if job_of(metric) == job:
                        self._register(metric, registry)
                self._groups.append((job, grouping, registry))

    def push(self, steps: int) -> None:
        """Let counters grow by `steps`, and replace all groups."""
        for counter, labels in self._counters:
            child = counter.labels(**labels) if labels else counter
            if isinstance(child, Histogram):
                for seconds in (0.002, 0.02, 0.2) * steps:
                    child.observe(seconds)
            else:
                child.inc(10 * steps)
        for job, grouping, registry in self._groups:
            push_to_gateway(self._gateway_url, job, registry, grouping_key=dict(grouping))

    @staticmethod
    def _groupings(job: str) -> list[dict[str, str]]:
        return [{"instance": name} for name in ENVIRONMENTS] if job == "recommendations_api" else [{}]

    def _register(self, metric: Metric, registry: CollectorRegistry) -> None:
        sets = list(label_sets(metric))
        if metric.type == "gauge":
            gauge = Gauge(metric.name, metric.help, metric.label_names, registry=registry)
            for place, labels in enumerate(sets):
                (gauge.labels(**labels) if labels else gauge).set(self._value(metric, place))
            return
        counter: Counter | Histogram
        if metric.type == "counter":
            counter = Counter(metric.name, metric.help, metric.label_names, registry=registry)
        else:
            counter = Histogram(
                metric.name, metric.help, metric.label_names, buckets=metric.buckets, registry=registry
            )
        for labels in sets:
            if labels:
                counter.labels(**labels)
            self._counters.append((counter, labels))

    def _value(self, metric: Metric, place: int) -> float:
        """Something that the metric may well be; never the same for all series."""
        match metric.unit:
            case "timestamp":
                return self._moment - 60 * place
            case "ratio":
                return 0.1 + 0.01 * place
            case "bool":
                return 1
            case _:
                return 3 + place
