"""Every route of the contract, called over HTTP: without the API's key and with it, as its scope demands."""

import http.client
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

from contract.events import VIEW
from contract.routes import SCOPES, Scope
from twin.cloud.clients import client
from twin.cloud.deployment import Deployment

ACCEPTED: Final = ("POST", "/v1/events")
"""The route that answers 202 where others answer 200."""


class CallError(Exception):
    """Routes answered otherwise than their scopes demand; the message tells which."""


@dataclass(frozen=True)
class Call:
    """A request of a route, and what it has to come to."""

    route: tuple[str, str]
    scope: Scope | None
    path: str
    """With its parameters filled in."""
    body: Any = None

    @property
    def without_key(self) -> int:
        """The status without a key."""
        return 200 if self.scope is None else 403

    @property
    def with_key(self) -> int:
        """The status with a key, which opens nothing that is an operator's."""
        return 403 if self.scope == "operator" else self.done

    @property
    def done(self) -> int:
        """The status of a request that was let through."""
        return 202 if self.route == ACCEPTED else 200


@dataclass
class Calls:
    """What the routes answered: by route and way in, how often which status."""

    statuses: dict[str, dict[str, Counter[int]]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def take(self, call: Call, way: str, status: int, content: bytes, expected: int) -> None:
        """Remember an answer."""
        route = " ".join(call.route)
        self.statuses.setdefault(route, {}).setdefault(way, Counter())[status] += 1
        if status != expected:
            shown = content.decode(errors="replace")[:300]
            self.problems.append(f"{route}, {way}: {status}, expected {expected}: {shown}")

    def summary(self) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
        """As JSON has it."""
        return {
            route: {
                way: {str(status): count for status, count in found.items()} for way, found in ways.items()
            }
            for route, ways in self.statuses.items()
        }


def call_every_route(deployment: Deployment, *, user: str, item: str) -> Calls:
    """Call them over HTTP; those of operators also by invoking the function. Raises CallError.

    `user` and `item` are ones that the live version knows.
    """
    calls = Calls()
    api = Api(deployment.api_url())
    key = deployment.api_key()
    functions = _functions(deployment)
    try:
        for call in requests(user, item):
            calls.take(call, "without a key", *api.send(call), call.without_key)
            calls.take(call, "with the key", *api.send(call, key), call.with_key)
            if call.scope == "operator":
                # LocalStack checks no signature, and tells the function nobody's name: HTTP leads nowhere.
                answer = invoke(deployment, functions["write"], call)
                calls.take(call, "by invoking the function", *answer, call.done)
    finally:
        api.close()
    if calls.problems:
        raise CallError("\n".join(calls.problems))
    return calls


def requests(user: str, item: str) -> Iterator[Call]:
    """One of each route, in the contract's order."""
    event = {"user_id": user, "item_id": item, "event_type": VIEW}
    bodies: dict[tuple[str, str], Any] = {
        ("POST", "/v1/recommendations"): {"events": [{"item_id": item, "event_type": VIEW}]},
        ("POST", "/v1/recommendations/batch"): {"user_ids": [user, "nobody"]},
        ("POST", "/v1/events"): {"events": [event]},
        ("PUT", "/v1/items"): {"items": [{"item_id": item, "available": True}]},
    }
    for route, scope in SCOPES.items():
        # What is deleted is nobody's: others are still asked for.
        known = "nobody" if route[0] == "DELETE" else user
        path = route[1].replace("{user_id}", quote(known, safe="")).replace("{item_id}", quote(item, safe=""))
        yield Call(route, scope, path, bodies.get(route))


class Api:
    """One kept-alive connection to the REST endpoint."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._base = where.path
        self._connection = http.client.HTTPConnection(where.netloc, timeout=60)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def send(self, call: Call, key: str | None = None) -> tuple[int, bytes]:
        """Status and content of the answer."""
        headers = {"Content-Type": "application/json", **({"x-api-key": key} if key else {})}
        body = None if call.body is None else json.dumps(call.body).encode()
        self._connection.request(call.route[0], f"{self._base}{call.path}", body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()


def invoke(deployment: Deployment, function: str, call: Call) -> tuple[int, bytes]:
    """The same by invoking the function itself, as who may do that by IAM."""
    event = {
        "resource": call.route[1],
        "path": call.path,
        "httpMethod": call.route[0],
        "headers": {"Content-Type": "application/json"},
        "multiValueHeaders": {"Content-Type": ["application/json"]},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"direct": True, "path": call.path, "httpMethod": call.route[0]},
        "body": None if call.body is None else json.dumps(call.body),
        "isBase64Encoded": False,
    }
    with client(deployment.parts.endpoint, "lambda") as functions:
        answer = functions.invoke(FunctionName=function, Payload=json.dumps(event).encode())
        told = json.loads(answer["Payload"].read())
    if "statusCode" not in told:
        return 500, json.dumps(told).encode()
    return told["statusCode"], told["body"].encode()


def _functions(deployment: Deployment) -> Mapping[str, str]:
    """The functions that serve routes, by what they serve."""
    names = [function.physical_id for function in deployment.of_kind("AWS::Lambda::Function")]
    return {serves: name for name in names for serves in ("read", "write") if name.endswith(f"-api-{serves}")}
