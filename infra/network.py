"""Stack: the network."""

from aws_cdk import CfnWaitConditionHandle, Stack
from constructs import Construct

from infra.config import Config
from infra.constructs.vpc import Vpc


class NetworkStack(Stack):
    """The VPC that everything else lies in."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config) -> None:
        super().__init__(scope, construct_id, description="Shop recommender: the network")
        network = Vpc(self, "Network", config=config)
        self.vpc = network.vpc
        if config.vpc_id is not None:
            # CloudFormation takes no stack without a resource, and there may be none to make.
            CfnWaitConditionHandle(self, "Existing")
        self.subnets = network.subnets
