"""Where Lambda enters: API Gateway asks before it passes a request on."""

from typing import Any

from lambdas.jwt_authorizer.authorizer import Authorizer
from lambdas.jwt_authorizer.settings import Settings
from lambdas.recommendations_api.logs import configure_logs

configure_logs("lambdas.jwt_authorizer")
_authorizer = Authorizer(Settings())


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """A policy for who bears a good token; raises `Unauthorized` for any other."""
    return _authorizer(event)
