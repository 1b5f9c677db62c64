"""What to show: to a visitor, on an item's page, to everyone."""

from typing import Annotated

from fastapi import Query, Request, Response

from lambdas.recommendations_api.models import Recommendations
from lambdas.recommendations_api.recommender import Answer
from lambdas.recommendations_api.records import record_of
from lambdas.recommendations_api.routing import ItemId, UserId, iso, json_response, new_router, service_of

router = new_router("recommendations")

Length = Annotated[int, Query(ge=1, le=100, description="How many items.")]


@router.get("/v1/users/{user_id:id}/recommendations", response_model=Recommendations)
async def recommend(request: Request, user_id: UserId, limit: Length = 10) -> Response:
    """What to show a visitor: the trained list, blended with what they did up to a moment ago."""
    return _answered(request, service_of(request).recommender.for_visitor(user_id, limit=limit))


@router.get("/v1/items/{item_id:id}/similar", response_model=Recommendations)
async def similar(request: Request, item_id: ItemId, limit: Length = 10) -> Response:
    """What the same people turn to: for the page of an item."""
    return _answered(request, service_of(request).recommender.similar(item_id, limit=limit))


@router.get("/v1/popular", response_model=Recommendations)
async def popular(request: Request, limit: Length = 10) -> Response:
    """What is bought by now."""
    return _answered(request, service_of(request).recommender.popular(limit=limit))


def _answered(request: Request, answer: Answer) -> Response:
    record = record_of(request)
    record.source = answer.source
    record.version = answer.version
    headers = {"Cache-Control": "private, no-cache"}
    if answer.is_degraded:
        record.degraded = headers["X-Degraded"] = "database"
    document = {
        "model_version": answer.version,
        "generated_at": iso(answer.generated_at),
        "source": answer.source,
        "items": [
            {"item_id": item_id, "score": float(f"{score:.6g}"), "rank": rank, "source": source}
            for rank, (item_id, score, source) in enumerate(answer.items, 1)
        ],
    }
    return json_response(document, headers)
