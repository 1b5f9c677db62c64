"""What the authorizer is told by its environment variables, read once at the edge."""

from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Algorithm = Literal["RS256", "ES256"]

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def is_safe(url: str) -> bool:
    """Whether what is read there can be trusted: by HTTPS, or on this machine."""
    parts = urlsplit(url)
    if not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


def _safe(url: str) -> str:
    if not is_safe(url):
        raise ValueError("is not an https:// URL")
    return url


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Url = Annotated[str, AfterValidator(_safe)]
Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


class Settings(BaseSettings):
    """Each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    jwt_issuer: Url
    """Who issues the tokens: exactly what their claim `iss` says, an https:// URL."""
    jwt_audience: Listed = ()
    """Whom tokens are for, separated by commas: one of them has to be in the claim `aud`. This or
    `JWT_CLIENT_IDS` has to be set."""
    jwt_client_ids: Listed = ()
    """For tokens without a claim `aud`, such as Cognito's access tokens: clients, separated by commas, one of
    which the claim `client_id` has to name."""
    jwks_url: Url | None = None
    """Where the issuer's keys are. Default: where its `/.well-known/openid-configuration` says."""
    jwt_algorithms: Annotated[
        tuple[Algorithm, ...], NoDecode, BeforeValidator(_listed), Field(min_length=1)
    ] = ("RS256", "ES256")
    """How tokens may be signed, separated by commas; there is no other way than these two."""
    jwt_leeway_seconds: float = Field(default=30, ge=0, le=300)
    """How far the issuer's clock may differ from this one."""
    jwt_scope_prefix: str = ""
    """What stands before `read` and `write` in the scopes of tokens, such as `shop/`. Scopes without it count
    for nothing then."""
    jwks_cache_seconds: float = Field(default=3600, gt=0)
    """How long the issuer's keys are good for before they are read again: so long may a token be accepted
    whose key was withdrawn."""
    jwks_pause_seconds: float = Field(default=10, gt=0)
    """The least time between two readings: a key that is unknown is looked for no more often."""
    jwks_timeout_seconds: float = Field(default=2, gt=0)
    """How long a document of the issuer's may take."""

    @model_validator(mode="after")
    def _is_for_somebody(self) -> Self:
        if not (self.jwt_audience or self.jwt_client_ids):
            raise ValueError("JWT_AUDIENCE or JWT_CLIENT_IDS has to be set: else tokens for others would do")
        if self.jwks_cache_seconds < self.jwks_pause_seconds:
            raise ValueError(
                "JWKS_CACHE_SECONDS is less than JWKS_PAUSE_SECONDS: there would be no keys between"
            )
        return self
