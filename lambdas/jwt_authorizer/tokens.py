"""Tokens: whether one is good, who bears it, and what they may do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt
from jwt.exceptions import PyJWTError

from lambdas.jwt_authorizer.keys import Keys

GRANTED: Final = ("read", "write")
"""What a token can open at most: `operator` takes IAM."""


class BadTokenError(Exception):
    """Not a token to let anybody through with; says why, in words that hold nothing of it."""


@dataclass(frozen=True)
class Bearer:
    """Who calls."""

    subject: str
    """The user, or the client where no user is concerned."""
    scopes: tuple[str, ...]
    """Of `GRANTED`."""


class Verifier:
    """Tells good tokens of one issuer from all others."""

    def __init__(
        self,
        keys: Keys,
        *,
        issuer: str,
        audiences: Sequence[str],
        client_ids: Sequence[str],
        algorithms: Sequence[str],
        leeway: float,
        scope_prefix: str = "",
    ) -> None:
        """`leeway` is in seconds."""
        self._keys = keys
        self._issuer = issuer
        self._audiences = frozenset(audiences)
        self._client_ids = frozenset(client_ids)
        self._algorithms = tuple(algorithms)
        self._leeway = leeway
        self._scope_prefix = scope_prefix

    def verify(self, token: str) -> Bearer:
        """Who bears it. Raises BadTokenError, and KeysUnavailableError where nobody can tell."""
        claims = self._claims(token)
        if not self._is_for_us(claims):
            raise BadTokenError("it is for somebody else")
        # Cognito says what it is for: an id token tells an application who its user is, and opens nothing.
        if claims.get("token_use", "access") != "access":
            raise BadTokenError("it is no access token")
        return Bearer(_text(claims.get("sub")) or _text(claims.get("client_id")), self._scopes(claims))

    def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            # Before any key is looked for: nobody shall have keys fetched for what is never accepted.
            if header.get("alg") not in self._algorithms:
                raise BadTokenError("it is signed in a way that is not accepted")
            kid = header.get("kid")
            key = self._keys.find(kid) if kid else None
            if key is None:
                raise BadTokenError("it is signed with a key that the issuer does not have")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=self._algorithms,
                issuer=self._issuer,
                leeway=self._leeway,
                # `aud` is looked at here: PyJWT would refuse a token for us by its `client_id`.
                options={
                    "require": ["exp", "iss"],
                    "verify_aud": False,
                    "enforce_minimum_key_length": True,
                },
            )
        except (PyJWTError, ValueError) as error:
            raise BadTokenError(type(error).__name__) from None
        return claims

    def _is_for_us(self, claims: Mapping[str, Any]) -> bool:
        if "aud" not in claims:
            return _text(claims.get("client_id")) in self._client_ids
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        return any(_text(audience) in self._audiences for audience in audiences)

    def _scopes(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        claimed = {*_words(claims.get("scope")), *_words(claims.get("scp"))}
        return tuple(scope for scope in GRANTED if f"{self._scope_prefix}{scope}" in claimed)


def _words(value: Any) -> list[str]:
    """Of a claim that some issuers make a text with spaces (RFC 8693), and some a list."""
    return _text(value).split() if not isinstance(value, list) else [_text(each) for each in value]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
