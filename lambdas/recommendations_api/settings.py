"""What the function is told by its environment variables, read once at the edge."""

import time
from collections.abc import Callable
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode

from lambdas.database_login import DatabaseSettings

Clock = Callable[[], int]
"""Now, in milliseconds since 1970-01-01 UTC."""

Mode = Literal["iam", "jwt", "api_key", "none"]
"""What may say who calls; `scopes.py` tells what follows from it."""

Serves = Literal["all", "read", "write"]


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


class Settings(DatabaseSettings):
    """Each field is the environment variable of the same name in capitals."""

    as_of: AwareDatetime | None = None
    """A moment to take for now, ISO 8601 with a time zone: for demos and backtests over old data."""
    authorization: Mode = "iam"
    """What may say who calls: `iam` alone; or, for all that is not an operator's, also `jwt`, the scopes of a
    token that a Lambda authorizer has read, or `api_key`, for trying things out. `none` asks nobody: for one
    machine."""
    serves: Serves = "all"
    """Which routes this function answers: `read`, recommendations and what describes them; `write`, events,
    items and what operators do; or `all`. With a function for each, a burst of events keeps no
    answer waiting."""
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = ()
    """Origins whose pages may read answers in a browser, separated by commas: `https://www.shop.example`.
    What browsers ask beforehand (`OPTIONS`) is API Gateway's to answer."""
    signing_keys_seconds: float = Field(default=3600, gt=0)
    """How long the keys of `recommendation_id` are good for before they are read again. Less than the time
    between two rotations: ids under the last key but one are refused."""

    event_max_age_days: float = Field(default=90, gt=0)
    """Posted events that happened longer ago are rejected."""
    event_max_ahead_seconds: float = Field(default=60, ge=0)
    """How far in the future a posted event may lie, because clocks differ."""
    recent_events_days: int = Field(default=14, ge=0)
    """Answers look at the posted events of that many days of receipt before today: older ones are in the
    trained history by then."""
    recent_events_limit: int = Field(default=200, ge=1)
    """How many of a visitor's latest posted events an answer looks at."""

    database_timeout_ms: int = Field(default=250, ge=1)
    """How long an answer may wait for Postgres; then it falls back. Kept on this side of the connection,
    because a server that hangs obeys no timeout. The first answer of an environment has nothing to fall back
    to and may take as long as `events_timeout_ms`."""
    events_timeout_ms: int = Field(default=3000, ge=1)
    """How long posting events and changing items may wait for Postgres, and what is asked about users, the
    model and what is stored."""
    connect_timeout_seconds: int = Field(default=2, ge=2)
    """How long opening the connection may take; libpq knows no less than 2."""
    database_pause_seconds: float = Field(default=2, ge=0)
    """How long no new connection is tried after one has failed."""

    pushgateway_url: str | None = None
    """Where metrics are pushed to: `http://host:9091`. Without it none are pushed."""
    push_interval_seconds: float = Field(default=15, ge=0)
    """Least time between two pushes. Longer than Prometheus' scrape interval, so that each zero is seen."""
    push_timeout_ms: int = Field(default=250, ge=1)
    """How long a push may hold up the answer that it follows."""
    push_pause_seconds: float = Field(default=30, ge=0)
    """How long nothing is pushed after a push has failed."""
    push_rest_seconds: float = Field(default=600, gt=0)
    """After so long without a request an environment pushes under another name, from zero on. Less than
    housekeeping's `STALE_GROUP_MINUTES`, after which the group of the old name is deleted."""

    @field_validator("pushgateway_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and (
            urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname
        ):
            raise ValueError("is not an http:// or https:// URL")
        return value

    def clock(self) -> Clock:
        """What gives the moment that counts as now."""
        if self.as_of is None:
            return lambda: time.time_ns() // 1_000_000
        moment = int(self.as_of.timestamp() * 1000)
        return lambda: moment
