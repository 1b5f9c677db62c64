"""Bodies of requests for recommendations: what they may hold, and what is wrong where they don't."""

import datetime as dt
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    WithJsonSchema,
)

from contract.events import MAX_EVENT_TYPE_LENGTH, MAX_ID_LENGTH, Event, event_type_problem, id_problem
from lambdas.recommendations_api.asked import DEFAULT_LIMIT, MAX_LIMIT, Asked, Strategy
from lambdas.recommendations_api.batches import nearest
from lambdas.recommendations_api.errors import FieldError, InvalidRequestError, MalformedRequestError

MAX_TOLD = 100
"""Events that a request may bring along."""
MAX_RANKED = 500
MAX_USERS = 100


def _an_id(value: str) -> str:
    if problem := id_problem(value):
        raise ValueError(problem)
    return value


def _a_kind(value: str) -> str:
    if problem := event_type_problem(value):
        raise ValueError(problem)
    return value


def _a_whole_number(value: Any) -> Any:
    """JSON doesn't tell 10 from 10.0; a text or a truth value is no number."""
    if isinstance(value, str | bool):
        raise ValueError("is not a number")  # noqa: TRY004 - pydantic's
    return value


def _a_moment(value: Any) -> Any:
    """Milliseconds UTC."""
    if not isinstance(value, str):
        return _a_whole_number(value)
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("is not an ISO 8601 moment, such as 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("has no time zone; for UTC append Z")
    return int(moment.timestamp() * 1000)


def _text_schema(longest: int) -> dict[str, Any]:
    return {"minLength": 1, "maxLength": longest, "pattern": "^[^\\u0000]+$"}


_LATEST_MS = 253_402_300_799_999
"""The end of the year 9999."""
_MOMENT = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": _LATEST_MS},
        {"type": "string", "format": "date-time"},
    ]
}
AnId = Annotated[str, AfterValidator(_an_id), Field(json_schema_extra=_text_schema(MAX_ID_LENGTH))]


class ToldEvent(BaseModel):
    """One thing that the visitor did."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    item_id: AnId
    event_type: Annotated[
        str, AfterValidator(_a_kind), Field(json_schema_extra=_text_schema(MAX_EVENT_TYPE_LENGTH))
    ]
    timestamp: (
        Annotated[int, Field(ge=0, le=_LATEST_MS), BeforeValidator(_a_moment), WithJsonSchema(_MOMENT)] | None
    ) = None
    """When: milliseconds since 1970 UTC, or ISO 8601 with a time zone. Default: now. Old ones weigh less."""


def _moment_of(event: ToldEvent, now: int) -> int:
    return now if event.timestamp is None else event.timestamp


class _Filtered(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT), BeforeValidator(_a_whole_number)] = DEFAULT_LIMIT
    strategy: Strategy = "blend"
    exclude_purchased: StrictBool | None = None
    """Leave out what they bought. Default: what the training found to be better."""
    exclude_seen: StrictBool = False
    """Leave out what they ever turned to, as far back as answers look."""
    category: AnId | None = None
    """Only what lies in it, or below it in the tree."""
    exclude_items: Annotated[list[AnId], Field(max_length=1000)] = []
    available_only: StrictBool = True
    """Leave out what the catalogue says is not to be had."""
    variant: AnId | None = None
    """Whose version answers. Default: the visitor's own, by the variants' shares."""

    def asked(self) -> Asked:
        """What the answer is to be like."""
        return Asked(
            limit=self.limit,
            strategy=self.strategy,
            exclude_purchased=self.exclude_purchased,
            exclude_seen=self.exclude_seen,
            category=self.category,
            exclude_items=frozenset(self.exclude_items),
            available_only=self.available_only,
            variant=self.variant,
        )


class VisitorIn(_Filtered):
    """A visitor, and what they did lately."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "user_id": "customer-4711",
                "events": [{"item_id": "sku-1042", "event_type": "view"}],
                "limit": 5,
            }
        }
    )

    user_id: AnId | None = None
    """None for a visitor without a name."""
    events: Annotated[list[ToldEvent], Field(max_length=MAX_TOLD)]
    """In any order; of those at the same moment the last is the newest."""
    items: Annotated[list[AnId], Field(min_length=1, max_length=MAX_RANKED)] | None = None
    """Put these in order, instead of choosing any."""

    def told(self, now: int, max_ahead: int) -> list[Event]:
        """The events, newest first. Raises InvalidRequestError for one of the future."""
        for index, moment in enumerate(_moment_of(each, now) for each in self.events):
            if moment > now + max_ahead:
                field = f"events[{index}].timestamp"
                raise InvalidRequestError(
                    f"{field} lies in the future.", [FieldError(field, "lies in the future")]
                )
        last_first = [
            Event(each.item_id, each.event_type, _moment_of(each, now)) for each in reversed(self.events)
        ]
        return sorted(last_first, key=lambda event: -event.timestamp)


class BatchIn(_Filtered):
    """Several visitors."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"user_ids": ["customer-4711", "customer-4712"], "limit": 5}}
    )

    user_ids: Annotated[list[AnId], Field(min_length=1, max_length=MAX_USERS)]
    """One named twice is answered once."""


Body = TypeVar("Body", bound=BaseModel)


def read_body(kind: type[Body], body: bytes) -> Body:
    """Raises MalformedRequestError for what is no JSON, InvalidRequestError that names each field."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
    if problems[0]["type"] == "json_invalid":
        raise MalformedRequestError(f"The body is not JSON: {problems[0]['msg']}")
    errors = [_field_error(kind, dict(problem)) for problem in problems]
    raise InvalidRequestError("; ".join(f"{each.field}: {each.message}" for each in errors), errors)


def _field_error(kind: type[BaseModel], problem: dict[str, Any]) -> FieldError:
    path = ""
    for part in problem["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    if problem["type"] == "extra_forbidden":
        name = str(problem["loc"][-1])
        known = ToldEvent.model_fields if len(problem["loc"]) > 1 else kind.model_fields
        return FieldError(path, f"is not known; {nearest(name, list(known))}")
    return FieldError(path, str(problem["msg"]).removeprefix("Value error, "))
