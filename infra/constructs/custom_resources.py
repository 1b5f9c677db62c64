"""Findings at the helpers that the CDK brings along, which work during a deployment and then rest."""

from collections.abc import Mapping
from typing import Final

from aws_cdk import Stack

from infra.constructs.acknowledgement import acknowledge

_BASIC: Final = (
    "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]"
)
_CDKS: Final = "The CDK's own helper, which runs during a deployment alone"

_WAITED_FOR: Final[Mapping[str, str]] = {
    _BASIC: f"{_CDKS}, and writes its log.",
    "AwsSolutions-L1": f"{_CDKS}: its runtime is the CDK's to choose.",
    "Serverless-LambdaDLQ": f"{_CDKS}; CloudFormation waits for its answer, and fails where it does.",
    "Serverless-LambdaDefaultMemorySize": f"{_CDKS}, and has as much memory as it needs.",
    "Serverless-LambdaLatestVersion": f"{_CDKS}: its runtime is the CDK's to choose.",
    "Serverless-LambdaTracing": f"{_CDKS}: its log tells what it did.",
}
_COPIES: Final = f"{_CDKS}: it copies files out of CDK's assets into one bucket, and deletes what is gone."

SINGLETONS: Final[Mapping[str, Mapping[str, str]]] = {
    "LogRetention": {
        _BASIC: f"{_CDKS}, and writes its log.",
        "AwsSolutions-IAM5[Resource::*]": f"{_CDKS}: it says how long logs are kept, whose names RDS makes.",
        "AwsSolutions-L1": f"{_CDKS}: its runtime is the CDK's to choose.",
    },
    "AWS679f53fac": _WAITED_FOR,
    "Custom::CDKBucketDeployment": {
        **_WAITED_FOR,
        **{
            f"AwsSolutions-IAM5[Action::{action}*]": _COPIES
            for action in (
                "kms:GenerateDataKey",
                "kms:ReEncrypt",
                "s3:Abort",
                "s3:DeleteObject",
                "s3:GetBucket",
                "s3:GetObject",
                "s3:List",
            )
        },
    },
}
"""By how the name of such a helper begins, one a stack: rule and reason."""


def explain_singletons(stack: Stack) -> None:
    """Accept what is found at the helpers of a stack; called when all of it is there."""
    for child in stack.node.children:
        for name, reasons in SINGLETONS.items():
            if child.node.id.startswith(name):
                acknowledge(child, reasons)
