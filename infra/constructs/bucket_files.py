"""Files that a deployment puts into a bucket."""

from collections.abc import Sequence

from aws_cdk import Stack, aws_s3, aws_s3_deployment
from constructs import Construct

from infra.config import Config
from infra.constructs.log_group import LogGroup
from infra.constructs.wildcard import accept_wildcards, objects


class BucketFiles(Construct):
    """Files below a folder of a bucket, as they are in the project, or as they are worked out here."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        bucket: aws_s3.IBucket,
        folder: str,
        sources: Sequence[aws_s3_deployment.ISource],
        prune: bool,
        leave: Sequence[str] = (),
    ) -> None:
        """`prune` deletes what else lies there, but for what `leave` names."""
        super().__init__(scope, construct_id)
        deployment = aws_s3_deployment.BucketDeployment(
            self,
            "Deployment",
            destination_bucket=bucket,
            destination_key_prefix=folder,
            sources=sources,
            prune=prune,
            exclude=list(leave) or None,
            log_group=LogGroup(self, "Logs", config=config),
        )
        stack = Stack.of(self)
        assets = f"cdk-{stack.synthesizer.bootstrap_qualifier}-assets-{stack.account}-{stack.region}"
        accept_wildcards(
            deployment.handler_role,
            "It copies files from CDK's assets to this bucket, and deletes there what is gone.",
            resources=[f"arn:{stack.partition}:s3:::{assets}/*", *objects(bucket, "")],
        )
