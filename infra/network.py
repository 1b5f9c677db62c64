"""Stack: the network."""

from aws_cdk import Stack
from constructs import Construct

from infra.config import Config
from infra.constructs.vpc import Vpc


class NetworkStack(Stack):
    """The VPC that everything else lies in."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config) -> None:
        super().__init__(scope, construct_id, description="Shop recommender: the network")
        network = Vpc(self, "Network", config=config)
        self.vpc = network.vpc
        self.subnets = network.subnets
