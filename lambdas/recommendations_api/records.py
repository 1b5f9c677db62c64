"""What is remembered of one request while it is being answered, for its log line and its metrics."""

from dataclasses import dataclass, field
from typing import Final, cast

from starlette.requests import Request

from contract.metrics import OTHER

RECORD: Final = "shop.record"
"""Where a record lies in the ASGI scope."""

OTHER_ROUTE: Final = OTHER
"""What is not a route of the API proper: health, documentation, unknown paths."""


@dataclass(kw_only=True, slots=True)
class RequestRecord:
    """Never holds who asked: it is logged."""

    trace_id: str
    method: str = ""
    route: str = OTHER_ROUTE
    """The route's template, never the path: that has ids in it."""
    status: int = 500
    source: str | None = None
    version: str | None = None
    variant: str | None = None
    answers: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """How many were given by source, version and variant: in a batch each visitor's is one."""
    as_of: float | None = None
    """The moment up to which the version knows events, in seconds since 1970 UTC."""
    degraded: str | None = None
    """What was missing where an answer is not what it should be."""
    events_accepted: int = 0
    events_rejected: int = 0


def record_of(request: Request) -> RequestRecord:
    """The record of a request that is being answered."""
    return cast(RequestRecord, request.scope[RECORD])
