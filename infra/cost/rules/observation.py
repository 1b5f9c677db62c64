"""Logs and alarms."""

from collections.abc import Iterator, Mapping
from typing import Final

from infra.cost.assumptions import Assumptions
from infra.cost.deployment import Deployment, Resource
from infra.cost.rules.functions import FUNCTION, invocations
from infra.cost.usage import DAYS, GB, Rule, Usage

OBSERVATION: Final = "Logs and alarms"
_COMPRESSED: Final = 0.15
"""What of a log is stored in the end: https://aws.amazon.com/cloudwatch/pricing/, example 3."""
_FOR_EVER_DAYS: Final = 3653


def log_group(group: Resource, deployment: Deployment, assumptions: Assumptions) -> Iterator[Usage]:
    """What is written in a month, and what is there when as much is dropped as is written."""
    written = _written_gb(group, deployment, assumptions)
    yield from _logs(written, group.number("RetentionInDays", _FOR_EVER_DAYS))


def log_retention(retention: Resource, _: Deployment, assumptions: Assumptions) -> Iterator[Usage]:
    """A log group that RDS makes."""
    yield from _logs(assumptions.quiet_log_gb, retention.number("RetentionInDays", _FOR_EVER_DAYS))


def _logs(written_gb: float, days: float) -> Iterator[Usage]:
    yield Usage(OBSERVATION, "logs, written", "cloudwatch.log_gb", written_gb)
    kept = written_gb * days / DAYS * _COMPRESSED
    yield Usage(OBSERVATION, "logs, kept", "cloudwatch.log_kept_gb", kept)


def _written_gb(group: Resource, deployment: Deployment, assumptions: Assumptions) -> float:
    if deployment.referring_to(group, "AWS::ApiGateway::Stage"):
        return assumptions.requests_per_month * assumptions.access_log_bytes / GB
    functions = deployment.referring_to(group, FUNCTION)
    if functions:
        often = sum(invocations(function, deployment, assumptions) for function in functions)
        return often * assumptions.function_log_bytes / GB
    return assumptions.quiet_log_gb


def alarm(alarm: Resource, _: Deployment, __: Assumptions) -> Iterator[Usage]:
    """By the metric that it looks at."""
    metrics = [each for each in alarm.properties.get("Metrics", []) if "MetricStat" in each]
    yield Usage(OBSERVATION, "alarm, by metric", "cloudwatch.alarm_metric", max(1, len(metrics)))


def metric_filter(metric_filter: Resource, _: Deployment, __: Assumptions) -> Iterator[Usage]:
    """Each makes metrics of its own."""
    count = len(metric_filter.properties["MetricTransformations"])
    yield Usage(OBSERVATION, "metrics out of logs", "cloudwatch.metric", count)


RULES: Final[Mapping[str, Rule]] = {
    "AWS::Logs::LogGroup": log_group,
    "Custom::LogRetention": log_retention,
    "AWS::CloudWatch::Alarm": alarm,
    "AWS::Logs::MetricFilter": metric_filter,
}
