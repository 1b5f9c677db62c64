"""A folder that outlives the task that writes to it."""

from aws_cdk import RemovalPolicy, aws_ec2, aws_ecs, aws_efs, aws_iam, aws_kms
from constructs import Construct

from infra.config import Config
from infra.constructs.fargate_server import FargateServer

_NFS = 2049


class FileStore(Construct):
    """A file system of EFS, encrypted, that one server may mount: by its role, over TLS, one folder of it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        vpc: aws_ec2.IVpc,
        subnets: aws_ec2.SubnetSelection,
        key: aws_kms.IKey,
        folder: str,
        user_id: int,
    ) -> None:
        """All that is in `folder` belongs to the user with that number."""
        super().__init__(scope, construct_id)
        self.security_group = aws_ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=vpc,
            allow_all_outbound=False,
            description=f"{config.prefix}: files in {folder}",
        )
        self.file_system = aws_efs.FileSystem(
            self,
            "FileSystem",
            vpc=vpc,
            vpc_subnets=subnets,
            security_group=self.security_group,
            encrypted=True,
            kms_key=key,
            # By default throughput grows with what is stored, and here little is.
            throughput_mode=aws_efs.ThroughputMode.ELASTIC,
            enable_automatic_backups=config.protected,
            removal_policy=RemovalPolicy.RETAIN if config.protected else RemovalPolicy.DESTROY,
        )
        self.file_system.add_to_resource_policy(
            aws_iam.PolicyStatement(
                effect=aws_iam.Effect.DENY,
                principals=[aws_iam.AnyPrincipal()],
                actions=["elasticfilesystem:ClientMount"],
                conditions={"Bool": {"aws:SecureTransport": "false"}},
            )
        )
        self._access_point = self.file_system.add_access_point(
            "AccessPoint",
            path=folder,
            create_acl=aws_efs.Acl(owner_uid=str(user_id), owner_gid=str(user_id), permissions="750"),
            posix_user=aws_efs.PosixUser(uid=str(user_id), gid=str(user_id)),
        )

    def mount(self, server: FargateServer, name: str, path: str) -> None:
        """Have a server see it under a path, and write."""
        server.reach(self.security_group, _NFS, "files")
        server.role.add_to_principal_policy(
            aws_iam.PolicyStatement(
                actions=["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"],
                resources=[self.file_system.file_system_arn],
                conditions={
                    "StringEquals": {"elasticfilesystem:AccessPointArn": self._access_point.access_point_arn}
                },
            )
        )
        server.mount(
            name,
            path,
            aws_ecs.EfsVolumeConfiguration(
                file_system_id=self.file_system.file_system_id,
                transit_encryption="ENABLED",
                authorization_config=aws_ecs.AuthorizationConfig(
                    access_point_id=self._access_point.access_point_id, iam="ENABLED"
                ),
            ),
        )
        # Mounting fails until the mount targets are there.
        server.service.node.add_dependency(self.file_system.mount_targets_available)
