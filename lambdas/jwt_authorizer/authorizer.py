"""Answers what API Gateway asks: who calls, and what they may do."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from lambdas.jwt_authorizer.events import NoTokenError, bearer_token, policy
from lambdas.jwt_authorizer.keys import Keys, KeysUnavailableError
from lambdas.jwt_authorizer.settings import Settings
from lambdas.jwt_authorizer.tokens import BadTokenError, Verifier

logger = logging.getLogger(__name__)


class UnauthorizedError(Exception):
    """The caller has no good token. API Gateway makes a 401 of exactly this message."""

    def __init__(self) -> None:
        super().__init__("Unauthorized")


class Authorizer:
    """Call it with an event. It has read no key until then."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        """`clock`, in seconds, tells how old the keys are that it remembers."""
        keys = Keys(
            settings.jwt_issuer,
            settings.jwks_url,
            cache=settings.jwks_cache_seconds,
            pause=settings.jwks_pause_seconds,
            timeout=settings.jwks_timeout_seconds,
            clock=clock,
        )
        self._verifier = Verifier(
            keys,
            issuer=settings.jwt_issuer,
            audiences=settings.jwt_audience,
            client_ids=settings.jwt_client_ids,
            algorithms=settings.jwt_algorithms,
            leeway=settings.jwt_leeway_seconds,
            scope_prefix=settings.jwt_scope_prefix,
        )

    def __call__(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The policy for who bears a good token.

        Raises UnauthorizedError for any other; what else it raises API Gateway makes a 500 of:
        KeysUnavailableError, MalformedEventError.
        """
        try:
            bearer = self._verifier.verify(bearer_token(event))
        except (NoTokenError, BadTokenError) as error:
            logger.info("not authorized: %s", error)
            raise UnauthorizedError from None
        except KeysUnavailableError as error:
            logger.error("no token can be verified: %s", error)  # noqa: TRY400 - the traceback tells no more
            raise
        return policy(bearer, event)
