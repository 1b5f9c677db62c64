"""Stack: Airflow, and what its tasks may do and reach."""

from typing import TYPE_CHECKING, Any

from aws_cdk import CfnOutput, Stack
from constructs import Construct

from infra.api import ApiStack
from infra.config import Config
from infra.constructs.airflow import Airflow
from infra.constructs.airflow_role import AirflowRole
from infra.constructs.dag_files import CERTIFICATES, DagFiles
from infra.constructs.database import PORT, RdsDatabase
from infra.data import DataStack
from infra.network import NetworkStack
from infra.training import TrainingStack

if TYPE_CHECKING:
    from infra.monitoring import MonitoringStack

DATABASE_USER = "retrain"


class OrchestrationStack(Stack):
    """The environment, its DAGs, and the document that tells them where everything is."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        network: NetworkStack,
        data: DataStack,
        monitoring: "MonitoringStack",
        training: TrainingStack,
        api: ApiStack,
    ) -> None:
        super().__init__(scope, construct_id, description="Shop recommender: Airflow")
        role = self._make_role(config, data, training, api)
        files = DagFiles(
            self,
            "Files",
            config=config,
            bucket=data.dags_bucket,
            key=data.key,
            deployment=self._describe(config, data, monitoring, api),
        )
        self.airflow = Airflow(
            self,
            "Airflow",
            config=config,
            vpc=network.vpc,
            subnets=network.subnets,
            key=data.key,
            dags=data.dags_bucket,
            files=files,
            role=role,
        )
        servers = {
            "MLflow": monitoring.mlflow,
            "pushgateway": monitoring.pushgateway,
            "Prometheus": monitoring.prometheus,
        }
        for name, server in servers.items():
            self.airflow.reach(server.security_group, server.port, name)
        if isinstance(data.database, RdsDatabase):
            self.airflow.reach(data.database.security_group, PORT, "Postgres")
        self.environment_name = self.airflow.name
        CfnOutput(
            self,
            "AirflowName",
            value=self.environment_name,
            description="aws mwaa create-web-login-token --name …",
        )

    def _make_role(
        self, config: Config, data: DataStack, training: TrainingStack, api: ApiStack
    ) -> AirflowRole:
        role = AirflowRole(self, "Role", config=config, dags=data.dags_bucket, key=data.key)
        role.let_keep_events(data.events_bucket)
        role.let_keep_versions(data.recommendations_bucket)
        role.let_train(training.role)
        role.allow("TryVersion", "lambda:InvokeFunction", on=[api.read.alias.function_arn])
        role.allow("TellPeople", "sns:Publish", on=[data.topic.topic_arn])
        if config.slack_webhook_secret is not None:
            # Secrets Manager ends each ARN with a hyphen and six characters of its own.
            webhook = role.arn("secretsmanager", f"secret:{config.slack_webhook_secret}-??????")
            role.allow("TellSlack", "secretsmanager:GetSecretValue", on=[webhook])
        if isinstance(data.database, RdsDatabase):
            data.database.allow_tokens(role, user=DATABASE_USER)
        else:
            data.database.secret.grant_read(role)
        return role

    def _describe(
        self,
        config: Config,
        data: DataStack,
        monitoring: "MonitoringStack",
        api: ApiStack,
    ) -> dict[str, Any]:
        """What `dags/README.md` says of `deployment.json`."""
        described = {
            "stage": config.stage,
            "region": self.region,
            "prefix": config.prefix,
            "events_uri": f"s3://{data.events_bucket.bucket_name}",
            "recommendations_uri": f"s3://{data.recommendations_bucket.bucket_name}",
            "mlflow_tracking_uri": monitoring.mlflow.url,
            "pushgateway_url": monitoring.pushgateway.url,
            "prometheus_url": monitoring.prometheus.url,
            **_login(data, self),
            "read_function": api.read.alias.function_arn,
            "housekeeping_function": api.housekeeping.function.function_name,
            "retrain_schedule": config.retrain_schedule,
            "notification_topic": data.topic.topic_arn,
            "slack_webhook_secret": config.slack_webhook_secret,
        }
        return {name: value for name, value in described.items() if value is not None}


def _login(data: DataStack, reader: Construct) -> dict[str, str]:
    """What `lambdas/database_login.py` is told."""
    if isinstance(data.database, RdsDatabase):
        return {
            "database_url": data.database.url(DATABASE_USER, reader),
            "database_auth": "iam",
            "database_ca": CERTIFICATES,
        }
    return {
        "database_url": "postgresql://127.0.0.1",
        "database_auth": "secret",
        "database_secret": data.database.secret.secret_name,
    }
