"""Each route, by each mode, for each caller: who may do what."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import SecretStr
from twin.postgres import create_database, drop_database

from contract.routes import SCOPES, scope_of
from lambdas.migrate_database.migrate import migrate
from lambdas.recommendations_api.app import app
from lambdas.recommendations_api.scopes import ALL, granted_scopes
from lambdas.recommendations_api.settings import Mode, Serves, Settings
from tests.lambdas.callers import Answer, Api, proxy_event
from tests.lambdas.conftest import MakeApi, environments
from tests.lambdas.versions import load_first

ROUTES = sorted(
    (method, route.path_format)
    for route in app.routes
    if isinstance(route, APIRoute)
    for method in route.methods
)

ROLE = "arn:aws:sts::123456789012:assumed-role/shop/session"

CALLERS: dict[str, dict[str, Any]] = {
    "nobody": {"identity": {"sourceIp": "127.0.0.1", "userArn": None, "caller": None, "apiKey": None}},
    "a role": {"identity": {"userArn": ROLE}},
    "a caller": {"identity": {"caller": "AROAEXAMPLE:session"}},
    "a token to read": {"authorizer": {"principalId": "shop", "scope": "read"}},
    "a token to write": {"authorizer": {"principalId": "shop", "scp": "write"}},
    "a token for both": {"authorizer": {"principalId": "shop", "scope": "openid read", "scp": "write"}},
    "a token for all": {"authorizer": {"principalId": "shop", "scope": "read write operator"}},
    "a token for nothing": {"authorizer": {"principalId": "shop"}},
    "an invoker": {"direct": True},
    "no invoker": {"direct": "true"},
    "a key": {"identity": {"apiKey": "k", "apiKeyId": "i"}},
}

BOTH = frozenset({"read", "write"})
NOTHING: frozenset[str] = frozenset()

# None: nobody is identified.
GRANTED: dict[str, dict[str, frozenset[str] | None]] = {
    "iam": {"an invoker": ALL, "a role": ALL, "a caller": ALL},
    "jwt": {
        "an invoker": ALL,
        "a role": ALL,
        "a caller": ALL,
        "a token to read": frozenset({"read"}),
        "a token to write": frozenset({"write"}),
        "a token for both": BOTH,
        "a token for all": BOTH,
        "a token for nothing": NOTHING,
    },
    "api_key": {"an invoker": ALL, "a role": ALL, "a caller": ALL, "a key": BOTH},
    "none": dict.fromkeys(CALLERS, ALL),
}
MODES: tuple[Mode, ...] = ("iam", "jwt", "api_key", "none")


@pytest.fixture(scope="module")
def apis(postgres_server: str) -> Iterator[dict[str, Api]]:
    """An environment for each mode, over one database."""
    database = create_database(postgres_server, "scopes")
    migrate(database)
    load_first(database)
    with environments(database) as make:
        yield {mode: make(authorization=mode) for mode in MODES}
    drop_database(postgres_server, "scopes")


@pytest.fixture(scope="module")
def parts(postgres_server: str) -> Iterator[dict[Serves, Api]]:
    """The two functions, over one database."""
    database = create_database(postgres_server, "parts")
    migrate(database)
    load_first(database)
    with environments(database) as make:
        yield {"read": make(serves="read"), "write": make(serves="write")}
    drop_database(postgres_server, "parts")


def call(api: Api, method: str, path: str, **context: Any) -> Answer:
    target = path.replace("{user_id}", "someone").replace("{item_id}", "shoe")
    event = proxy_event(method, target, body="{}" if method in {"POST", "PUT"} else None)
    event["requestContext"].update(context)
    return api.send(event)


def test_every_route_has_a_scope_and_every_scope_a_route() -> None:
    assert sorted(SCOPES) == ROUTES


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_who_may_call_a_route(apis: dict[str, Api], method: str, path: str) -> None:
    needed = SCOPES[method, path]
    for mode, caller in product(MODES, CALLERS):
        answer = call(apis[mode], method, path, **CALLERS[caller])
        granted = GRANTED[mode].get(caller)
        told = (mode, caller, answer.status, answer.document)
        if needed is None or (granted is not None and needed in granted):
            # A body of `{}` is refused, but by the route.
            assert answer.status == (422 if method in {"POST", "PUT"} else 200), told
        elif granted is None and mode == "jwt":
            assert (answer.status, answer.document["type"]) == (401, "urn:problem:unauthenticated"), told
            assert answer.headers["www-authenticate"] == "Bearer"
        else:
            assert (answer.status, answer.document["type"]) == (403, "urn:problem:forbidden"), told
            assert f"the scope {needed}" in answer.document["detail"]


@pytest.mark.parametrize(("mode", "caller"), list(product(MODES, CALLERS)))
def test_what_a_caller_is_granted(mode: Mode, caller: str) -> None:
    assert granted_scopes(mode, CALLERS[caller]) == GRANTED[mode].get(caller)


@pytest.mark.parametrize("mode", ["iam", "jwt", "api_key"])
@pytest.mark.parametrize(
    "context",
    [
        {},
        {"identity": None, "authorizer": None},
        {"identity": [], "authorizer": "read"},
        {"identity": {"userArn": "", "caller": "", "apiKey": "", "apiKeyId": ""}, "authorizer": {}},
        {"identity": {"userArn": True, "caller": 7, "apiKey": ["k"], "apiKeyId": {}}},
    ],
    ids=range(5),
)
def test_what_says_nothing_grants_nothing(apis: dict[str, Api], mode: Mode, context: dict[str, Any]) -> None:
    assert granted_scopes(mode, context) is None
    answer = call(apis[mode], "GET", "/v1/popular", **context)
    assert answer.status == (401 if mode == "jwt" else 403)


@pytest.mark.parametrize(
    "claims", [{"scope": ["read"]}, {"scp": None}, {"scope": "reader"}, {"scope": "READ"}]
)
def test_a_claim_counts_only_as_words_between_spaces(claims: dict[str, Any]) -> None:
    assert granted_scopes("jwt", {"authorizer": {"principalId": "shop", **claims}}) == frozenset()


def test_a_caller_without_the_scope_learns_nothing_else(apis: dict[str, Api]) -> None:
    known, unknown = (
        call(apis["iam"], "GET", f"/v1/items/{item}/similar?limmit=1") for item in ("shoe", "nothing")
    )
    assert (known.status, known.document["detail"]) == (unknown.status, unknown.document["detail"])
    assert known.status == 403


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_reading_and_writing_can_be_functions_of_their_own(
    parts: dict[Serves, Api], method: str, path: str
) -> None:
    for serves, api in parts.items():
        answer = call(api, method, path)
        needed = SCOPES[method, path]
        if needed is None or serves == ("read" if needed == "read" else "write"):
            assert answer.status in {200, 422}
        else:
            assert (answer.status, answer.document["type"]) == (421, "urn:problem:misdirected")


def test_a_route_that_was_forgotten_is_an_operators() -> None:
    assert scope_of("GET", "/v1/new") == "operator"


def test_unless_told_otherwise_it_asks_for_iam() -> None:
    assert Settings(database_url=SecretStr("postgresql://h/n")).authorization == "iam"


def test_an_api_that_asks_nobody_says_so_as_it_starts(
    make_api: MakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    for mode in ("iam", "jwt", "api_key"):
        make_api(authorization=mode)
    assert "AUTHORIZATION" not in caplog.text
    make_api(authorization="none")
    assert "AUTHORIZATION is none" in caplog.text
