"""The network: one that is made, or one that is there."""

from aws_cdk import aws_ec2
from constructs import Construct

from infra.config import Config
from infra.constructs.acknowledgement import acknowledge
from infra.constructs.log_group import LogGroup


class Vpc(Construct):
    """Two zones, each with a private subnet, whose way out is a NAT, and a public one.

    Where `vpc_id` is set, it is that network instead.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Config) -> None:
        super().__init__(scope, construct_id)
        self.vpc: aws_ec2.IVpc = self._given(config) if config.vpc_id else self._made(config)
        self.subnets = aws_ec2.SubnetSelection(
            subnet_type=aws_ec2.SubnetType.PRIVATE_ISOLATED
            if config.vpc_id is None and config.nat_gateways == 0
            else aws_ec2.SubnetType.PRIVATE_WITH_EGRESS
        )
        """Where everything runs."""
        if config.vpc_id is None or config.private_route_table_ids:
            # Events, versions and images go this way and not through the NAT, which charges by the byte.
            self.vpc.add_gateway_endpoint("S3", service=aws_ec2.GatewayVpcEndpointAwsService.S3)

    def _made(self, config: Config) -> aws_ec2.Vpc:
        subnets = [
            aws_ec2.SubnetConfiguration(
                name="private",
                subnet_type=aws_ec2.SubnetType.PRIVATE_WITH_EGRESS
                if config.nat_gateways
                else aws_ec2.SubnetType.PRIVATE_ISOLATED,
            )
        ]
        if config.nat_gateways:
            subnets.append(
                aws_ec2.SubnetConfiguration(
                    name="public",
                    subnet_type=aws_ec2.SubnetType.PUBLIC,
                    # The least that a load balancer takes.
                    cidr_mask=27,
                    # Only the NAT and the load balancer are here, which bring addresses of their own.
                    map_public_ip_on_launch=False,
                )
            )
        vpc = aws_ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=aws_ec2.IpAddresses.cidr(config.vpc_cidr),
            max_azs=2,
            nat_gateways=config.nat_gateways,
            subnet_configuration=subnets,
            restrict_default_security_group=config.stage != "local",
        )
        logs = LogGroup(self, "FlowLogs", config=config)
        vpc.add_flow_log(
            "FlowLog",
            destination=aws_ec2.FlowLogDestination.to_cloud_watch_logs(logs),
            traffic_type=aws_ec2.FlowLogTrafficType.REJECT,
        )
        return vpc

    def _given(self, config: Config) -> aws_ec2.IVpc:
        assert config.vpc_id is not None  # noqa: S101 - asked by who calls
        # Not looked up: synthesis has no credentials.
        vpc = aws_ec2.Vpc.from_vpc_attributes(
            self,
            "Vpc",
            vpc_id=config.vpc_id,
            vpc_cidr_block=config.vpc_cidr,
            availability_zones=list(config.availability_zones),
            private_subnet_ids=list(config.private_subnet_ids),
            private_subnet_route_table_ids=list(config.private_route_table_ids) or None,
            public_subnet_ids=list(config.public_subnet_ids) or None,
        )
        acknowledge(
            vpc,
            {"@aws-cdk/aws-ec2:noSubnetRouteTableId": "Nothing asks for the route tables of these subnets."},
        )
        return vpc
