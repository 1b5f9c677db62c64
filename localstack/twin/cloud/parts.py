"""What runs while the cloud is up, and how programs find it."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from psycopg.conninfo import conninfo_to_dict

from infra.config import STAGE_DEFAULTS
from twin.aws import running_aws
from twin.cloud.clients import client
from twin.errors import MissingProgramError
from twin.localstack_installation import PROJECT
from twin.localstack_server import running_localstack
from twin.mlflow_server import running_mlflow
from twin.monitoring import running_prometheus, running_pushgateway
from twin.postgres import create_database, start_postgres
from twin.processes import Server, listens
from twin.s3 import aws_environment, create_bucket

FOLDER = PROJECT / "build/local"
DATABASE = "shop"
ARTIFACTS_BUCKET = "mlflow-artifacts"
_FILE = "parts.json"


class NotUpError(Exception):
    """There is no cloud to do something with."""


@dataclass(frozen=True)
class Parts:
    """Where everything runs; what this machine lacks is None, and `missing` tells why."""

    folder: Path
    endpoint: str
    """LocalStack: all of AWS's API that it has."""
    sagemaker: str
    """SageMaker, which LocalStack's community edition lacks: the stand-in that trains."""
    database_url: str
    mlflow_uri: str
    pushgateway_url: str | None
    prometheus_url: str | None
    missing: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Those that are up. Raises NotUpError."""
        file = folder / _FILE
        if file.exists():
            parts = cls(**{**json.loads(file.read_text()), "folder": folder})
            if parts.are_up:
                return parts
        raise NotUpError("the local cloud is not up: `make local-up` starts it")

    def write(self) -> None:
        """For programs that come later."""
        (self.folder / _FILE).write_text(json.dumps({**asdict(self), "folder": str(self.folder)}, indent=2))

    @property
    def are_up(self) -> bool:
        """Whether LocalStack, without which the rest ends, is there."""
        return listens(self.endpoint)

    @property
    def logs(self) -> Path:
        """Where every part's log is."""
        return self.folder / "logs"

    def environment(self) -> dict[str, str]:
        """For a program that uses the cloud: AWS is LocalStack, and nothing leads to a real account."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {
            **inherited,
            **aws_environment(self.endpoint),
            "AWS_ENDPOINT_URL_SAGEMAKER": self.sagemaker,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "GIT_PYTHON_REFRESH": "quiet",
        }

    def settings(self) -> Mapping[str, str]:
        """What `cdk deploy` is told of what runs here."""
        urls = {
            "mlflow_url": self.mlflow_uri,
            "pushgateway_url": self.pushgateway_url,
            "prometheus_url": self.prometheus_url,
        }
        return {name: url for name, url in urls.items() if url is not None}


@contextlib.contextmanager
def running_parts(
    folder: Path, *, port: int | None, tell: Callable[[str], None]
) -> Iterator[tuple[Parts, Server]]:
    """Start everything on loopback, all but LocalStack on free ports; stop it in the other order.

    The second is LocalStack's process: whoever waits here sees it end. `tell` hears what is being started.
    """
    logs = folder / "logs"
    with contextlib.ExitStack() as stack:
        tell("Postgres")
        # Its own, whatever DATABASE_URL says: migrations make roles, which belong to a whole server.
        server_url, _ = stack.enter_context(start_postgres(log=logs / "postgres.log"))
        database_url = create_database(server_url, DATABASE)
        tell("LocalStack")
        endpoint, localstack = stack.enter_context(running_localstack(log=logs / "localstack.log", port=port))
        _tell_where_postgres_is(endpoint, database_url)
        aws = aws_environment(endpoint)
        create_bucket(aws, ARTIFACTS_BUCKET)
        tell("SageMaker")
        # Channels, models and logs lie in LocalStack.
        elsewhere = {"AWS_ENDPOINT_URL_S3": endpoint, "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": endpoint}
        sagemaker = stack.enter_context(running_aws(log=logs / "sagemaker.log", elsewhere=elsewhere))
        tell("MLflow")
        mlflow_uri = stack.enter_context(
            running_mlflow(
                database_url=create_database(server_url, "mlflow_server"),
                artifacts=f"s3://{ARTIFACTS_BUCKET}",
                aws=aws,
                log=logs / "mlflow.log",
            )
        )
        missing: list[str] = []
        pushgateway_url = prometheus_url = None
        try:
            tell("pushgateway, Prometheus")
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
        parts = Parts(
            folder=folder,
            endpoint=endpoint,
            sagemaker=sagemaker,
            database_url=database_url,
            mlflow_uri=mlflow_uri,
            pushgateway_url=pushgateway_url,
            prometheus_url=prometheus_url,
            missing=missing,
        )
        parts.write()
        stack.callback((folder / _FILE).unlink, missing_ok=True)
        yield parts, localstack


def _tell_where_postgres_is(endpoint: str, database_url: str) -> None:
    known = conninfo_to_dict(database_url)
    secret = {
        "username": known["user"],
        # Postgres trusts who comes by loopback.
        "password": "trusted",
        "host": known["host"],
        "port": int(str(known["port"])),
        "dbname": known["dbname"],
    }
    name = STAGE_DEFAULTS["local"]["database_secret"]
    with client(endpoint, "secretsmanager") as secrets:
        secrets.create_secret(Name=name, SecretString=json.dumps(secret))
