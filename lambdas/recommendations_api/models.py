"""Requests and answers as the OpenAPI document shows them; they are read and written as plain JSON."""

from datetime import date
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from contract.events import MAX_EVENT_TYPE_LENGTH, MAX_ID_LENGTH
from lambdas.recommendations_api.items import MAX_ITEMS
from lambdas.recommendations_api.posted_events import MAX_EVENTS
from lambdas.recommendations_api.stats import DAYS_TOLD
from lambdas.recommendations_api.users import LATEST_EVENTS

Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH)]

_RECOMMENDATION_ID = (
    "AQAAAAAAAAAAAZwT7J4AVSGhEE7Bf0jZA6wOa_IAGTIwMjYwMTMxVDAyMDAw"
    "MFotM2YyYTkxYzAHZGVmYXVsdDRd95XscoW08a6fbJPjeMk"
)


class RecommendedItem(BaseModel):
    """One item of an answer."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    item_id: Id
    score: float
    """Only good for comparing items of one answer."""
    rank: int
    """1 is the best."""
    source: Literal["own", "similar", "personal", "popular", "bought_together"]
    """What gave most of the score: the visitor's own recent items, items similar to those, the trained
    list, what everyone buys; or what goes into one basket with the item that was asked about."""
    reasons: list[str]
    """Why it is there, for machines, the strongest first: `looked_at`, `often_returned_to`, `carted`,
    `bought`; `viewed_similar:ITEM`, `carted_similar:ITEM`, `bought_similar:ITEM`; `trained_for_user`;
    `similar:ITEM`, `bought_with:ITEM`; `popular`, `popular_in:CATEGORY`."""


class Recommendations(BaseModel):
    """Items, best first."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "example": {
                "recommendation_id": _RECOMMENDATION_ID,
                "model_version": "20260131T020000Z-3f2a91c0",
                "variant": "default",
                "generated_at": "2026-01-31T12:00:00.000Z",
                "source": "personalized",
                "items": [
                    {
                        "item_id": "sku-1042",
                        "score": 2.61803,
                        "rank": 1,
                        "source": "own",
                        "reasons": ["carted"],
                    },
                    {
                        "item_id": "sku-77",
                        "score": 0.141593,
                        "rank": 2,
                        "source": "similar",
                        "reasons": ["carted_similar:sku-1042"],
                    },
                ],
            }
        },
    )

    recommendation_id: Id | None
    """Send it with the events that this answer leads to: it tells which version earned them. Null where the
    database was out of reach before the first answer."""
    model_version: str
    """The version of the trained recommendations that answered."""
    variant: str
    """Whose version that is: `default`, or one that is being compared with it."""
    generated_at: AwareDatetime
    source: Literal["personalized", "session", "similar", "bought_together", "popular"]
    """`personalized`: the version knows the visitor. `session`: it doesn't, but they have done something
    lately. `popular`: nothing but what everybody buys came out, or the database is out of reach (then the
    header `X-Degraded` says so). `similar`, `bought_together`: to an item."""
    items: list[RecommendedItem]


class UserRecommendations(Recommendations):
    """One of several visitors' answers."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "user_id": "customer-4711",
                "recommendation_id": _RECOMMENDATION_ID,
                "model_version": "20260131T020000Z-3f2a91c0",
                "variant": "default",
                "generated_at": "2026-01-31T12:00:00.000Z",
                "source": "popular",
                "items": [
                    {
                        "item_id": "sku-5",
                        "score": 0.93,
                        "rank": 1,
                        "source": "popular",
                        "reasons": ["popular"],
                    }
                ],
            }
        }
    )

    user_id: Id


class RecommendationsBatch(BaseModel):
    """The answers, in the order of the users."""

    answers: list[UserRecommendations]


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
    recommendation_id: Id | None = None
    """That of the answer that led to it. It is stored as it came; whether it is one, and that user's, is
    judged when answers are credited with what came of them."""


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


class ItemIn(BaseModel):
    """What is new about one item; what is left out stays as it is."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        extra="forbid",
        json_schema_extra={"example": {"item_id": "sku-1042", "available": False}},
    )

    item_id: Id
    """An unknown one is added: available, and of no category, unless its entry says otherwise."""
    available: bool = True
    """Whether it is to be had. Nothing that isn't is shown."""
    category_id: Id | None = None
    """Null takes it out of its category. A category that the catalogue's tree lacks stands for itself."""


class ItemsBatch(BaseModel):
    """Changes of items, in their order."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "items": [
                    {"item_id": "sku-1042", "available": False},
                    {"item_id": "sku-2001", "category_id": "shoes"},
                ]
            }
        },
    )

    items: Annotated[list[ItemIn], Field(min_length=1, max_length=MAX_ITEMS)]


class RejectedItemOut(BaseModel):
    """A change that was not stored."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    index: int
    """Its place in the batch, from 0."""
    field: str
    """Empty where it is the entry itself."""
    message: str


class ItemsAnswer(BaseModel):
    """What became of a batch; what was accepted is committed."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "example": {
                "accepted": 2,
                "new": 1,
                "rejected": [{"index": 2, "field": "item_id", "message": "is empty"}],
            }
        },
    )

    accepted: int
    new: int
    """How many items were not known before: a misspelt id shows here."""
    rejected: list[RejectedItemOut]


class ListedItem(BaseModel):
    """One item of a stored list."""

    item_id: Id
    score: float


class StoredDeed(BaseModel):
    """One event of a stored history."""

    item_id: Id
    event_type: str
    timestamp: AwareDatetime


class ListedInOut(BaseModel):
    """A version that holds lists of the user."""

    version: str
    kinds: list[Literal["personal", "history"]]


class StoredEvent(StoredDeed):
    """One event as it was posted."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    event_id: Id
    recommendation_id: str | None
    """The answer that led to it, as far as the shop said so."""
    received_at: AwareDatetime


class StoredEvents(BaseModel):
    """What was posted of a user, on all days that the database still holds."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    count: int
    oldest: AwareDatetime | None
    """When the first of them happened, as is the newest."""
    newest: AwareDatetime | None
    latest: Annotated[list[StoredEvent], Field(max_length=LATEST_EVENTS)]
    """The newest of them, the newest first."""


class StoredUserOut(BaseModel):
    """What the database holds of a user."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "example": {
                "user_id": "customer-4711",
                "is_stored": True,
                "deleted_at": "2025-11-02T09:30:00.000Z",
                "model_version": "20260131T020000Z-3f2a91c0",
                "personal": [{"item_id": "sku-77", "score": 0.91}],
                "history": [
                    {"item_id": "sku-1042", "event_type": "view", "timestamp": "2026-01-30T18:00:00.000Z"}
                ],
                "listed_in": [{"version": "20260131T020000Z-3f2a91c0", "kinds": ["history", "personal"]}],
                "events": {
                    "count": 1,
                    "oldest": "2026-01-31T12:00:00.000Z",
                    "newest": "2026-01-31T12:00:00.000Z",
                    "latest": [
                        {
                            "event_id": "0b6f2c1e-7d1e-4a59-9b1c-0c8a0f0e8f55",
                            "item_id": "sku-1042",
                            "event_type": "add_to_cart",
                            "timestamp": "2026-01-31T12:00:00.000Z",
                            "recommendation_id": "the id of an answer",
                            "received_at": "2026-01-31T12:00:00.412Z",
                        }
                    ],
                },
            }
        },
    )

    user_id: Id
    is_stored: bool
    """Whether there is anything but the mark of a deletion."""
    deleted_at: AwareDatetime | None
    """When they were deleted last. What they did up to then is passed over wherever it comes up."""
    model_version: str | None
    """The version that answers, of which the lists here are."""
    personal: list[ListedItem]
    history: list[StoredDeed]
    """Newest first."""
    listed_in: list[ListedInOut]
    """All versions in the database that hold lists of them, the newest first."""
    events: StoredEvents


class DeletedUser(BaseModel):
    """A user is forgotten."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={"example": {"user_id": "customer-4711", "lists": 4, "events": 12}},
    )

    user_id: Id
    lists: int
    """How many lists were removed, over all versions; none where an earlier deletion did it."""
    events: int
    """How many posted events were removed."""


class Headline(BaseModel):
    """How good a version's recipe was on days held out."""

    users: Annotated[
        int | None, Field(json_schema_extra={"description": "Who had a cart or a purchase."})
    ] = None
    precision_at_10: Annotated[float | None, Field(alias="precision@10")] = None
    recall_at_10: Annotated[float | None, Field(alias="recall@10")] = None


class ServedVariantOut(BaseModel):
    """A variant and the version that answers for it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    variant: str
    share: float
    """Of the visitors, from 0 to 1."""
    served_since: AwareDatetime
    model_version: str
    as_of: AwareDatetime
    """The events that it knows end here."""
    age_seconds: float
    """How long ago that is."""
    created_at: AwareDatetime
    """When its training ended."""
    training_window: dict[str, AwareDatetime]
    """`from` and `to`: the first and the last event trained on."""
    counts: dict[str, int]
    """`events`, `users`, `items`, and how many lists of each kind."""
    metrics: dict[str, dict[str, Headline]]
    """By protocol (`batch`, `session`) and by model: what is `served`, and `popular` to compare it with."""


class Model(BaseModel):
    """What answers."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "generated_at": "2026-01-31T12:00:00.000Z",
                "variants": [
                    {
                        "variant": "default",
                        "share": 1.0,
                        "served_since": "2026-01-31T02:45:00.000Z",
                        "model_version": "20260131T020000Z-3f2a91c0",
                        "as_of": "2026-01-31T02:00:00.000Z",
                        "age_seconds": 36000.0,
                        "created_at": "2026-01-31T02:40:00Z",
                        "training_window": {
                            "from": "2025-11-01T00:00:04.384Z",
                            "to": "2026-01-31T01:59:59.788Z",
                        },
                        "counts": {"events": 97381, "users": 2174, "items": 29905, "personal": 2174},
                        "metrics": {
                            "batch": {
                                "served": {"users": 687, "precision@10": 0.014, "recall@10": 0.0601},
                                "popular": {"users": 687, "precision@10": 0.0092, "recall@10": 0.039},
                            }
                        },
                    }
                ],
            }
        }
    )

    generated_at: AwareDatetime
    variants: list[ServedVariantOut]


class CountOut(BaseModel):
    """A number of rows."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    count: int
    is_estimate: bool
    """Large tables are estimated from their size; what was written lately is in it."""


class DayOut(CountOut):
    """The events received on one day (UTC)."""

    received_on: date


class LatestEvent(BaseModel):
    """The event that was received last."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    received_at: AwareDatetime
    timestamp: AwareDatetime
    """When it happened, as the shop said."""


class EventsStats(BaseModel):
    """Posted events that the database holds."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    stored: CountOut
    by_day: Annotated[list[DayOut], Field(max_length=DAYS_TOLD)]
    """The latest days of receipt that have a place in the database, the latest first."""
    latest: LatestEvent | None


class CatalogueStats(BaseModel):
    """What the shop sells, as far as the database knows."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    items: CountOut
    version: str | None
    """Of the catalogue loaded last; the shop's own changes are not in it."""
    as_of: AwareDatetime | None


class Partitions(BaseModel):
    """Whether there is a place for the events of the next days."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    today: date
    """UTC, by the database's clock."""
    ready_until: date | None
    """Up to here each day from today on has its partition; null where today has none. A missing one is made
    by the first event of its day, which waits for it."""
    days_ahead: int


class StatsOut(BaseModel):
    """How much is stored, and how fresh it is."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "example": {
                "generated_at": "2026-01-31T12:00:00.000Z",
                "model_version": "20260131T020000Z-3f2a91c0",
                "trained_on": {"events": 97381, "users": 2174, "items": 29905, "personal": 2174},
                "catalogue": {
                    "items": {"count": 31200, "is_estimate": True},
                    "version": "20260130T000000Z-5ce2a1b9",
                    "as_of": "2026-01-30T00:00:00.000Z",
                },
                "events": {
                    "stored": {"count": 1250420, "is_estimate": True},
                    "by_day": [
                        {"received_on": "2026-01-31", "count": 420, "is_estimate": False},
                        {"received_on": "2026-01-30", "count": 1250000, "is_estimate": True},
                    ],
                    "latest": {
                        "received_at": "2026-01-31T11:59:58.120Z",
                        "timestamp": "2026-01-31T11:59:57.900Z",
                    },
                },
                "partitions": {"today": "2026-01-31", "ready_until": "2026-02-07", "days_ahead": 7},
            }
        },
    )

    generated_at: AwareDatetime
    model_version: str | None
    trained_on: dict[str, int] | None
    """What the version that answers was trained on, exactly: `events`, `users`, `items`, lists by kind."""
    catalogue: CatalogueStats
    events: EventsStats
    partitions: Partitions


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
