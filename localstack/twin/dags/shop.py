"""A shop for the DAGs: what a deployment has, on loopback, and the documents that tell tasks where it is.

AWS is moto's server with trainings that really train (`twin.sagemaker`); Lambda's `Invoke` leads to the real
handler under the real runtime client. Postgres, MLflow, pushgateway and Prometheus are what they are.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from lambda_executor import Function

from infra.config import Config
from infra.training_job import training_job
from lambdas.migrate_database.migrate import migrate
from twin.aws import running_aws
from twin.dags.lambda_api import LambdaApi
from twin.errors import MissingProgramError
from twin.mlflow_server import running_mlflow
from twin.monitoring import running_prometheus, running_pushgateway
from twin.postgres import create_database, start_postgres
from twin.s3 import REGION, aws_environment, create_bucket
from twin.sagemaker.settings import TrainingSettings

PROJECT = Path(__file__).parents[3]
HANDLER = "lambdas.recommendations_api.handler.handler"
READ_FUNCTION = f"arn:aws:lambda:{REGION}:000000000000:function:shop-local-api-read:live"
PREFIX = "shop-local"
AIRFLOW_KEY = "airflow"
"""The access key by which tasks call AWS."""
EVENTS, RECOMMENDATIONS, ARTIFACTS = "shop-events", "shop-recommendations", "mlflow-artifacts"
_TOPIC, _QUEUE = "alarms", "told"


@dataclass(frozen=True)
class Servers:
    """What runs for all shops of a session."""

    database_server: str
    aws_endpoint: str
    mlflow_uri: str
    pushgateway_url: str | None
    prometheus_url: str | None
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Shop:
    """One deployment on these servers."""

    folder: Path
    """Holds `deployment.json` and `training_job.json`."""
    servers: Servers
    database_url: str
    environment: dict[str, str]
    """Leads AWS clients to what runs here; theirs are the tasks."""
    invoked: list[str]
    """The functions that tasks have invoked, by the name or the ARN that they gave."""
    function: Function
    deployment: dict[str, Any]
    _queue_url: str

    @property
    def events_uri(self) -> str:
        """The bucket with events."""
        return str(self.deployment["events_uri"])

    @property
    def recommendations_uri(self) -> str:
        """The bucket with versions."""
        return str(self.deployment["recommendations_uri"])

    def told(self) -> list[dict[str, str]]:
        """What people were told since this was asked last: `Subject` and `Message`, oldest first."""
        sqs = self.client("sqs")
        found: list[dict[str, str]] = []
        while messages := sqs.receive_message(QueueUrl=self._queue_url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])
        return sorted(found, key=lambda message: message["Timestamp"])

    def client(self, service: str) -> Any:
        """A client of boto3 for what runs here."""
        # Every service has an overload of its own; this is for any.
        make: Any = boto3.client
        ours = aws_environment(self.servers.aws_endpoint)
        return make(
            service,
            endpoint_url=self.servers.aws_endpoint,
            region_name=REGION,
            aws_access_key_id=ours["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ours["AWS_SECRET_ACCESS_KEY"],
        )

    def change(self, **values: Any) -> None:
        """Let tasks find other values in `deployment.json`; None takes one away."""
        self.deployment.update(values)
        document = {name: value for name, value in self.deployment.items() if value is not None}
        (self.folder / "deployment.json").write_text(json.dumps(document, indent=2))


@contextlib.contextmanager
def running_servers(
    folder: Path, *, training: TrainingSettings | None = None, requests: Path | None = None
) -> Iterator[Servers]:
    """Start them on free ports; stop them in the other order. Logs go to `folder/logs`.

    `requests` is a file that takes each request to AWS, as JSON.
    """
    logs = folder / "logs"
    with contextlib.ExitStack() as stack:
        database_server, _ = stack.enter_context(start_postgres(log=logs / "postgres.log"))
        endpoint = stack.enter_context(
            running_aws(log=logs / "aws.log", training=training, requests=requests)
        )
        aws = aws_environment(endpoint)
        create_bucket(aws, ARTIFACTS)
        mlflow_uri = stack.enter_context(
            running_mlflow(
                database_url=create_database(database_server, "mlflow_server"),
                artifacts=f"s3://{ARTIFACTS}",
                aws=aws,
                log=logs / "mlflow.log",
            )
        )
        missing: list[str] = []
        pushgateway_url = prometheus_url = None
        try:
            pushgateway_url = stack.enter_context(running_pushgateway(log=logs / "pushgateway.log"))
            prometheus_url = stack.enter_context(
                running_prometheus(
                    pushgateway_url=pushgateway_url,
                    folder=folder / "prometheus",
                    log=logs / "prometheus.log",
                )
            )
        except MissingProgramError as error:
            missing.append(str(error))
        yield Servers(database_server, endpoint, mlflow_uri, pushgateway_url, prometheus_url, missing)


@contextlib.contextmanager
def open_shop(
    servers: Servers, folder: Path, *, name: str = "shop", now: str | None = None
) -> Iterator[Shop]:
    """A shop with a new database and empty buckets, and with the function that reads and writes.

    `now` is what the function takes for now, ISO 8601; None is the clock's time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    database_url = create_database(servers.database_server, name)
    migrate(database_url)
    aws = aws_environment(servers.aws_endpoint)
    buckets = {each: f"{name}-{each}".replace("_", "-") for each in (EVENTS, RECOMMENDATIONS)}
    for bucket in buckets.values():
        create_bucket(aws, bucket)
    function = Function(
        handler=HANDLER,
        code=PROJECT,
        environment={
            "DATABASE_URL": database_url,
            # Who invokes the function itself may do all, as in the account.
            "AUTHORIZATION": "iam",
            "DATABASE_TIMEOUT_MS": "5000",
            "PUSH_INTERVAL_SECONDS": "1",
            **({"AS_OF": now} if now else {}),
            **({"PUSHGATEWAY_URL": servers.pushgateway_url} if servers.pushgateway_url else {}),
        },
        name="api-read",
        log_file=folder / "api.log",
    )
    try:
        with LambdaApi({READ_FUNCTION: function}) as invoke:
            shop = Shop(
                folder=folder,
                servers=servers,
                database_url=database_url,
                environment={
                    **aws,
                    # So that what tasks ask for can be told from what trainings and MLflow do.
                    "AWS_ACCESS_KEY_ID": AIRFLOW_KEY,
                    "AWS_ENDPOINT_URL_LAMBDA": invoke.url,
                },
                invoked=invoke.invoked,
                function=function,
                deployment={},
                _queue_url="",
            )
            yield _described(shop, buckets)
    finally:
        function.stop()


def _described(shop: Shop, buckets: Mapping[str, str]) -> Shop:
    """The same with its documents and its topic."""
    servers = shop.servers
    topic, queue_url = _make_topic(shop)
    shop.change(
        stage="local",
        region=REGION,
        prefix=PREFIX,
        events_uri=f"s3://{buckets[EVENTS]}",
        recommendations_uri=f"s3://{buckets[RECOMMENDATIONS]}",
        mlflow_tracking_uri=servers.mlflow_uri,
        pushgateway_url=servers.pushgateway_url,
        prometheus_url=servers.prometheus_url,
        database_url=shop.database_url,
        read_function=READ_FUNCTION,
        notification_topic=topic,
    )
    environment = {
        "RECOMMENDATIONS_URI": shop.recommendations_uri,
        "MLFLOW_TRACKING_URI": servers.mlflow_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        **({"PUSHGATEWAY_URL": servers.pushgateway_url} if servers.pushgateway_url else {}),
    }
    request = training_job(
        Config.of({"stage": "local"}),
        image="000000000000.dkr.ecr.us-east-1.amazonaws.com/training:local",
        role="arn:aws:iam::000000000000:role/training",
        key="arn:aws:kms:us-east-1:000000000000:key/local",
        events=buckets[EVENTS],
        recommendations=buckets[RECOMMENDATIONS],
        subnets=["subnet-local"],
        security_group="sg-local",
        environment=environment,
    )
    (shop.folder / "training_job.json").write_text(json.dumps(request, indent=2))
    return Shop(
        folder=shop.folder,
        servers=servers,
        database_url=shop.database_url,
        environment=shop.environment,
        invoked=shop.invoked,
        function=shop.function,
        deployment=shop.deployment,
        _queue_url=queue_url,
    )


def _make_topic(shop: Shop) -> tuple[str, str]:
    """A topic, and a queue that gets what is told there."""
    name = shop.folder.name
    topic = shop.client("sns").create_topic(Name=f"{_TOPIC}-{name}")["TopicArn"]
    sqs = shop.client("sqs")
    url = sqs.create_queue(QueueName=f"{_QUEUE}-{name}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    shop.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return topic, url
