"""The whole OpenAPI document, tried out with whatever it allows and forbids, through the real Lambda runtime client."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from lambda_executor import Function
from schemathesis import Case
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from twin.api_front import ApiFront, HttpRequest
from twin.postgres import create_database, drop_database

from contract.routes import scope_of
from lambdas.migrate_database.migrate import migrate
from lambdas.recommendations_api.app import app
from tests.lambdas.versions import NOW, load_first

ROOT = Path(__file__).parents[2]
HANDLER = "lambdas.recommendations_api.handler.handler"
CASES_SHORT, CASES_LONG = 12, 400
"""For each of the operations."""

METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
"""Those that API Gateway knows: no other comes as far as the function."""

LEFT_OUT = {
    # The good entries of a batch are taken, the others reported one by one.
    ("POST", "/v1/events"): [positive_data_acceptance, negative_data_rejection],
    ("PUT", "/v1/items"): [positive_data_acceptance, negative_data_rejection],
    # What lies in the future no schema can tell.
    ("POST", "/v1/recommendations"): [positive_data_acceptance],
}
"""Checks that don't hold, by method and path."""

IAM, TOKEN = "AWS4-HMAC-SHA256 as if it were signed", "Bearer as if it were good"


def authorizer(request: HttpRequest) -> Mapping[str, Any]:
    """Takes two callers for known; whoever else comes is nobody, and the function has to refuse them."""
    told = next((value for name, value in request.headers if name.lower() == "authorization"), None)
    if told == IAM:
        return {"identity": {"userArn": "arn:aws:iam::000000000000:role/shop"}}
    if told == TOKEN:
        return {"authorizer": {"principalId": "shop", "scope": "read write"}}
    return {}


schema = schemathesis.openapi.from_dict(app.openapi())


# The parameter is what gives each operation's test a name of its own: without one pytest leaves the operation out,
# and of tests of one name pytest-xdist runs a single one.
@pytest.fixture(scope="module", params=["jwt"])
def front(
    request: pytest.FixtureRequest, postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiFront]:
    database = create_database(postgres_server, "schemathesis")
    migrate(database)
    load_first(database)
    environment = {
        "DATABASE_URL": database,
        "AS_OF": NOW.isoformat(),
        "DATABASE_TIMEOUT_MS": "10000",
        "EVENTS_TIMEOUT_MS": "10000",
        "AUTHORIZATION": request.param,
    }
    log = tmp_path_factory.mktemp("logs") / "api.log"
    with (
        Function(handler=HANDLER, code=ROOT, environment=environment, name="api", log_file=log) as function,
        ApiFront(function, authorizer=authorizer) as front,
    ):
        yield front
    drop_database(postgres_server, "schemathesis")


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """Closed in the end: Schemathesis' own would stay open."""
    with requests.Session() as session:
        yield session


def security_of_case(case: Case) -> str:
    """Operators' routes take IAM; the others are tried with a token."""
    scope = scope_of(case.method, case.operation.path)
    return "iam" if scope == "operator" else "jwt"


def check(case: Case, front: ApiFront, session: requests.Session) -> None:
    if case.method in METHODS:
        left_out = LEFT_OUT.get((case.method, case.operation.path), [])
        if "exclude_items" in (case.query or {}):  # split at commas, which no schema can tell either
            left_out = [positive_data_acceptance, negative_data_rejection]
        who = TOKEN if security_of_case(case) == "jwt" else IAM
        case.call_and_validate(
            base_url=front.url, session=session, excluded_checks=left_out, headers={"Authorization": who}
        )


def tried(cases: int) -> settings:
    return settings(
        max_examples=cases,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@schema.parametrize()
@tried(CASES_SHORT)
def test_every_answer_is_as_the_document_says(case: Case, front: ApiFront, session: requests.Session) -> None:
    check(case, front, session)


@pytest.mark.slow
@schema.parametrize()
@tried(CASES_LONG)
def test_every_answer_to_thousands_of_requests_is_as_the_document_says(
    case: Case, front: ApiFront, session: requests.Session
) -> None:
    check(case, front, session)
