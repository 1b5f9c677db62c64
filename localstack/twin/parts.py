"""All local parts together: what the demo and the tests start, and how programs find them."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from twin.errors import MissingProgramError
from twin.mlflow_server import running_mlflow
from twin.monitoring import running_prometheus, running_pushgateway
from twin.postgres import create_database, drop_database, running_postgres
from twin.s3 import aws_environment, create_bucket, running_s3

BUCKET = "shop"
ARTIFACTS_BUCKET = "mlflow-artifacts"
DATABASE = "shop_demo"
MLFLOW_DATABASE = "shop_demo_mlflow"


@dataclass(frozen=True)
class Parts:
    """Where everything runs; what this machine lacks is None, and `missing` tells why."""

    database_url: str
    s3_endpoint: str
    mlflow_uri: str
    pushgateway_url: str | None
    prometheus_url: str | None
    aws: dict[str, str]
    missing: list[str] = field(default_factory=list)

    @property
    def bucket_uri(self) -> str:
        """The bucket with events, rejected rows and versions."""
        return f"s3://{BUCKET}"

    def environment(self) -> dict[str, str]:
        """For a program that uses the parts: what the cloud's stacks would set."""
        variables = {
            **os.environ,
            **self.aws,
            "DATABASE_URL": self.database_url,
            "MLFLOW_TRACKING_URI": self.mlflow_uri,
            "RECOMMENDATIONS_URI": self.bucket_uri,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "GIT_PYTHON_REFRESH": "quiet",
        }
        if self.pushgateway_url:
            variables["PUSHGATEWAY_URL"] = self.pushgateway_url
        return variables


@contextlib.contextmanager
def running_parts(folder: Path, *, tell: Callable[[str], None]) -> Iterator[Parts]:
    """Start everything on free loopback ports, in this order; stop it in the other.

    Logs go to `folder/logs`. `tell` hears what is being started.
    """
    logs = folder / "logs"
    with contextlib.ExitStack() as stack:
        tell("Postgres")
        server_url = stack.enter_context(running_postgres(log=logs / "postgres.log"))
        database_url = stack.enter_context(_own_database(server_url, DATABASE))
        mlflow_database_url = stack.enter_context(_own_database(server_url, MLFLOW_DATABASE))
        tell("S3")
        s3_endpoint = stack.enter_context(running_s3(log=logs / "s3.log"))
        aws = aws_environment(s3_endpoint)
        for bucket in (BUCKET, ARTIFACTS_BUCKET):
            create_bucket(aws, bucket)
        tell("MLflow")
        mlflow_uri = stack.enter_context(
            running_mlflow(
                database_url=mlflow_database_url,
                artifacts=f"s3://{ARTIFACTS_BUCKET}",
                aws=aws,
                log=logs / "mlflow.log",
            )
        )
        missing: list[str] = []
        pushgateway_url = prometheus_url = None
        try:
            tell("pushgateway")
            pushgateway_url = stack.enter_context(running_pushgateway(log=logs / "pushgateway.log"))
            tell("Prometheus")
            prometheus_url = stack.enter_context(
                running_prometheus(
                    pushgateway_url=pushgateway_url,
                    folder=folder / "prometheus",
                    log=logs / "prometheus.log",
                )
            )
        except MissingProgramError as error:
            missing.append(str(error))
        yield Parts(
            database_url=database_url,
            s3_endpoint=s3_endpoint,
            mlflow_uri=mlflow_uri,
            pushgateway_url=pushgateway_url,
            prometheus_url=prometheus_url,
            aws=aws,
            missing=missing,
        )


@contextlib.contextmanager
def _own_database(server_url: str, name: str) -> Iterator[str]:
    """A database that is ours alone: made anew, dropped at the end, also on a server that was given."""
    drop_database(server_url, name)
    yield create_database(server_url, name)
    drop_database(server_url, name)
