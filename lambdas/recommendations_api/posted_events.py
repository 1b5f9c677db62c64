"""Posted events: read from a request's body, sorted into acceptable ones and the others."""

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from contract.events import event_type_problem, id_problem
from lambdas.recommendations_api.batches import (
    BadFieldError,
    SortedEntries,
    fields_of,
    sort_entries,
    text_of,
)
from lambdas.recommendations_api.repository import NewEvent

MAX_EVENTS: Final = 1000

_REQUIRED: Final = ("user_id", "item_id", "event_type")
_KNOWN: Final = (*_REQUIRED, "event_id", "timestamp", "recommendation_id")
_TEXT_PROBLEMS: Final[dict[str, Callable[[str], str | None]]] = {
    "user_id": id_problem,
    "item_id": id_problem,
    "event_id": id_problem,
    "event_type": event_type_problem,
    # As long as an id: `contract.recommendation_id.MAX_LENGTH`. Whether it is one of ours is judged later.
    "recommendation_id": id_problem,
}


class TimeWindow(NamedTuple):
    """When an acceptable event can have happened, in ms UTC."""

    oldest: int
    now: int
    newest: int


def read_events(body: bytes, window: TimeWindow) -> SortedEntries[NewEvent]:
    """Sort the events of a body. Raises as `sort_entries` does."""
    return sort_entries(body, "events", lambda entry: _event(entry, window), most=MAX_EVENTS)


def _event(entry: Any, window: TimeWindow) -> NewEvent:
    document = fields_of(entry, required=_REQUIRED, known=_KNOWN)
    event_id = document.get("event_id")
    timestamp = document.get("timestamp")
    recommendation_id = document.get("recommendation_id")
    return NewEvent(
        user_id=_text(document, "user_id"),
        # Made here, not by the database: then the insert can be repeated on a new connection.
        event_id=str(uuid.uuid4()) if event_id is None else _text(document, "event_id"),
        item_id=_text(document, "item_id"),
        event_type=_text(document, "event_type"),
        timestamp=window.now if timestamp is None else _timestamp(timestamp, window),
        recommendation_id=None if recommendation_id is None else _text(document, "recommendation_id"),
    )


def _text(document: dict[str, Any], name: str) -> str:
    return text_of(document, name, _TEXT_PROBLEMS[name])


def _timestamp(value: Any, window: TimeWindow) -> int:
    moment = _milliseconds(value)
    if moment > window.newest:
        raise BadFieldError("timestamp", "lies in the future")
    if moment < window.oldest:
        hint = "; it is in milliseconds" if window.oldest <= moment * 1000 <= window.newest else ""
        raise BadFieldError("timestamp", f"is too long ago{hint}")
    return moment


def _milliseconds(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise BadFieldError("timestamp", "is neither an integer (ms since 1970 UTC) nor an ISO 8601 string")
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        raise BadFieldError("timestamp", "is not an ISO 8601 moment, such as 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise BadFieldError("timestamp", "has no time zone; for UTC append Z")
    return int(moment.timestamp() * 1000)
