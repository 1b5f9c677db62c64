"""What a training job may do."""

from aws_cdk import aws_ec2, aws_ecr, aws_kms, aws_s3
from constructs import Construct

from contract.s3_layout import (
    CATALOGUE_PREFIX,
    EVENTS_PREFIX,
    GATES_PREFIX,
    MODEL_REPORTS_PREFIX,
    RECOMMENDATIONS_PREFIX,
)
from infra.config import Config
from infra.constructs.acknowledgement import acknowledge
from infra.constructs.explained_role import ExplainedRole
from infra.constructs.wildcard import objects
from infra.data import CHECKPOINTS_PREFIX, JOBS_PREFIX

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
"""Of all jobs of an account; a job's streams begin with its name. Its metrics are below the same name."""


class TrainingRole(ExplainedRole):
    """SageMaker's, while it trains: it reads events, writes versions, and tells how far it is.

    https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-createtrainingjob-perms
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        events: aws_s3.IBucket,
        recommendations: aws_s3.IBucket,
        key: aws_kms.IKey,
        image: aws_ecr.IRepository | None,
        subnets: aws_ec2.SelectedSubnets,
        security_group: aws_ec2.ISecurityGroup,
    ) -> None:
        """`image` is where it is pulled from, where that is ECR."""
        super().__init__(
            scope, construct_id, description=f"{config.prefix}: training jobs", services=["sagemaker"]
        )
        self._allow_data(events, recommendations)
        self._allow_key(key)
        self._allow_telling(config)
        self._allow_network_interfaces(subnets, security_group)
        if image is not None:
            image.grant_pull(self)
            acknowledge(
                self, {"AwsSolutions-IAM5[Resource::*]": "ecr:GetAuthorizationToken knows no resource."}
            )

    def _allow_data(self, events: aws_s3.IBucket, recommendations: aws_s3.IBucket) -> None:
        self.allow(
            "ReadEvents",
            "s3:GetObject",
            on=objects(events, EVENTS_PREFIX, CATALOGUE_PREFIX),
            why="A training reads all events and the catalogue.",
        )
        # Not by prefix: whoever asks for an object that isn't there is told so by this permission alone, and
        # such a question bears no prefix.
        self.allow("SeeWhatIsThere", "s3:ListBucket", on=[events.bucket_arn, recommendations.bucket_arn])
        self.allow(
            "WriteVersions",
            "s3:GetObject",
            "s3:PutObject",
            "s3:AbortMultipartUpload",
            on=objects(
                recommendations,
                RECOMMENDATIONS_PREFIX,
                GATES_PREFIX,
                MODEL_REPORTS_PREFIX,
                CHECKPOINTS_PREFIX,
                JOBS_PREFIX,
            ),
            why="A training names the version that it makes, and compares it with those that are there.",
        )
        self.allow(
            "TakeBack",
            "s3:DeleteObject",
            on=objects(recommendations, GATES_PREFIX, MODEL_REPORTS_PREFIX, CHECKPOINTS_PREFIX),
            why="What a training leaves before its version is taken back where the version fails.",
        )

    def _allow_key(self, key: aws_kms.IKey) -> None:
        self.allow(
            "UseKey", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", on=[key.key_arn]
        )
        # The disk of the instance belongs to SageMaker's account.
        self.allow(
            "LendKeyToVolume",
            "kms:CreateGrant",
            on=[key.key_arn],
            Bool={"kms:GrantIsForAWSResource": "true"},
        )

    def _allow_telling(self, config: Config) -> None:
        group = self.arn("logs", f"log-group:{LOG_GROUP}")
        self.allow(
            "MakeLogGroup",
            "logs:CreateLogGroup",
            "logs:DescribeLogStreams",
            on=[f"{group}:*"],
            why="A log group in policies ends with an asterisk; it is the one that SageMaker writes to.",
        )
        self.allow(
            "WriteLogs",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
            on=[f"{group}:log-stream:{config.prefix}-*"],
            why="The streams of this deployment's jobs, which begin with its name.",
        )
        self.allow(
            "WriteMetrics",
            "cloudwatch:PutMetricData",
            on=["*"],
            why="CloudWatch's metrics are no resource; a condition limits it to SageMaker's namespace.",
            StringEquals={"cloudwatch:namespace": LOG_GROUP},
        )

    def _allow_network_interfaces(
        self, subnets: aws_ec2.SelectedSubnets, security_group: aws_ec2.ISecurityGroup
    ) -> None:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/train-vpc.html
        within = [self.arn("ec2", f"subnet/{subnet}") for subnet in subnets.subnet_ids]
        group = self.arn("ec2", f"security-group/{security_group.security_group_id}")
        interfaces = self.arn("ec2", "network-interface/*")
        why = "SageMaker makes the interface that a job has, in these subnets alone."
        self.allow(
            "MakeNetworkInterface",
            "ec2:CreateNetworkInterface",
            on=[*within, group, interfaces],
            why=why,
        )
        self.allow(
            "HandleNetworkInterface",
            "ec2:CreateNetworkInterfacePermission",
            "ec2:DeleteNetworkInterface",
            on=[interfaces],
            why=why,
            ArnEquals={"ec2:Subnet": within},
        )
        self.allow(
            "SeeNetwork",
            "ec2:DeleteNetworkInterfacePermission",
            "ec2:DescribeDhcpOptions",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
            on=["*"],
            why="EC2 knows no resource for these actions.",
        )
