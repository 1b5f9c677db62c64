"""A function of `lambdas/`: archive, log group, role, and the alias that callers invoke."""

from collections.abc import Mapping

from aws_cdk import Duration, aws_ec2, aws_iam, aws_lambda
from constructs import Construct

from infra.archives import Archives
from infra.config import Config
from infra.constructs.acknowledgement import acknowledge
from infra.constructs.log_group import LogGroup

ALIAS = "live"


class PythonFunction(Construct):
    """Python 3.12 on arm64, out of an archive that was made without Docker.

    In the VPC it reaches nothing until something allows it.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        archives: Archives,
        code: str,
        name: str,
        description: str,
        timeout: Duration,
        environment: Mapping[str, str] | None = None,
        memory_mb: int = 256,
        reserved_concurrency: int | None = None,
        snap_start: bool = False,
        vpc: aws_ec2.IVpc | None = None,
        subnets: aws_ec2.SubnetSelection | None = None,
    ) -> None:
        """`code` is the folder in `lambdas/`; `name` comes after the deployment's prefix."""
        super().__init__(scope, construct_id)
        self.timeout = timeout
        full_name = f"{config.prefix}-{name}"
        self.log_group = LogGroup(self, "Logs", config=config, name=f"/aws/lambda/{full_name}")
        self.role = aws_iam.Role(
            self, "Role", assumed_by=aws_iam.ServicePrincipal("lambda.amazonaws.com"), description=description
        )
        self.security_group = (
            aws_ec2.SecurityGroup(
                self,
                "SecurityGroup",
                vpc=vpc,
                allow_all_outbound=False,
                description=f"{full_name}: {description}",
            )
            if vpc is not None
            else None
        )
        self.function = aws_lambda.Function(
            self,
            "Function",
            function_name=full_name,
            description=description,
            runtime=aws_lambda.Runtime.PYTHON_3_12,
            architecture=aws_lambda.Architecture.ARM_64,
            code=aws_lambda.Code.from_asset(str(archives.path(code))),
            handler=f"lambdas.{code}.handler.handler",
            environment=dict(environment or {}),
            memory_size=memory_mb,
            timeout=timeout,
            role=self.role,
            log_group=self.log_group,
            reserved_concurrent_executions=reserved_concurrency,
            tracing=aws_lambda.Tracing.ACTIVE if config.tracing else aws_lambda.Tracing.DISABLED,
            snap_start=aws_lambda.SnapStartConf.ON_PUBLISHED_VERSIONS if snap_start else None,
            vpc=vpc,
            vpc_subnets=subnets,
            security_groups=[self.security_group] if self.security_group is not None else None,
        )
        self.log_group.grant_write(self.role)
        self.alias = aws_lambda.Alias(self, "Alias", alias_name=ALIAS, version=self.function.current_version)
        if vpc is not None:
            self._let_into_the_vpc()
        self._explain(config)

    def set(self, **variables: str) -> None:
        """Add environment variables."""
        for name, value in variables.items():
            self.function.add_environment(name, value)

    def reach(self, peer: aws_ec2.IConnectable, port: int, what: str) -> None:
        """Open the way from here to a port of something in the VPC, at both ends."""
        assert self.security_group is not None, "only functions in the VPC reach what is in it"  # noqa: S101
        self.security_group.connections.allow_to(peer, aws_ec2.Port.tcp(port), what)

    def reach_aws(self) -> None:
        """Open the way to the services of AWS, through the NAT or an endpoint."""
        assert self.security_group is not None, "outside the VPC nothing stands in the way"  # noqa: S101
        self.security_group.add_egress_rule(aws_ec2.Peer.any_ipv4(), aws_ec2.Port.tcp(443), "AWS")

    def _let_into_the_vpc(self) -> None:
        # Lambda looks for these permissions when the function is made, and they know no single interface:
        # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
        policy = "service-role/AWSLambdaENIManagementAccess"
        self.role.add_managed_policy(aws_iam.ManagedPolicy.from_aws_managed_policy_name(policy))
        finding = f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{policy}]"
        acknowledge(
            self.role, {finding: "What Lambda demands of every function in a VPC; AWS keeps the list."}
        )

    def _explain(self, config: Config) -> None:
        runtime = "Archives are made for 3.12, which Lambda supports until October 2028."
        reasons = {
            "AwsSolutions-L1": runtime,
            "Serverless-LambdaLatestVersion": runtime,
            "Serverless-LambdaDLQ": "Callers wait for the answer, and the schedule asks again five minutes"
            " later: no event can be lost.",
        }
        if config.tracing:
            # X-Ray knows no resource to name.
            acknowledge(
                self.role, {"AwsSolutions-IAM5[Resource::*]": "X-Ray's segments belong to no resource."}
            )
        else:
            reasons["Serverless-LambdaTracing"] = "`tracing` is off: X-Ray charges by the trace."
        reasons["@aws-cdk/aws-lambda:snapStartRequirePublish"] = "The alias names a published version."
        acknowledge(self.function, reasons)
