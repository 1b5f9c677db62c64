"""API Gateway and the firewall before it."""

from collections.abc import Iterator, Mapping
from typing import Final

from infra.cost.assumptions import Assumptions
from infra.cost.deployment import Deployment, Resource
from infra.cost.rules.functions import API
from infra.cost.usage import GB, SECONDS, Rule, Usage

METRICS_OF_A_METHOD: Final = 5
"""Count, both kinds of error, both latencies:
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html"""
_TRACED: Final = 0.05
"""X-Ray follows one request a second, and this share of the others."""


def stage(stage: Resource, deployment: Deployment, assumptions: Assumptions) -> Iterator[Usage]:
    """Requests, what goes out, and what is told of each method."""
    requests = assumptions.requests_per_month
    yield Usage(API, "API Gateway, REST", "apigateway.rest_request", requests)
    yield Usage(API, "data out", "ec2.data_out_gb", requests * assumptions.answer_bytes / GB)
    settings = stage.properties.get("MethodSettings", [])
    # Where nothing is asked, nothing is told.
    if requests and any(setting.get("MetricsEnabled") for setting in settings):
        methods = [
            method
            for method in deployment.of_kind("AWS::ApiGateway::Method", stack=stage.stack)
            if method.properties.get("HttpMethod") != "OPTIONS"
        ]
        count = len(methods) * METRICS_OF_A_METHOD
        yield Usage(API, "metrics of each method", "cloudwatch.metric", count)
    if stage.properties.get("TracingEnabled"):
        sampled = min(requests, SECONDS)
        yield Usage(API, "X-Ray", "xray.trace", sampled + _TRACED * (requests - sampled))


def web_acl(acl: Resource, _: Deployment, assumptions: Assumptions) -> Iterator[Usage]:
    """Itself, each rule or group of rules, and each request."""
    yield Usage(API, "WAF, web ACL", "waf.acl", 1)
    yield Usage(API, "WAF, rules", "waf.rule", len(acl.properties.get("Rules", [])))
    yield Usage(API, "WAF, requests", "waf.request", assumptions.requests_per_month)


RULES: Final[Mapping[str, Rule]] = {
    "AWS::ApiGateway::Stage": stage,
    "AWS::WAFv2::WebACL": web_acl,
}
