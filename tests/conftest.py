"""Servers that the tests share, each started once a session, and what a single test gets of them."""

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
import structlog
from twin.mlflow_server import running_mlflow
from twin.postgres import create_database, drop_database, running_postgres
from twin.s3 import aws_environment, create_bucket, running_s3

from lambdas.migrate_database.migrate import migrate

_numbers = itertools.count()


def pytest_configure() -> None:
    """End on SIGTERM as on Ctrl-C: fixtures stop their servers, none is left behind."""

    def interrupt(_signal_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A program that a test runs sets up logging, to streams that pytest closes afterwards."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers write their logs."""
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="session")
def postgres_server(logs: Path) -> Iterator[str]:
    """The URL of a superuser's database on a real Postgres."""
    with running_postgres(log=logs / "postgres.log") as url:
        yield url


@pytest.fixture
def empty_database(postgres_server: str) -> Iterator[str]:
    """The URL of a new database without a single table."""
    name = f"test_{next(_numbers)}"
    yield create_database(postgres_server, name)
    drop_database(postgres_server, name)


@pytest.fixture
def database(empty_database: str) -> str:
    """The URL of a new database with the current schema."""
    migrate(empty_database)
    return empty_database


@pytest.fixture(scope="session")
def s3_server(logs: Path) -> Iterator[str]:
    """The endpoint of a real S3 API (moto's server)."""
    with running_s3(log=logs / "s3.log") as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket; the environment leads every AWS client to it."""
    environment = aws_environment(s3_server)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{next(_numbers)}"
    create_bucket(environment, name)
    return name


@pytest.fixture(scope="session")
def mlflow_server(postgres_server: str, s3_server: str, logs: Path) -> Iterator[str]:
    """The URI of a real MLflow server: metadata in Postgres, artifacts in S3."""
    aws = aws_environment(s3_server)
    create_bucket(aws, "mlflow-artifacts")
    database_url = create_database(postgres_server, "test_mlflow")
    with running_mlflow(
        database_url=database_url, artifacts="s3://mlflow-artifacts", aws=aws, log=logs / "mlflow.log"
    ) as uri:
        yield uri
    drop_database(postgres_server, "test_mlflow")
