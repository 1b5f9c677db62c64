"""Stack: tracking and monitoring. MLflow, pushgateway, Prometheus, Grafana, and people's way to them."""

from pathlib import Path
from typing import Any, Final

from aws_cdk import CfnOutput, Duration, Stack, aws_ecs, aws_iam, aws_kms, aws_secretsmanager, aws_sns
from constructs import Construct

from infra.config import Config
from infra.constructs.acknowledgement import acknowledge
from infra.constructs.alarm import Alarm
from infra.constructs.built_image import BuiltImage
from infra.constructs.database import PORT as POSTGRES_PORT
from infra.constructs.database import RdsDatabase
from infra.constructs.fargate_server import FargateServer
from infra.constructs.file_store import FileStore
from infra.constructs.load_balancer import LoadBalancer
from infra.constructs.wildcard import accept_wildcards, objects
from infra.data import DataStack
from infra.network import NetworkStack

PROJECT: Final = Path(__file__).parents[1]

PUSHGATEWAY_IMAGE: Final = "quay.io/prometheus/pushgateway:v1.11.2"
"""The release as it is published."""
ALERTMANAGER_IMAGE: Final = "quay.io/prometheus/alertmanager:v0.33.1"
ALERTMANAGER_CONFIG: Final = 'printf "%s" "$ALERTMANAGER_YML" > /alertmanager/alertmanager.yml'
ALERTMANAGER_COMMAND: Final = (
    "/bin/alertmanager",
    "--config.file=/alertmanager/alertmanager.yml",
    "--storage.path=/alertmanager",
    # One alone has nobody to talk to. Silences are gone with its task.
    "--cluster.listen-address=",
)
PUSHGATEWAY_PORT: Final = 9091
PROMETHEUS_PORT: Final = 9090
ALERTMANAGER_PORT: Final = 9093
"""prometheus.yml names it, too: both run in one task."""
MLFLOW_PORT: Final = 5000
GRAFANA_PORT: Final = 3000

MLFLOW_PATH: Final = "/mlflow"
"""What MLflow serves below: machines' tracking URI ends with it, too."""
GRAFANA_PATH: Final = "/grafana"

RETENTION_DAYS: Final = 90
"""How long Prometheus keeps numbers: a season, to compare releases of the model in."""

MLFLOW_STORE: Final = "postgresql+psycopg://"
"""All that is missing here, libpq reads from PG… in the environment, so that no command holds a password."""
MLFLOW_ENVIRONMENT: Final = {
    # Job workers double the memory, and nothing here runs a job.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # The server keeps three pools, and two connections of its start: 20 in all, as infra.impossible counts.
    # An overflow of 0 would be taken for none given, which is 10.
    "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "4",
    "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "2",
    # Who asks it by HTTPS is told by the load balancer: redirects would lead to HTTP otherwise.
    "FORWARDED_ALLOW_IPS": "*",
}
GRAFANA_ENVIRONMENT: Final = {
    "GF_SERVER_SERVE_FROM_SUB_PATH": "true",
    "GF_AUTH_ANONYMOUS_ENABLED": "false",
    "GF_USERS_ALLOW_SIGN_UP": "false",
    "GF_SECURITY_DISABLE_GRAVATAR": "true",
    "GF_SNAPSHOTS_EXTERNAL_ENABLED": "false",
    "GF_PUBLIC_DASHBOARDS_ENABLED": "false",
    # Nothing is told to Grafana's makers, and nothing is fetched from them.
    "GF_ANALYTICS_REPORTING_ENABLED": "false",
    "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
    "GF_ANALYTICS_FEEDBACK_LINKS_ENABLED": "false",
    "GF_NEWS_NEWS_FEED_ENABLED": "false",
    "GF_PLUGINS_PLUGIN_ADMIN_ENABLED": "false",
    "GF_PLUGINS_PREINSTALL_DISABLED": "true",
    "GF_LOG_MODE": "console",
}


class MonitoringStack(Stack):
    """Four servers on Fargate; machines find them by name, people reach two of them by the load balancer."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        network: NetworkStack,
        data: DataStack,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            description="Shop recommender: MLflow, Prometheus, Grafana",
            termination_protection=config.protected,
        )
        # MLflow's database and its user are there before it is.
        self.add_stack_dependency(data)
        self._config, self._network, self._data = config, network, data
        # By its ARN: what is granted here must not be written into its policy, in a stack before this one.
        self._key = aws_kms.Key.from_key_arn(self, "Key", data.key.key_arn)
        self._cluster = aws_ecs.Cluster(
            self,
            "Cluster",
            vpc=network.vpc,
            container_insights_v2=aws_ecs.ContainerInsights.ENABLED
            if config.container_insights
            else aws_ecs.ContainerInsights.DISABLED,
            default_cloud_map_namespace=aws_ecs.CloudMapNamespaceOptions(
                name=config.namespace, vpc=network.vpc
            ),
        )
        if not config.container_insights:
            acknowledge(
                self._cluster,
                {"AwsSolutions-ECS4": "The setting `container_insights` is off: it costs much."},
            )
        self.load_balancer = self._make_load_balancer() if config.load_balancer else None
        self.pushgateway = self._make_pushgateway()
        """Takes numbers of what lives too short to be asked for them."""
        self.prometheus = self._make_prometheus()
        self._tell_of_alerts(self.prometheus)
        self.mlflow = self._make_mlflow()
        self.grafana = self._make_grafana()
        self._lead_people()

    def _server(self, construct_id: str, **settings: Any) -> FargateServer:
        return FargateServer(
            self,
            construct_id,
            config=self._config,
            cluster=self._cluster,
            subnets=self._network.subnets,
            **settings,
        )

    def _make_load_balancer(self) -> LoadBalancer:
        return LoadBalancer(
            self,
            "People",
            config=self._config,
            vpc=self._network.vpc,
            subnets=self._network.subnets,
            access_logs=self._data.access_logs,
        )

    def _make_pushgateway(self) -> FargateServer:
        return self._server(
            "Pushgateway",
            name="pushgateway",
            description="takes pushed metrics",
            port=PUSHGATEWAY_PORT,
            url=self._config.pushgateway_url,
            image=PUSHGATEWAY_IMAGE,
            # Comparing a push with those of a thousand environments takes 0.1 s; types come from one list.
            command=["--push.disable-consistency-check"],
            health_check=_asks(f"http://127.0.0.1:{PUSHGATEWAY_PORT}/-/ready"),
            # Two at once would each hold a part of what was pushed.
            alone=True,
        )

    def _make_prometheus(self) -> FargateServer:
        image = BuiltImage(
            self,
            "PrometheusImage",
            config=self._config,
            name="prometheus",
            directory=PROJECT / "grafana/prometheus",
            dockerfile="Dockerfile",
            files=("prometheus.yml", "rules"),
            build_args={
                "PUSHGATEWAY": f"pushgateway.{self._config.namespace}:{PUSHGATEWAY_PORT}",
                "STAGE": self._config.stage,
            },
            image=self._config.prometheus_image,
        )
        server = self._server(
            "Prometheus",
            name="prometheus",
            description="asks the pushgateway, and keeps what it is told",
            port=PROMETHEUS_PORT,
            url=self._config.prometheus_url,
            image=image,
            command=[
                "--config.file=/etc/prometheus/prometheus.yml",
                "--storage.tsdb.path=/prometheus",
                f"--storage.tsdb.retention.time={RETENTION_DAYS}d",
            ],
            health_check=_asks(f"http://127.0.0.1:{PROMETHEUS_PORT}/-/ready"),
            # Prometheus doesn't support NFS, which EFS is: reports of damage are of two writers, or of locks
            # and atomic renames that a server lacks. Here one task writes at a time, with time to end well,
            # and EFS has both. At stake is history: nothing that is served reads it. To watch: "corrupt" in
            # its log, and prometheus_tsdb_wal_corruptions_total. docs/deploy.md tells what to do then.
            alone=True,
            memory_mb=1024,
        )
        store = FileStore(
            self,
            "PrometheusData",
            config=self._config,
            vpc=self._network.vpc,
            subnets=self._network.subnets,
            key=self._key,
            folder="/prometheus",
            user_id=65534,
        )
        store.mount(server, "data", "/prometheus")
        server.reach(self.pushgateway.security_group, PUSHGATEWAY_PORT, "pushgateway")
        return server

    def _tell_of_alerts(self, prometheus: FargateServer) -> None:
        """Run Alertmanager in Prometheus' task: what one costs, and one place to fail."""
        heartbeat = self._watch_the_watch()
        topics = {"TOPIC": self._data.topic.topic_arn, "HEARTBEAT": heartbeat.topic_arn}
        config = (PROJECT / "grafana/alertmanager/alertmanager.yml").read_text()
        for name, value in {**topics, "REGION": self.region}.items():
            config = config.replace(f": {name}", f": {value}")
        prometheus.run_beside(
            "alertmanager",
            image=ALERTMANAGER_IMAGE,
            port=ALERTMANAGER_PORT,
            # The image as it is published; what is the account's own comes by the environment.
            entry_point=["/bin/sh", "-euc"],
            command=[f"{ALERTMANAGER_CONFIG}; exec {' '.join(ALERTMANAGER_COMMAND)}"],
            environment={"ALERTMANAGER_YML": config},
            scratch=["/alertmanager"],
            health_check=_asks(f"http://127.0.0.1:{ALERTMANAGER_PORT}/-/ready"),
        )
        for actions, resources in (
            (["sns:Publish"], list(topics.values())),
            # Both topics are encrypted.
            (["kms:Decrypt", "kms:GenerateDataKey"], [self._key.key_arn]),
        ):
            prometheus.role.add_to_principal_policy(
                aws_iam.PolicyStatement(actions=actions, resources=resources)
            )

    def _watch_the_watch(self) -> aws_sns.Topic:
        """Make the topic that Alertmanager writes to every few minutes, and the alarm for when it doesn't."""
        heartbeat = aws_sns.Topic(
            self,
            "Heartbeat",
            master_key=self._key,
            enforce_ssl=True,
            display_name="Shop recommender: Prometheus is at work",
        )
        Alarm(
            self,
            "Watchdog",
            name=f"{self._config.prefix}-watchdog",
            topic=self._data.topic,
            metric=heartbeat.metric_number_of_messages_published(
                period=Duration.minutes(10), statistic="Sum"
            ),
            below=1,
            what_to_do="Prometheus or Alertmanager is not at work, or can't reach SNS: none of their alerts"
            " will be heard. docs/runbook.md#watchdog tells what to do.",
            silence_is_bad=True,
        )
        return heartbeat

    def _make_mlflow(self) -> FargateServer:
        data = self._data
        image = BuiltImage(
            self,
            "MlflowImage",
            config=self._config,
            name="mlflow",
            directory=PROJECT,
            dockerfile="infra/mlflow/Dockerfile",
            files=("locks/mlflow.txt", "lambdas/rds_ca.pem"),
            image=self._config.mlflow_image,
        )
        user = aws_secretsmanager.Secret.from_secret_attributes(
            self, "MlflowUser", secret_complete_arn=data.mlflow_secret.secret_arn, encryption_key=self._key
        )
        health = f"http://127.0.0.1:{MLFLOW_PORT}{MLFLOW_PATH}/health"
        server = self._server(
            "Mlflow",
            name="mlflow",
            description="tracks trainings and models",
            port=MLFLOW_PORT,
            path=MLFLOW_PATH,
            url=self._config.mlflow_url,
            image=image,
            # A newer MLflow doesn't start with an older one's tables.
            prepare=["mlflow", "db", "upgrade", MLFLOW_STORE],
            command=self._mlflow_command(),
            health_check=[
                "python",
                "-c",
                f"import urllib.request; urllib.request.urlopen('{health}', timeout=5)",
            ],
            environment={
                **MLFLOW_ENVIRONMENT,
                "PGDATABASE": "mlflow",
                "PGSSLMODE": "verify-full",
                "PGSSLROOTCERT": "/etc/ssl/rds_ca.pem",
                "AWS_DEFAULT_REGION": self.region,
                # LocalStack has no Postgres, and runs no tasks that would miss it.
                "PGHOST": data.database.host(self) if isinstance(data.database, RdsDatabase) else "127.0.0.1",
            },
            secrets={
                "PGUSER": aws_ecs.Secret.from_secrets_manager(user, "username"),
                "PGPASSWORD": aws_ecs.Secret.from_secrets_manager(user, "password"),
            },
            key=self._key,
            scratch=["/tmp"],  # noqa: S108 - in the container
            load_balanced=self.load_balancer is not None,
            cpu=512,
            memory_mb=2048,
        )
        if isinstance(data.database, RdsDatabase):
            server.reach(data.database.security_group, POSTGRES_PORT, "Postgres")
        self._let_keep_artifacts(server)
        return server

    def _mlflow_command(self) -> list[str]:
        hosts = [f"mlflow.{self._config.namespace}:{MLFLOW_PORT}"]
        command = [
            *("mlflow", "server", "--host", "0.0.0.0", "--port", str(MLFLOW_PORT), "--workers", "1"),  # noqa: S104
            *("--backend-store-uri", MLFLOW_STORE),
            # Artifacts pass through the server, so that nobody else needs a key to the bucket.
            *("--artifacts-destination", self._data.artifacts_bucket.s3_url_for_object()),
            *("--static-prefix", MLFLOW_PATH),
        ]
        if self._config.monitoring_domain is not None:
            hosts.append(self._config.monitoring_domain)
            command += ["--cors-allowed-origins", f"https://{self._config.monitoring_domain}"]
        return [*command, "--allowed-hosts", ",".join(hosts)]

    def _let_keep_artifacts(self, server: FargateServer) -> None:
        bucket = self._data.artifacts_bucket
        everything = objects(bucket, "")
        for actions, resources in (
            (["s3:ListBucket", "s3:ListBucketMultipartUploads"], [bucket.bucket_arn]),
            (["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"], everything),
            (["kms:Decrypt", "kms:GenerateDataKey"], [self._key.key_arn]),
        ):
            server.role.add_to_principal_policy(aws_iam.PolicyStatement(actions=actions, resources=resources))
        accept_wildcards(
            server.role, "The whole bucket is MLflow's, and nobody else's.", resources=everything
        )

    def _make_grafana(self) -> FargateServer:
        image = BuiltImage(
            self,
            "GrafanaImage",
            config=self._config,
            name="grafana",
            directory=PROJECT / "grafana",
            dockerfile="Dockerfile",
            files=("provisioning", "dashboards"),
            image=self._config.grafana_image,
        )
        seen = self.load_balancer.url if self.load_balancer else f"http://127.0.0.1:{GRAFANA_PORT}"
        server = self._server(
            "Grafana",
            name="grafana",
            description="shows people what Prometheus keeps",
            port=GRAFANA_PORT,
            path=GRAFANA_PATH,
            image=image,
            health_check=_asks(f"http://127.0.0.1:{GRAFANA_PORT}{GRAFANA_PATH}/api/health"),
            environment={
                **GRAFANA_ENVIRONMENT,
                "GF_SERVER_ROOT_URL": f"{seen}{GRAFANA_PATH}/",
                "GF_SECURITY_COOKIE_SECURE": str(self._config.monitoring_certificate is not None).lower(),
                "PROMETHEUS_URL": self.prometheus.url,
                "ALERTMANAGER_URL": f"http://prometheus.{self._config.namespace}:{ALERTMANAGER_PORT}",
            },
            secrets={
                "GF_SECURITY_ADMIN_PASSWORD": aws_ecs.Secret.from_secrets_manager(self._make_admin_password())
            },
            key=self._key,
            # Nothing of its own is kept: dashboards are the image's, and who may see them is told above.
            scratch=["/tmp", "/var/lib/grafana"],  # noqa: S108 - in the container
            load_balanced=self.load_balancer is not None,
        )
        server.reach(self.prometheus.security_group, PROMETHEUS_PORT, "Prometheus")
        server.reach(self.prometheus.security_group, ALERTMANAGER_PORT, "alerts and their silences")
        return server

    def _make_admin_password(self) -> aws_secretsmanager.Secret:
        secret = aws_secretsmanager.Secret(
            self,
            "GrafanaAdmin",
            description="Password of Grafana's user admin",
            encryption_key=self._key,
            generate_secret_string=aws_secretsmanager.SecretStringGenerator(
                exclude_punctuation=True, password_length=40
            ),
        )
        acknowledge(
            secret,
            {"AwsSolutions-SMG4": "Grafana takes it when its task starts: a rotation would change nothing."},
        )
        return secret

    def _lead_people(self) -> None:
        if self.load_balancer is None:
            return
        self.load_balancer.send(self.grafana, health_path=f"{GRAFANA_PATH}/api/health")
        self.load_balancer.send(
            self.mlflow,
            paths=(MLFLOW_PATH, f"{MLFLOW_PATH}/*"),
            priority=10,
            health_path=f"{MLFLOW_PATH}/health",
        )
        CfnOutput(
            self, "GrafanaUrl", value=f"{self.load_balancer.url}{GRAFANA_PATH}/", description="For people"
        )
        CfnOutput(
            self, "MlflowUrl", value=f"{self.load_balancer.url}{MLFLOW_PATH}/", description="For people"
        )


def _asks(url: str) -> list[str]:
    """A health check by what the images of Prometheus and Grafana have of Busybox."""
    return ["wget", "-q", "-O", "/dev/null", url]
