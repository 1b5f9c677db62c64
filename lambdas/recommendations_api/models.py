"""Requests and answers as the OpenAPI document shows them; they are read and written as plain JSON."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from contract.events import MAX_EVENT_TYPE_LENGTH, MAX_ID_LENGTH
from lambdas.recommendations_api.posted_events import MAX_EVENTS

Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH)]


class RecommendedItem(BaseModel):
    """One item of an answer."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    item_id: Id
    score: float
    """Only good for comparing items of one answer."""
    rank: int
    """1 is the best."""
    source: Literal["own", "similar", "personal", "popular"]
    """What gave most of the score: the visitor's own recent items, items similar to those, the trained
    list, or what everyone buys."""


class Recommendations(BaseModel):
    """Items, best first."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "example": {
                "model_version": "20260131T020000Z-3f2a91c0",
                "generated_at": "2026-01-31T12:00:00.000Z",
                "source": "personalized",
                "items": [
                    {"item_id": "sku-1042", "score": 2.61803, "rank": 1, "source": "own"},
                    {"item_id": "sku-77", "score": 0.141593, "rank": 2, "source": "similar"},
                ],
            }
        },
    )

    model_version: str
    """The version of the trained recommendations that answered."""
    generated_at: AwareDatetime
    source: Literal["personalized", "session", "similar", "popular"]
    """`personalized`: the version knows the visitor. `session`: it doesn't, but they have done something
    lately. `popular`: nothing is known, or the database is out of reach (then the header `X-Degraded` says
    so). `similar`: to an item."""
    items: list[RecommendedItem]


class EventIn(BaseModel):
    """One thing that one visitor did to one item."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        extra="forbid",
        json_schema_extra={
            "example": {
                "event_id": "0b6f2c1e-7d1e-4a59-9b1c-0c8a0f0e8f55",
                "user_id": "customer-4711",
                "item_id": "sku-1042",
                "event_type": "add_to_cart",
                "timestamp": "2026-01-31T12:00:00Z",
            }
        },
    )

    event_id: Id | None = None
    """Your own name for the event. Posting it again is harmless then."""
    user_id: Id
    item_id: Id
    event_type: Annotated[str, Field(min_length=1, max_length=MAX_EVENT_TYPE_LENGTH)]
    """`view`, `add_to_cart`, `purchase`, or a kind of your own."""
    timestamp: int | AwareDatetime | None = None
    """When: milliseconds since 1970 UTC, or ISO 8601 with a time zone. Default: now."""


class EventsBatch(BaseModel):
    """Events, of any number of visitors."""

    model_config = ConfigDict(extra="forbid")

    events: Annotated[list[EventIn], Field(min_length=1, max_length=MAX_EVENTS)]


class RejectedEventOut(BaseModel):
    """An event that was not stored."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    index: int
    """Its place in the batch, from 0."""
    field: str
    message: str


class EventsAnswer(BaseModel):
    """What became of a batch; what was accepted is committed."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    accepted: int
    duplicates: int
    """How many of the accepted had been posted before, by their `event_id`."""
    rejected: list[RejectedEventOut]


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class Readiness(BaseModel):
    """The database answers, and a version is live."""

    status: Literal["ready"]
    model_version: str


class FieldErrorOut(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str


class ProblemOut(BaseModel):
    """A problem document as of RFC 9457."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        title="Problem",
        json_schema_extra={
            "example": {
                "type": "urn:problem:invalid-request",
                "title": "The request has values that are not allowed",
                "status": 422,
                "detail": "limit: Input should be less than or equal to 100",
                "errors": [{"field": "limit", "message": "Input should be less than or equal to 100"}],
                "trace_id": "1-67a1f2c3-5a3b8c1d2e4f60718293a4b5",
            }
        },
    )

    type: str
    """Stable: tell problems apart by it."""
    title: str
    status: int
    detail: str
    errors: list[FieldErrorOut]
    trace_id: str
    """Find the request in the logs by it."""
