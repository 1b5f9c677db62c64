"""A role whose every wildcard is told beside why it is not narrower."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import Stack, aws_iam
from constructs import Construct

from infra.constructs.wildcard import accept_wildcards


class ExplainedRole(aws_iam.Role):
    """For a service of AWS, while it works for this account and for no other."""

    def __init__(
        self, scope: Construct, construct_id: str, *, description: str, services: Sequence[str]
    ) -> None:
        """`services` are those that take the role, such as `sagemaker`."""
        stack = Stack.of(scope)
        conditions = {"StringEquals": {"aws:SourceAccount": stack.account}}
        super().__init__(
            scope,
            construct_id,
            description=description,
            assumed_by=aws_iam.CompositePrincipal(
                *(
                    aws_iam.ServicePrincipal(f"{service}.amazonaws.com", conditions=conditions)
                    for service in services
                )
            ),
        )
        self._stack = stack

    def arn(self, service: str, resource: str, *, account: str | None = None) -> str:
        """Of a resource in this region, and in this account unless another one is named."""
        stack = self._stack
        return f"arn:{stack.partition}:{service}:{stack.region}:{account or stack.account}:{resource}"

    def allow(
        self, sid: str, *actions: str, on: Sequence[str], why: str | None = None, **conditions: Any
    ) -> None:
        """Allow actions on resources; `why` accepts the wildcards in them.

        `conditions` are by operator, such as `StringEquals={"aws:SourceAccount": "…"}`.
        """
        self.add_to_policy(
            aws_iam.PolicyStatement(sid=sid, actions=list(actions), resources=list(on), conditions=conditions)
        )
        if why is not None:
            accept_wildcards(self, why, resources=on, actions=actions)
