"""The way out of the VPC, and into it."""

from collections.abc import Iterator, Mapping
from typing import Final

from infra.cost.assumptions import Assumptions
from infra.cost.deployment import Deployment, Resource
from infra.cost.usage import HOURS, Rule, Usage, always

NETWORK: Final = "Network"
_NAT: Final = "AWS::EC2::NatGateway"


def nat_gateway(_: Resource, deployment: Deployment, assumptions: Assumptions) -> Iterator[Usage]:
    """By the hour, and by what goes through all of them."""
    yield Usage(NETWORK, "NAT gateway", "vpc.nat_hour", HOURS)
    share = assumptions.nat_gb / len(deployment.of_kind(_NAT))
    yield Usage(NETWORK, "NAT gateway, data", "vpc.nat_gb", share)


def endpoint(endpoint: Resource, _: Deployment, __: Assumptions) -> Iterator[Usage]:
    """Interfaces by the hour and the zone; gateways are free."""
    if endpoint.properties.get("VpcEndpointType") == "Interface":
        zones = len(endpoint.properties.get("SubnetIds", [None]))
        yield Usage(NETWORK, "interface endpoint", "vpc.endpoint_hour", HOURS * zones)


RULES: Final[Mapping[str, Rule]] = {
    _NAT: nat_gateway,
    "AWS::EC2::EIP": always(NETWORK, "public IPv4 address", "vpc.public_ipv4_hour", HOURS),
    "AWS::EC2::VPCEndpoint": endpoint,
    "AWS::Route53::HostedZone": always(NETWORK, "hosted zone", "route53.zone"),
    # A zone of Route 53's; that ECS registers its tasks there costs nothing.
    "AWS::ServiceDiscovery::PrivateDnsNamespace": always(NETWORK, "hosted zone", "route53.zone"),
}
