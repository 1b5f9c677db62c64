"""The keys that the issuer signs with, as it publishes them (RFC 7517), remembered between invocations."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from lambdas.documents import DocumentError, read_json
from lambdas.jwt_authorizer.settings import is_safe

logger = logging.getLogger(__name__)

MAX_BYTES: Final = 1024 * 1024
DISCOVERY: Final = "/.well-known/openid-configuration"
"""Below the issuer: https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig."""

# By type and curve. Keys of other types, secret ones above all, are passed over: an issuer that published its
# secret would have everybody sign in its name.
_ALGORITHMS: Final[Mapping[tuple[Any, Any], str]] = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}


class KeysUnavailableError(Exception):
    """The issuer does not tell its keys, so nobody can say whether a token is good."""


class Keys:
    """Reads keys when one is asked for."""

    def __init__(
        self,
        issuer: str,
        url: str | None,
        *,
        cache: float,
        pause: float,
        timeout: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Read nothing yet. Without a `url` the issuer's discovery document names it; times in seconds."""
        self._issuer = issuer
        self._url = url
        self._cache = cache
        self._pause = pause
        self._timeout = timeout
        self._clock = clock
        self._keys: dict[str, PyJWK] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._failed = False

    def find(self, kid: str) -> PyJWK | None:
        """The key of that id; None where the issuer has none.

        Raises KeysUnavailableError where that cannot be told: also while the issuer, after a failure, is left
        alone for the pause.
        """
        if not self._is_within(self._read_at, self._cache):
            self._keys = {}
        if kid not in self._keys:
            self._read_unless_just_done()
        return self._keys.get(kid)

    def _read_unless_just_done(self) -> None:
        if self._is_within(self._tried_at, self._pause):
            if self._failed:
                raise KeysUnavailableError("the issuer's keys could not be read a moment ago")
            return
        self._tried_at, self._failed = self._clock(), True
        self._keys = self._read()
        self._read_at, self._failed = self._clock(), False

    def _read(self) -> dict[str, PyJWK]:
        url = self._url or self._discovered()
        document = self._document(url)
        listed = document.get("keys")
        if not isinstance(listed, list):
            raise KeysUnavailableError(f"{url}: is no JWK set")
        keys: dict[str, PyJWK] = {}
        for each in listed:
            key = _usable(each)
            if key is not None and key.key_id is not None:
                keys.setdefault(key.key_id, key)
        if not keys:
            raise KeysUnavailableError(f"{url}: has no key for RS256 or ES256 with an id")
        return keys

    def _discovered(self) -> str:
        url = f"{self._issuer.rstrip('/')}{DISCOVERY}"
        document = self._document(url)
        if document.get("issuer") != self._issuer:
            raise KeysUnavailableError(f"{url}: is about another issuer than {self._issuer}")
        jwks = document.get("jwks_uri")
        if not isinstance(jwks, str) or not is_safe(jwks):
            raise KeysUnavailableError(f"{url}: jwks_uri is not an https:// URL")
        return jwks

    def _document(self, url: str) -> dict[str, Any]:
        try:
            document = read_json(url, timeout=self._timeout, max_bytes=MAX_BYTES)
        except DocumentError as error:
            raise KeysUnavailableError(str(error)) from error
        if not isinstance(document, dict):
            raise KeysUnavailableError(f"{url}: is no JSON object")
        return document

    def _is_within(self, moment: float | None, seconds: float) -> bool:
        # A clock that was set back is no reason to wait, or to go on trusting.
        return moment is not None and 0 <= self._clock() - moment < seconds


def _usable(document: Any) -> PyJWK | None:
    """A public key for verifying; None for whatever else a set may hold."""
    if not isinstance(document, dict) or not isinstance(document.get("kid"), str):
        return None
    algorithm = _algorithm(document)
    if algorithm is None:
        return None
    # Without the private half, should the issuer have published it.
    public = {name: value for name, value in document.items() if name in _PUBLIC}
    try:
        return PyJWK(public, algorithm)
    except (PyJWTError, ValueError, TypeError, KeyError) as error:
        logger.warning("a key of the issuer's is passed over: %s", type(error).__name__)
        return None


_PUBLIC: Final = frozenset({"kty", "kid", "n", "e", "crv", "x", "y"})


def _algorithm(document: dict[str, Any]) -> str | None:
    operations = document.get("key_ops", ["verify"])
    kind, curve = document.get("kty"), document.get("crv")
    if not (isinstance(kind, str) and (curve is None or isinstance(curve, str))):
        return None
    algorithm = _ALGORITHMS.get((kind, curve))
    is_for_this = (
        document.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and document.get("alg", algorithm) == algorithm
    )
    return algorithm if is_for_this else None
