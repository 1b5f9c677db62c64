"""Who may do what: the scopes of whoever calls, beside the one that a route takes (`contract/routes.py`).

Who calls was found out by API Gateway, which says so in the event. Here it is only read:

    caller                          mode        scopes
    direct, set by the invoker      all         all: an IAM policy has allowed to invoke the function
    identity.userArn or .caller     all         all: an IAM policy has allowed this very call
    authorizer.scope or .scp        jwt         those of `read` and `write` that the token has
    identity.apiKeyId or .apiKey    api_key     `read` and `write`
    anybody                         none        all

So `operator` takes IAM in every mode: neither a token nor a key opens a user's stored data. API Gateway makes
`requestContext` itself, so nobody can set `direct` through it.
"""

from collections.abc import Mapping
from typing import Any, Final

from contract.routes import Scope
from lambdas.recommendations_api.errors import ForbiddenError, MisdirectedError, UnauthenticatedError
from lambdas.recommendations_api.settings import Mode, Serves

ALL: Final[frozenset[str]] = frozenset({"read", "write", "operator"})
WITHOUT_IAM: Final[frozenset[str]] = frozenset({"read", "write"})

SECURITY_SCHEMES: Final[Mapping[str, Any]] = {
    "iam": {
        "type": "apiKey",
        "name": "Authorization",
        "in": "header",
        "description": "A request signed by AWS Signature Version 4, for the service `execute-api`.",
        "x-amazon-apigateway-authtype": "awsSigv4",
    },
    "jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "api_key": {
        "type": "apiKey",
        "name": "x-api-key",
        "in": "header",
        "description": "For trying things out.",
    },
}
"""How callers say who they are, for the OpenAPI document; which of them count the mode tells."""


def security_of(scope: Scope | None) -> list[dict[str, list[str]]]:
    """Which of the schemes can open a route of this scope, for the OpenAPI document."""
    if scope is None:
        return []
    if scope == "operator":
        return [{"iam": []}]
    return [{"iam": []}, {"jwt": [scope]}, {"api_key": []}]


class Authorization:
    """Lets through who has a route's scope, to the function that answers routes of that scope."""

    def __init__(self, mode: Mode, serves: Serves = "all") -> None:
        self._mode = mode
        self._serves = serves

    def require(self, scope: Scope | None, context: Mapping[str, Any]) -> None:
        """Let this call through; `context` is the event's `requestContext`.

        Raises MisdirectedError where another function answers the route, UnauthenticatedError where a token
        should say who calls and doesn't, ForbiddenError where the caller lacks the scope.
        """
        if not is_served(scope, self._serves):
            raise MisdirectedError(f"This function answers routes of the scope {self._serves}.")
        if scope is None or self._mode == "none":
            return
        granted = granted_scopes(self._mode, context)
        if granted is None and self._mode == "jwt":
            raise UnauthenticatedError("This needs a token, and none was sent.")
        if granted is None:
            raise ForbiddenError(f"This needs the scope {scope}, and API Gateway did not say who calls.")
        if scope not in granted:
            raise ForbiddenError(f"This needs the scope {scope}, which the caller does not have.")


def is_served(scope: Scope | None, serves: Serves) -> bool:
    """Whether a function that serves `read`, `write` or `all` answers routes of this scope."""
    if scope is None or serves == "all":
        return True
    return (scope == "read") == (serves == "read")


def is_direct(context: Mapping[str, Any]) -> bool:
    """Whether the function was invoked itself, not through API Gateway."""
    return context.get("direct") is True


def granted_scopes(mode: Mode, context: Mapping[str, Any]) -> frozenset[str] | None:
    """What the caller may do; None where the event doesn't say who that is."""
    if mode == "none" or is_direct(context):
        return ALL
    identity = _mapping(context.get("identity"))
    if _text(identity.get("userArn")) or _text(identity.get("caller")):
        return ALL
    if mode == "jwt":
        authorizer = _mapping(context.get("authorizer"))
        return _claimed(authorizer) if authorizer else None
    if mode == "api_key" and (_text(identity.get("apiKeyId")) or _text(identity.get("apiKey"))):
        return WITHOUT_IAM
    return None


def _claimed(authorizer: Mapping[str, Any]) -> frozenset[str]:
    claimed = f"{_text(authorizer.get('scope'))} {_text(authorizer.get('scp'))}"
    return WITHOUT_IAM.intersection(claimed.split())


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
