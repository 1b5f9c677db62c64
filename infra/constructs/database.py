"""Postgres, and by which way functions come to it."""

from typing import Final, Protocol

from aws_cdk import (
    ArnFormat,
    Duration,
    RemovalPolicy,
    Stack,
    aws_ec2,
    aws_iam,
    aws_kms,
    aws_rds,
    aws_secretsmanager,
)
from constructs import Construct, IConstruct

from infra.config import Config
from infra.constructs.acknowledgement import acknowledge
from infra.constructs.log_group import retention
from infra.constructs.python_function import PythonFunction
from infra.constructs.shared_value import SharedValue

NAME: Final = "shop"
MASTER: Final = "postgres"
PORT: Final = 5432
ENGINE: Final = aws_rds.DatabaseInstanceEngine.postgres(version=aws_rds.PostgresEngineVersion.VER_17_9)
"""The minor, too: with the major alone RDS would choose another one for each new deployment."""
CERTIFICATES: Final = "/var/task/lambdas/rds_ca.pem"
"""In every archive that connects: who may vouch for RDS."""


class Database(Protocol):
    """How functions log in to Postgres."""

    def let_in(self, function: PythonFunction, *, user: str) -> None:
        """Have a function connect as a user that may do what it needs and no more."""

    def let_in_as_master(self, function: PythonFunction) -> None:
        """Have a function connect as who makes roles and databases."""


class RdsDatabase(Construct):
    """An instance of RDS: TLS only, users by IAM, the master by a secret that RDS keeps and changes."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        vpc: aws_ec2.IVpc,
        subnets: aws_ec2.SubnetSelection,
        key: aws_kms.IKey,
    ) -> None:
        super().__init__(scope, construct_id)
        self.security_group = aws_ec2.SecurityGroup(
            self, "SecurityGroup", vpc=vpc, allow_all_outbound=False, description=f"{config.prefix}: Postgres"
        )
        self.instance = self._make_instance(config, vpc, subnets, key)
        # A restored database is another one, with another address.
        self._host, self._identifier, self._resource_id = (
            SharedValue(self, name, name=f"/{config.prefix}/database/{name.lower()}", value=value)
            for name, value in {
                "Host": self.instance.db_instance_endpoint_address,
                "Identifier": self.instance.instance_identifier,
                "ResourceId": self.instance.instance_resource_id or "",
            }.items()
        )
        self._explain(config)

    @property
    def secret(self) -> aws_secretsmanager.ISecret:
        """The master's user and password, and where Postgres is."""
        assert self.instance.secret is not None  # noqa: S101 - RDS keeps one
        return self.instance.secret

    def host(self, reader: IConstruct) -> str:
        """The address."""
        return self._host.read(reader)

    def identifier(self, reader: IConstruct) -> str:
        """What RDS calls the instance."""
        return self._identifier.read(reader)

    def url(self, user: str, reader: IConstruct) -> str:
        """Where Postgres is, as libpq understands it, without a password."""
        return f"postgresql://{user}@{self.host(reader)}:{PORT}/{NAME}?sslmode=verify-full"

    def allow_tokens(self, role: aws_iam.Role, *, user: str) -> None:
        """Let a role make tokens that log in as a user."""
        arn = Stack.of(role).format_arn(
            service="rds-db",
            resource="dbuser",
            resource_name=f"{self._resource_id.read(role)}/{user}",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        role.add_to_policy(aws_iam.PolicyStatement(actions=["rds-db:connect"], resources=[arn]))

    def let_in(self, function: PythonFunction, *, user: str) -> None:
        """By a token of IAM for each new connection, which is signed without a call."""
        self._open_to(function)
        self.allow_tokens(function.role, user=user)
        function.set(DATABASE_AUTH="iam", DATABASE_URL=self.url(user, function), DATABASE_CA=CERTIFICATES)

    def let_in_as_master(self, function: PythonFunction) -> None:
        """By the secret, which is asked for through the NAT; or by a token, should Postgres want one."""
        self._open_to(function)
        function.reach_aws()
        self.secret.grant_read(function.role)
        self.allow_tokens(function.role, user=MASTER)
        function.set(
            DATABASE_AUTH="secret",
            DATABASE_URL=self.url(MASTER, function),
            DATABASE_SECRET=self.secret.secret_arn,
            DATABASE_CA=CERTIFICATES,
        )

    def _open_to(self, function: PythonFunction) -> None:
        function.reach(self.security_group, PORT, "Postgres")

    def _make_instance(
        self, config: Config, vpc: aws_ec2.IVpc, subnets: aws_ec2.SubnetSelection, key: aws_kms.IKey
    ) -> aws_rds.DatabaseInstance:
        parameters = aws_rds.ParameterGroup(
            self,
            "Parameters",
            engine=ENGINE,
            description=f"{config.prefix}: TLS only, and as many connections as the functions are counted by",
            parameters={
                "rds.force_ssl": "1",
                "max_connections": str(config.max_connections),
                # Statements would come with their parameters, and those are users' ids.
                "log_min_duration_statement": "-1",
                "log_lock_waits": "1",
                "idle_in_transaction_session_timeout": "300000",
            },
        )
        instance = aws_rds.DatabaseInstance(
            self,
            "Instance",
            engine=ENGINE,
            instance_type=aws_ec2.InstanceType(config.database_instance),
            vpc=vpc,
            vpc_subnets=subnets,
            security_groups=[self.security_group],
            parameter_group=parameters,
            database_name=NAME,
            credentials=aws_rds.Credentials.from_username(MASTER, encryption_key=key),
            # RDS changes it without logging in. A function that rotates would log in, and Postgres may refuse
            # the master's password: who makes roles that are in `rds_iam` counts as one of them.
            manage_master_user_password=True,
            iam_authentication=True,
            allocated_storage=config.database_storage_gb,
            max_allocated_storage=config.database_max_storage_gb,
            storage_type=aws_rds.StorageType.GP3,
            storage_encryption_key=key,
            multi_az=config.database_multi_az,
            publicly_accessible=False,
            backup_retention=Duration.days(config.database_backup_days),
            copy_tags_to_snapshot=True,
            delete_automated_backups=not config.protected,
            deletion_protection=config.protected,
            removal_policy=RemovalPolicy.SNAPSHOT if config.protected else RemovalPolicy.DESTROY,
            # Minors are chosen here, by a deployment that somebody looks at.
            auto_minor_version_upgrade=False,
            ca_certificate=aws_rds.CaCertificate.RDS_CA_RSA2048_G1,
            cloudwatch_logs_exports=["postgresql", "upgrade"],
            cloudwatch_logs_retention=retention(config),
        )
        if config.database_snapshot is not None:
            _restore(instance, config.database_snapshot)
        return instance

    def _explain(self, config: Config) -> None:
        reasons = {"AwsSolutions-RDS11": "Security group, TLS and IAM decide who connects, not the port."}
        if not config.database_multi_az:
            reasons["AwsSolutions-RDS3"] = "database_multi_az is for stages that have to outlive a zone."
        if config.database_snapshot:
            reasons["AwsSolutions-RDS2"] = "It is encrypted as its snapshot was, one of ours by our key."
        if not config.protected:
            reasons["AwsSolutions-RDS10"] = "A deployment that is not protected is meant to be deleted whole."
        acknowledge(self.instance, reasons)


def _restore(instance: aws_rds.DatabaseInstance, snapshot: str) -> None:
    """Make the instance from a snapshot, which says what may not be said again.

    Not by `DatabaseInstanceFromSnapshot`: it has no password that RDS manages.
    """
    resource = instance.node.default_child
    assert isinstance(resource, aws_rds.CfnDBInstance)  # noqa: S101 - what the construct is made of
    resource.db_snapshot_identifier = snapshot
    resource.db_name = resource.master_username = None
    resource.storage_encrypted = resource.kms_key_id = None


class GivenDatabase(Construct):
    """A Postgres on the machine that LocalStack runs on; a secret says where, and as whom."""

    def __init__(self, scope: Construct, construct_id: str, *, secret_name: str) -> None:
        super().__init__(scope, construct_id)
        self.secret = aws_secretsmanager.Secret.from_secret_name_v2(self, "Secret", secret_name)

    def let_in(self, function: PythonFunction, *, user: str) -> None:  # noqa: ARG002 - there is one user
        """By the secret, whoever it is: no token of LocalStack's opens a real Postgres."""
        self.let_in_as_master(function)

    def let_in_as_master(self, function: PythonFunction) -> None:
        """By the secret; port and database are what it says."""
        self.secret.grant_read(function.role)
        function.set(
            DATABASE_AUTH="secret",
            DATABASE_URL="postgresql://127.0.0.1",
            DATABASE_SECRET=self.secret.secret_name,
        )
