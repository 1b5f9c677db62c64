"""Pushes a program's figures to the pushgateway: one group a job, replaced whole by the next run."""

import urllib.error

import structlog
from prometheus_client import CollectorRegistry, Gauge, push_to_gateway

from contract.metrics import Metric

log = structlog.get_logger()

TIMEOUT_SECONDS = 5

Measured = tuple[Metric, dict[str, str], float]


def push_gauges(gateway_url: str, job: str, values: list[Measured]) -> None:
    """Push gauges as the group `{job}`.

    A gateway that is down or hangs is logged and otherwise ignored: figures are worth less than the
    run that they tell about.
    """
    registry = CollectorRegistry()
    gauges: dict[str, Gauge] = {}
    for metric, labels, value in values:
        if metric.name not in gauges:
            gauges[metric.name] = Gauge(metric.name, metric.help, metric.label_names, registry=registry)
        gauge = gauges[metric.name]
        (gauge.labels(**labels) if labels else gauge).set(value)
    try:
        push_to_gateway(gateway_url, job=job, registry=registry, timeout=TIMEOUT_SECONDS)
    except (urllib.error.URLError, OSError) as error:
        log.warning("metrics not pushed", gateway=gateway_url, job=job, reason=str(error))
