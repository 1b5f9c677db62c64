"""Lambda: who is invoked how often, for how long, with how much memory."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from infra.cost.assumptions import Assumptions
from infra.cost.deployment import Deployment, Resource
from infra.cost.usage import HOURS, MB_OF_A_CORE, SECONDS, Rule, Usage

API: Final = "API"
FUNCTION: Final = "AWS::Lambda::Function"
_ALIAS: Final = "AWS::Lambda::Alias"
_RATE: Final = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_PER_MONTH: Final = {"minute": HOURS * 60, "hour": HOURS, "day": HOURS / 24}


def function(function: Resource, deployment: Deployment, assumptions: Assumptions) -> Iterator[Usage]:
    """Requests and duration; what runs in deployments alone is invoked too seldom to count."""
    asked, scheduled = _asked(function, deployment, assumptions), _scheduled(function, deployment)
    if not asked + scheduled and not _is_called(function, deployment):
        return
    memory_gb = function.number("MemorySize", 128) / 1024
    seconds = asked * _answer_ms(function, assumptions) / 1000 + scheduled * assumptions.scheduled_ms / 1000
    architecture = function.properties.get("Architectures", ["x86_64"])[0]
    yield Usage(API, "Lambda, requests", "lambda.request", asked + scheduled)
    yield Usage(API, "Lambda, duration", f"lambda.{architecture}_gb_second", seconds * memory_gb)
    if _has_snap_start(function):
        restored = asked * assumptions.cold_start_share * memory_gb
        versions = len(deployment.referring_to(function, "AWS::Lambda::Version"))
        yield Usage(
            API, "SnapStart, kept snapshots", "lambda.snap_start_gb_second", SECONDS * versions * memory_gb
        )
        yield Usage(API, "SnapStart, restored", "lambda.snap_start_restored_gb", restored)


def invocations(function: Resource, deployment: Deployment, assumptions: Assumptions) -> float:
    """How often a function is invoked in a month."""
    return _asked(function, deployment, assumptions) + _scheduled(function, deployment)


def _asked(function: Resource, deployment: Deployment, assumptions: Assumptions) -> float:
    """By API Gateway."""
    requests = assumptions.requests_per_month
    if _is_authorizer(function, deployment):
        return requests * assumptions.token_check_share
    shares = {"read": 1 - assumptions.write_share, "write": assumptions.write_share}
    return requests * shares.get(_serves(function), 0)


def _scheduled(function: Resource, deployment: Deployment) -> float:
    """By rules of EventBridge that run at a rate."""
    names = [function, *deployment.referring_to(function, _ALIAS)]
    rules = {rule.name: rule for name in names for rule in deployment.referring_to(name, "AWS::Events::Rule")}
    return sum(_per_month(rule) for rule in rules.values())


def _per_month(rule: Resource) -> float:
    rate = _RATE.fullmatch(str(rule.properties.get("ScheduleExpression", "")))
    return _PER_MONTH[rate[2]] / int(rate[1]) if rate else 0


def _is_called(function: Resource, deployment: Deployment) -> bool:
    return bool(_serves(function)) or _is_authorizer(function, deployment)


def _serves(function: Resource) -> str:
    return str(function.properties.get("Environment", {}).get("Variables", {}).get("SERVES", ""))


def _is_authorizer(function: Resource, deployment: Deployment) -> bool:
    names = [function, *deployment.referring_to(function, _ALIAS)]
    return any(deployment.referring_to(name, "AWS::ApiGateway::Authorizer") for name in names)


def _answer_ms(function: Resource, assumptions: Assumptions) -> float:
    """Work takes longer with less memory, waiting doesn't; a share starts cold."""
    core = min(1.0, function.number("MemorySize", 128) / MB_OF_A_CORE)
    cold = 0 if _has_snap_start(function) else assumptions.cold_start_share * assumptions.cold_start_cpu_ms
    return (assumptions.function_cpu_ms + cold) / core + assumptions.function_wait_ms


def _has_snap_start(function: Resource) -> bool:
    return bool(function.properties.get("SnapStart", {}).get("ApplyOn") == "PublishedVersions")


RULES: Final[Mapping[str, Rule]] = {FUNCTION: function}
