"""What a run found out, as gauges."""

from collections.abc import Iterable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Gauge

from contract.metrics import Metric


class Measured(NamedTuple):
    """One sample."""

    metric: Metric
    value: float
    labels: tuple[str, ...] = ()
    """In the order of the metric's."""


def registry_of(measures: Iterable[Measured]) -> CollectorRegistry:
    """A registry that holds these and nothing else."""
    registry = CollectorRegistry()
    gauges: dict[str, Gauge] = {}
    for metric, value, labels in measures:
        if metric.name not in gauges:
            gauges[metric.name] = Gauge(metric.name, metric.help, metric.label_names, registry=registry)
        gauge = gauges[metric.name]
        (gauge.labels(*labels) if labels else gauge).set(value)
    return registry
