"""Resources of policies that are many at once, and why they are."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Stack, aws_s3
from constructs import IConstruct

from infra.constructs.acknowledgement import acknowledge


def objects(bucket: aws_s3.IBucket, *prefixes: str) -> list[str]:
    """The ARNs of what lies below prefixes in a bucket of another stack."""
    # As an import: only so is it known beforehand what the security rules will call it.
    bucket_arn = Stack.of(bucket).export_value(bucket.bucket_arn)
    return [f"{bucket_arn}/{prefix}*" for prefix in prefixes]


def accept_wildcards(
    construct: IConstruct, why: str, *, resources: Sequence[str] = (), actions: Sequence[str] = ()
) -> None:
    """Accept those resources and actions, of policies at a construct or below it, that have a wildcard."""
    stack = Stack.of(construct)
    named = [f"Resource::{_written(stack.resolve(resource))}" for resource in resources]
    named += [f"Action::{action}" for action in actions]
    acknowledge(construct, {f"AwsSolutions-IAM5[{name}]": why for name in named if "*" in name})


def _written(value: Any) -> str:
    """A resource as the security rules write it: `<LogicalId.Attribute>`, or the name of an import."""
    if isinstance(value, str):
        return value
    assert isinstance(value, Mapping)  # noqa: S101 - CloudFormation has nothing else
    ((function, argument),) = value.items()
    match function:
        case "Fn::Join":
            return "".join(map(_written, argument[1]))
        case "Fn::ImportValue":
            return _written(argument)
        case "Fn::GetAtt":
            return f"<{'.'.join(argument)}>"
        case _:
            return f"<{argument}>"
