"""Airflow."""

from collections.abc import Iterator, Mapping
from typing import Final

from infra.cost.assumptions import Assumptions
from infra.cost.deployment import Deployment, Resource
from infra.cost.usage import HOURS, Rule, Usage

ORCHESTRATION: Final = "Orchestration"


def environment(environment: Resource, _: Deployment, assumptions: Assumptions) -> Iterator[Usage]:
    """Itself, with one worker; more that are always there; its database.

    Further workers at busy times are left out: what tasks wait for runs elsewhere.
    """
    size = str(environment.properties["EnvironmentClass"])
    yield Usage(ORCHESTRATION, f"MWAA, {size}", f"mwaa.{size}_hour", HOURS)
    more = environment.number("MinWorkers", 1) - 1
    if more > 0:
        yield Usage(ORCHESTRATION, "MWAA, more workers", f"mwaa.{size}_worker_hour", HOURS * more)
    yield Usage(ORCHESTRATION, "MWAA, its database", "mwaa.database_gb", assumptions.airflow_database_gb)
    yield Usage(
        ORCHESTRATION, "MWAA, its endpoints in the VPC", "vpc.endpoint_hour", HOURS * _endpoints(environment)
    )


def _endpoints(environment: Resource) -> int:
    """In each zone one of its database, and one of a private web server, both paid for like others.

    https://docs.aws.amazon.com/mwaa/latest/userguide/vpc-vpe-access.html
    """
    zones = len(environment.properties.get("NetworkConfiguration", {}).get("SubnetIds", []))
    private = environment.properties.get("WebserverAccessMode") == "PRIVATE_ONLY"
    return zones * (2 if private else 1)


RULES: Final[Mapping[str, Rule]] = {"AWS::MWAA::Environment": environment}
