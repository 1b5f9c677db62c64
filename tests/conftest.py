"""Servers that the tests share, each started once a session, and what a single test gets of them."""

import collections
import contextlib
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import psycopg
import pytest
import structlog
from twin.mlflow_server import running_mlflow
from twin.postgres import create_database, drop_database, running_postgres, url_of_database
from twin.s3 import aws_environment, create_bucket, running_s3

from lambdas.migrate_database.migrate import migrate

_numbers = itertools.count()
_worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
"""Of the processes that share the tests: they share a Postgres, too, where `DATABASE_URL` names one."""

_MEMORY = Path("/dev/shm")  # noqa: S108 - Linux' own name for it
_ROOM = 4 * 1024**3
"""Bytes that a server may fill, a gigabyte of them with its log."""


def pytest_configure() -> None:
    """End on SIGTERM as on Ctrl-C: fixtures stop their servers, none is left behind."""

    def interrupt(_signal_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse two tests of one name: processes that share the tests would run one of them, and say nothing."""
    names = collections.Counter(item.nodeid for item in items)
    repeated = [name for name, times in names.items() if times > 1]
    if repeated:
        raise pytest.UsageError(f"tests need names of their own: {', '.join(repeated)}")


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
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            if memory_has_room():
                patch.setattr(tempfile, "tempdir", str(_MEMORY))
            url = stack.enter_context(running_postgres(log=logs / "postgres.log"))
        yield url


def memory_has_room() -> bool:
    """Whether the server's files may lie in memory: a database is 300 of them, and ext4 is slow at so many."""
    if not _MEMORY.is_dir() or os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC:
        return False  # its folder may come to hold the server's programs, too
    return shutil.disk_usage(_MEMORY).free > _ROOM


@pytest.fixture(scope="session")
def template(postgres_server: str) -> Iterator[str]:
    """The name of a database with the current schema: to copy it takes a third of the time of migrating another."""
    name = f"test_{_worker}_template"
    migrate(create_database(postgres_server, name))
    yield name
    drop_database(postgres_server, name)


@pytest.fixture
def empty_database(postgres_server: str) -> Iterator[str]:
    """The URL of a new database without a single table."""
    name = f"test_{_worker}_{next(_numbers)}"
    yield create_database(postgres_server, name)
    drop_database(postgres_server, name)


@pytest.fixture
def database(postgres_server: str, template: str) -> Iterator[str]:
    """The URL of a new database with the current schema."""
    name = f"test_{_worker}_{next(_numbers)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    yield url_of_database(postgres_server, name)
    drop_database(postgres_server, name)


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
    name = f"test_{_worker}_mlflow"
    database_url = create_database(postgres_server, name)
    with running_mlflow(
        database_url=database_url, artifacts="s3://mlflow-artifacts", aws=aws, log=logs / "mlflow.log"
    ) as uri:
        yield uri
    drop_database(postgres_server, name)
