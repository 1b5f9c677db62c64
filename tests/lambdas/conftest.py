"""A database with versions loaded by hand, and the API over it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
from pydantic import SecretStr
from twin.postgres import create_database, drop_database

from lambdas.migrate_database.migrate import migrate
from lambdas.recommendations_api.settings import Settings
from tests.lambdas.callers import Api
from tests.lambdas.versions import NOW, execute, load_first


class MakeApi(Protocol):
    def __call__(self, **settings: Any) -> Api: ...


@pytest.fixture
def make_api(database: str) -> Iterator[MakeApi]:
    """Makes environments of the function over `database`; settings differ where given."""
    with environments(database) as make:
        yield make


@pytest.fixture(scope="module")
def shared_api(postgres_server: str, request: pytest.FixtureRequest) -> Iterator[Api]:
    """One environment over the version `first`, for tests that change nothing."""
    name = name_of_module(request)
    database = create_database(postgres_server, name)
    migrate(database)
    load_first(database)
    with environments(database) as make:
        yield make()
    drop_database(postgres_server, name)


@contextlib.contextmanager
def environments(database: str) -> Iterator[MakeApi]:
    made: list[Api] = []

    def make(**settings: Any) -> Api:
        # Generous, because this machine may be busy; what is tested about deadlines sets its own.
        usual: dict[str, Any] = {
            "database_url": SecretStr(database),
            "as_of": NOW,
            "authorization": "none",
            "database_timeout_ms": 10_000,
            "events_timeout_ms": 10_000,
        }
        made.append(Api(Settings(**{**usual, **settings})))
        return made[-1]

    try:
        yield make
    finally:
        for api in made:
            api.environment.stop()


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    return make_api()


@pytest.fixture
def stored(database: str) -> str:
    """The name of a live version that knows the user `known` and a few items."""
    return load_first(database)


@pytest.fixture
def count_events(database: str) -> Callable[[], int]:
    def count() -> int:
        ((number,),) = execute(database, "SELECT count(*) FROM events")
        return int(number)

    return count


@pytest.fixture(scope="module")
def shared_empty_api(postgres_server: str, request: pytest.FixtureRequest) -> Iterator[Api]:
    """One environment over a database without a version, for tests that change nothing."""
    name = f"{name_of_module(request)}_without_version"
    database = create_database(postgres_server, name)
    migrate(database)
    with environments(database) as make:
        yield make()
    drop_database(postgres_server, name)


def name_of_module(request: pytest.FixtureRequest) -> str:
    """For what a module has to itself, also beside others that run at the same time."""
    name: str = request.module.__name__.rpartition(".")[2]
    return name
