"""A bucket that nobody reaches without a grant and TLS."""

from aws_cdk import Duration, RemovalPolicy, aws_kms, aws_s3
from constructs import Construct

from infra.config import Config
from infra.constructs.acknowledgement import acknowledge

OLD_VERSIONS = Duration.days(30)
"""How long what was overwritten or deleted can be brought back; then it is gone, as privacy asks."""


class AccessLogs(aws_s3.Bucket):
    """Who asked the other buckets for what. S3 can only write them under a key of its own."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config) -> None:
        super().__init__(
            scope,
            construct_id,
            encryption=aws_s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=aws_s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=aws_s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            lifecycle_rules=[
                aws_s3.LifecycleRule(
                    id="expire",
                    expiration=Duration.days(config.log_retention_days),
                    abort_incomplete_multipart_upload_after=Duration.days(7),
                )
            ],
            removal_policy=RemovalPolicy.RETAIN if config.protected else RemovalPolicy.DESTROY,
            auto_delete_objects=not config.protected,
        )
        acknowledge(
            self,
            {"AwsSolutions-S1": "Access logs go here: logs of its own would follow each other."},
        )


class PrivateBucket(aws_s3.Bucket):
    """Versioned, under the deployment's key; old versions and half-done uploads expire."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        key: aws_kms.IKey,
        access_logs: aws_s3.IBucket,
        rules: list[aws_s3.LifecycleRule] | None = None,
    ) -> None:
        """`rules` say what expires beside old versions."""
        super().__init__(
            scope,
            construct_id,
            encryption=aws_s3.BucketEncryption.KMS,
            encryption_key=key,
            bucket_key_enabled=True,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=aws_s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=aws_s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            server_access_logs_bucket=access_logs,
            server_access_logs_prefix=f"{construct_id.lower()}/",
            lifecycle_rules=[
                aws_s3.LifecycleRule(
                    id="old-versions",
                    noncurrent_version_expiration=OLD_VERSIONS,
                    expired_object_delete_marker=True,
                    abort_incomplete_multipart_upload_after=Duration.days(7),
                ),
                *(rules or []),
            ],
            removal_policy=RemovalPolicy.RETAIN if config.protected else RemovalPolicy.DESTROY,
            auto_delete_objects=not config.protected,
        )
