"""Findings at the helpers that the CDK brings along, which work during a deployment and then rest."""

from collections.abc import Mapping
from typing import Final

from aws_cdk import Stack

from infra.constructs.acknowledgement import acknowledge

_BASIC: Final = (
    "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]"
)
_CDKS: Final = "The CDK's own helper, which runs during a deployment alone"

SINGLETONS: Final[Mapping[str, Mapping[str, str]]] = {
    "LogRetention": {
        _BASIC: f"{_CDKS}, and writes its log.",
        "AwsSolutions-IAM5[Resource::*]": f"{_CDKS}: it says how long logs are kept, whose names RDS makes.",
        "AwsSolutions-L1": f"{_CDKS}: its runtime is the CDK's to choose.",
    },
}
"""By how the name of such a helper begins, one a stack: rule and reason."""


def explain_singletons(stack: Stack) -> None:
    """Accept what is found at the helpers of a stack; called when all of it is there."""
    for child in stack.node.children:
        for name, reasons in SINGLETONS.items():
            if child.node.id.startswith(name):
                acknowledge(child, reasons)
