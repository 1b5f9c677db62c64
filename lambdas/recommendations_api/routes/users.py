"""A user's own data: for whoever has to tell them what is stored, or to delete it."""

from datetime import datetime
from typing import Any

from fastapi import Request, Response

from lambdas.recommendations_api.routing import UserId, answering, iso, json_response, new_router, service_of
from lambdas.recommendations_api.users import PostedEvent, StoredUser

router = new_router("users")


@router.get("/v1/users/{user_id:id}", responses=answering("StoredUserOut"))
async def stored_user(request: Request, user_id: UserId) -> Response:
    """What the database holds of a user. For operators.

    Somebody unknown gets the same answer with nothing in it.
    """
    stored = service_of(request).users.stored(user_id)
    return json_response({"user_id": user_id, **_document(stored)}, _PRIVATE)


@router.delete("/v1/users/{user_id:id}", responses=answering("DeletedUser"))
async def delete_user(request: Request, user_id: UserId) -> Response:
    """Forget a user: their lists and posted events at once, and whatever comes up again of them later.

    For operators. Repeating it is harmless, and right whenever the answer was not 200. What they do from now
    on is theirs to do: it is stored as anybody's.
    """
    deleted = service_of(request).users.delete(user_id)
    return json_response({"user_id": user_id, **deleted._asdict()}, _PRIVATE)


_PRIVATE = {"Cache-Control": "no-store"}


def _document(stored: StoredUser) -> dict[str, Any]:
    return {
        "is_stored": stored.is_stored,
        "deleted_at": _moment(stored.deleted_at),
        "model_version": stored.model_version,
        "personal": [{"item_id": item, "score": float(f"{score:.6g}")} for item, score in stored.personal],
        "history": [{**event._asdict(), "timestamp": iso(event.timestamp)} for event in stored.history],
        "listed_in": [listed._asdict() for listed in stored.listed_in],
        "events": {
            "count": stored.events,
            "oldest": None if stored.oldest_event is None else iso(stored.oldest_event),
            "newest": None if stored.newest_event is None else iso(stored.newest_event),
            "latest": [_event(event) for event in stored.latest_events],
        },
    }


def _event(event: PostedEvent) -> dict[str, Any]:
    return {
        **event._asdict(),
        "timestamp": iso(event.timestamp),
        "received_at": _moment(event.received_at),
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else iso(round(moment.timestamp() * 1000))
