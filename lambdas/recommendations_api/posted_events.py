"""Posted events: read from a request's body, sorted into acceptable ones and the others."""

import datetime as dt
import difflib
import json
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from contract.events import event_type_problem, id_problem
from lambdas.recommendations_api.errors import FieldError, InvalidRequestError, MalformedRequestError
from lambdas.recommendations_api.repository import NewEvent

MAX_EVENTS: Final = 1000

_REQUIRED: Final = ("user_id", "item_id", "event_type")
_KNOWN: Final = (*_REQUIRED, "event_id", "timestamp")
_TEXT_PROBLEMS: Final[dict[str, Callable[[str], str | None]]] = {
    "user_id": id_problem,
    "item_id": id_problem,
    "event_id": id_problem,
    "event_type": event_type_problem,
}


@dataclass(frozen=True)
class RejectedEvent:
    """Which event of a batch is not taken, and why."""

    index: int
    field: str
    message: str


class TimeWindow(NamedTuple):
    """When an acceptable event can have happened, in ms UTC."""

    oldest: int
    now: int
    newest: int


class SortedEvents(NamedTuple):
    """A batch after it was looked at."""

    accepted: list[NewEvent]
    rejected: list[RejectedEvent]


class _BadFieldError(Exception):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def read_events(body: bytes, window: TimeWindow) -> SortedEvents:
    """Sort the events of a body.

    Raises MalformedRequestError or InvalidRequestError where there is no batch to begin with, or not one
    event of it is acceptable.
    """
    accepted: list[NewEvent] = []
    rejected: list[RejectedEvent] = []
    for index, document in enumerate(_batch(body)):
        try:
            accepted.append(_event(document, window))
        except _BadFieldError as error:
            rejected.append(RejectedEvent(index, error.field, str(error)))
    if not accepted:
        raise InvalidRequestError(
            "None of the events is acceptable; nothing was stored.",
            [FieldError(_path(each), each.message) for each in rejected],
        )
    return SortedEvents(accepted, rejected)


def nearest(name: str, known: Collection[str]) -> str:
    """A hint at the known name that a misspelt one is nearest to, or at all of them."""
    found = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {found[0]}?" if found else f"known are: {', '.join(known) or 'none'}"


def _batch(body: bytes) -> list[Any]:
    try:
        document = json.loads(body)
    except RecursionError:
        raise MalformedRequestError("The body is nested too deep.") from None
    except ValueError as error:
        raise MalformedRequestError(f"The body is not JSON: {error}") from error
    if not isinstance(document, dict) or "events" not in document:
        raise _invalid("events", "is missing: the body is an object with a list of events")
    for name in document:
        if name != "events":
            raise _invalid(name, "is not known; the body has but the field events")
    events = document["events"]
    if not isinstance(events, list):
        raise _invalid("events", "is not a list")
    if not 1 <= len(events) <= MAX_EVENTS:
        raise _invalid("events", f"has {len(events)} events, 1 to {MAX_EVENTS} are allowed")
    return events


def _event(document: Any, window: TimeWindow) -> NewEvent:
    if not isinstance(document, dict):
        raise _BadFieldError("", "is not an object")
    for name in document:
        if name not in _KNOWN:
            raise _BadFieldError(name, f"is not known; {nearest(name, _KNOWN)}")
    for name in _REQUIRED:
        if document.get(name) is None:
            raise _BadFieldError(name, "is missing")
    event_id = document.get("event_id")
    timestamp = document.get("timestamp")
    return NewEvent(
        user_id=_text(document, "user_id"),
        # Made here, not by the database: then the insert can be repeated on a new connection.
        event_id=str(uuid.uuid4()) if event_id is None else _text(document, "event_id"),
        item_id=_text(document, "item_id"),
        event_type=_text(document, "event_type"),
        timestamp=window.now if timestamp is None else _timestamp(timestamp, window),
    )


def _text(document: dict[str, Any], name: str) -> str:
    value = document[name]
    if not isinstance(value, str):
        raise _BadFieldError(name, "is not a string")
    problem = _TEXT_PROBLEMS[name](value)
    if problem is not None:
        raise _BadFieldError(name, problem)
    return value


def _timestamp(value: Any, window: TimeWindow) -> int:
    moment = _milliseconds(value)
    if moment > window.newest:
        raise _BadFieldError("timestamp", "lies in the future")
    if moment < window.oldest:
        hint = "; it is in milliseconds" if window.oldest <= moment * 1000 <= window.newest else ""
        raise _BadFieldError("timestamp", f"is too long ago{hint}")
    return moment


def _milliseconds(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise _BadFieldError("timestamp", "is neither an integer (ms since 1970 UTC) nor an ISO 8601 string")
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        raise _BadFieldError("timestamp", "is not an ISO 8601 moment, such as 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise _BadFieldError("timestamp", "has no time zone; for UTC append Z")
    return int(moment.timestamp() * 1000)


def _invalid(field: str, message: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field} {message}.", [FieldError(field, message)])


def _path(rejected: RejectedEvent) -> str:
    return f"events[{rejected.index}]" + (f".{rejected.field}" if rejected.field else "")
