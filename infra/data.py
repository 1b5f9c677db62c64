"""Stack: what must not be lost."""

from aws_cdk import (
    Duration,
    RemovalPolicy,
    Stack,
    aws_iam,
    aws_kms,
    aws_s3,
    aws_secretsmanager,
    aws_sns,
    aws_sns_subscriptions,
    triggers,
)
from constructs import Construct

from contract.s3_layout import BACKFILL_PREFIX, DATA_REPORTS_PREFIX, REJECTED_PREFIX
from infra.archives import Archives
from infra.config import Config
from infra.constructs.acknowledgement import acknowledge
from infra.constructs.database import GivenDatabase, RdsDatabase
from infra.constructs.private_bucket import AccessLogs, PrivateBucket
from infra.constructs.python_function import PythonFunction
from infra.network import NetworkStack

CHECKPOINTS_PREFIX = "checkpoints/"
"""Where SageMaker keeps what a training has worked out so far."""
JOBS_PREFIX = "training-jobs/"
"""Where it puts `model.tar.gz`."""


class DataStack(Stack):
    """Buckets, Postgres, and the trigger that brings its schema up to date."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        archives: Archives,
        network: NetworkStack,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            description="Shop recommender: buckets and Postgres",
            termination_protection=config.protected,
        )
        self.key = aws_kms.Key(
            self,
            "Key",
            alias=f"alias/{config.prefix}",
            description=f"{config.prefix}: buckets, Postgres and secrets",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN if config.protected else RemovalPolicy.DESTROY,
        )
        self.topic = self._make_topic(config.alarm_email)
        """Who is told of what needs a person."""
        self._make_buckets(config)
        self.database = self._make_database(config, network)
        self.mlflow_secret = self._make_mlflow_secret()
        self.migrate_database = self._make_migrator(config, archives, network)
        # Each new version of the function is invoked, and what it raises fails the deployment: this stack is
        # rolled back, and those that depend on it are never touched.
        self.migration = triggers.Trigger(
            self,
            "Migration",
            handler=self.migrate_database.function,
            # The function with what is its own, too: its way to Postgres is a resource that it doesn't name.
            execute_after=[self.database, self.migrate_database],
            timeout=Duration.minutes(15),
        )

    def _make_topic(self, email: str | None) -> aws_sns.Topic:
        topic = aws_sns.Topic(
            self, "Topic", master_key=self.key, enforce_ssl=True, display_name="Shop recommender: alarms"
        )
        for service in ("cloudwatch", "events", "budgets"):
            # Under the topic's key, for this account alone. EventBridge's rules bring a grant of their own,
            # without a condition: with one they could not publish under a key.
            principal = aws_iam.ServicePrincipal(
                f"{service}.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": self.account}}
            )
            self.key.grant(principal, "kms:Decrypt", "kms:GenerateDataKey*")
            topic.grant_publish(principal)
        if email is not None:
            subscription = topic.add_subscription(aws_sns_subscriptions.EmailSubscription(email))
            acknowledge(
                subscription,
                {"Serverless-SNSRedrivePolicy": "SNS retries mail by itself; a queue has no reader."},
            )
        return topic

    def _make_buckets(self, config: Config) -> None:
        logs = AccessLogs(self, "AccessLogs", config=config)

        def bucket(construct_id: str, **expiry_days: int) -> PrivateBucket:
            rules = [
                aws_s3.LifecycleRule(id=name, prefix=f"{name}/", expiration=Duration.days(days))
                for name, days in expiry_days.items()
            ]
            return PrivateBucket(
                self, construct_id, config=config, key=self.key, access_logs=logs, rules=rules
            )

        self.access_logs = logs
        self.events_bucket = bucket(
            "Events",
            **{
                REJECTED_PREFIX.rstrip("/"): 30,
                DATA_REPORTS_PREFIX.rstrip("/"): 90,
                BACKFILL_PREFIX.rstrip("/"): 30,
            },
        )
        """What visitors did and what the shop sells."""
        self.recommendations_bucket = bucket(
            "Recommendations", **{CHECKPOINTS_PREFIX.rstrip("/"): 14, JOBS_PREFIX.rstrip("/"): 90}
        )
        """Versions, what the gate said of them, reports for people, and what trainings leave."""
        self.artifacts_bucket = bucket("Artifacts")
        """MLflow's."""
        self.dags_bucket = bucket("Dags")
        """What Airflow reads."""

    def _make_database(self, config: Config, network: NetworkStack) -> RdsDatabase | GivenDatabase:
        if config.database_secret is not None:
            return GivenDatabase(self, "Database", secret_name=config.database_secret)
        return RdsDatabase(
            self,
            "Database",
            config=config,
            vpc=network.vpc,
            subnets=network.subnets,
            key=self.key,
        )

    def _make_mlflow_secret(self) -> aws_secretsmanager.Secret:
        secret = aws_secretsmanager.Secret(
            self,
            "MlflowSecret",
            description="MLflow's user of its own database",
            encryption_key=self.key,
            generate_secret_string=aws_secretsmanager.SecretStringGenerator(
                secret_string_template='{"username": "mlflow"}',  # noqa: S106 - the user alone
                generate_string_key="password",
                exclude_punctuation=True,
                password_length=40,
            ),
        )
        acknowledge(
            secret,
            {
                "AwsSolutions-SMG4": "MLflow reads it when it starts: a rotation by itself would lock it"
                " out; docs/deploy.md tells how to change it."
            },
        )
        return secret

    def _make_migrator(self, config: Config, archives: Archives, network: NetworkStack) -> PythonFunction:
        function = PythonFunction(
            self,
            "MigrateDatabase",
            config=config,
            archives=archives,
            code="migrate_database",
            name="migrate-database",
            description="Makes roles and databases, and brings the schema up to date",
            timeout=Duration.minutes(14),
            vpc=network.vpc,
            subnets=network.subnets,
        )
        self.database.let_in_as_master(function)
        self.mlflow_secret.grant_read(function.role)
        function.set(MLFLOW_DATABASE_SECRET=self.mlflow_secret.secret_arn)
        return function
