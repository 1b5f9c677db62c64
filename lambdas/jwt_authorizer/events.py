"""What API Gateway asks an authorizer, and what it wants to be told."""

from collections.abc import Mapping
from typing import Any, Final

from lambdas.jwt_authorizer.tokens import Bearer

_HEADER: Final = "authorization"
_SCHEME: Final = "bearer"


class NoTokenError(Exception):
    """The request bears no token, or more than one."""


class MalformedEventError(Exception):
    """Not an event of a REST API's authorizer."""


def bearer_token(event: Mapping[str, Any]) -> str:
    """The token of a TOKEN or a REQUEST event. Raises NoTokenError."""
    values = _authorizations(event)
    if len(values) != 1:
        raise NoTokenError("there is not one Authorization header")
    words = values[0].split()
    if len(words) != 2 or words[0].lower() != _SCHEME:
        raise NoTokenError("the Authorization header is not of the form `Bearer TOKEN`")
    return words[1]


def policy(bearer: Bearer, event: Mapping[str, Any]) -> dict[str, Any]:
    """Lets the bearer through to every route of the stage; the API looks at the scopes.

    API Gateway remembers it for the token, whatever is asked for next: a policy for one route would lock the
    bearer out of the others. Raises MalformedEventError.
    """
    return {
        "principalId": bearer.subject or "unknown",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": f"{_stage(event)}/*"}
            ],
        },
        "context": {"scope": " ".join(bearer.scopes), "sub": bearer.subject},
    }


def _authorizations(event: Mapping[str, Any]) -> list[str]:
    if event.get("type") == "TOKEN":
        return _texts([event.get("authorizationToken")])
    several = event.get("multiValueHeaders")
    if isinstance(several, Mapping):
        lists = [values for name, values in several.items() if name.lower() == _HEADER]
        return _texts([value for values in lists if isinstance(values, list) for value in values])
    headers = event.get("headers")
    if isinstance(headers, Mapping):
        return _texts([value for name, value in headers.items() if name.lower() == _HEADER])
    return []


def _texts(values: list[Any]) -> list[str]:
    return [value for value in values if isinstance(value, str)]


def _stage(event: Mapping[str, Any]) -> str:
    """`arn:aws:execute-api:region:account:api/stage`, of `…/METHOD/path`."""
    arn = event.get("methodArn")
    parts = arn.split("/") if isinstance(arn, str) else []
    if len(parts) < 3 or not parts[0].startswith("arn:") or not all(parts[:2]):
        raise MalformedEventError("the event has no methodArn of a REST API's method")
    return "/".join(parts[:2])
