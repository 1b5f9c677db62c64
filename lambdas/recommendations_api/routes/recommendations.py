"""What to show: to a visitor, on an item's page, in a cart, to everyone."""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import AfterValidator

from contract.events import MAX_ID_LENGTH, id_problem
from contract.recommendations import CANARY_VARIANT
from lambdas.recommendations_api.asked import DEFAULT_LIMIT, MAX_LIMIT, Asked, Filters, Strategy, Window
from lambdas.recommendations_api.errors import FieldError, ForbiddenError, InvalidRequestError
from lambdas.recommendations_api.recommender import Answer
from lambdas.recommendations_api.records import record_of
from lambdas.recommendations_api.routing import (
    ItemId,
    Service,
    UserId,
    answering,
    iso,
    json_response,
    new_router,
    reading,
    service_of,
)
from lambdas.recommendations_api.scopes import is_direct

router = new_router("recommendations")


def _an_id(value: str | None) -> str | None:
    problem = None if value is None else id_problem(value)
    if problem is not None:
        raise ValueError(problem)
    return value


Length = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many items.")]
Category = Annotated[
    str | None,
    AfterValidator(_an_id),
    Query(
        min_length=1,
        max_length=MAX_ID_LENGTH,
        json_schema_extra={"pattern": "^[^\\u0000]+$"},
        description="Only what lies in it, or below it in the tree.",
    ),
]
Excluded = Annotated[
    list[str] | None, Query(description="Items to leave out: repeated, or separated by commas.")
]
Available = Annotated[bool, Query(description="Leave out what the catalogue says is not to be had.")]
ByStrategy = Annotated[
    Strategy,
    Query(
        description="`blend`: the trained list and what they did until now. `stored`: the trained list "
        "alone. `session`: without it."
    ),
]
Purchased = Annotated[
    bool | None,
    Query(description="Leave out what they bought. Default: as the training found to be better."),
]
Seen = Annotated[bool, Query(description="Leave out what they ever turned to, as far back as answers look.")]
ByVariant = Annotated[
    str | None,
    AfterValidator(_an_id),
    Query(
        min_length=1,
        max_length=MAX_ID_LENGTH,
        json_schema_extra={"pattern": "^[^\\u0000]+$"},
        description="Whose version answers. Default: the visitor's own, by the variants' shares; `default` "
        "where nobody is named.",
    ),
]
Within = Annotated[
    Window | None,
    Query(
        description="Only carts and purchases of so many days before the training. Default: of all time, the "
        "latest counting most."
    ),
]


@router.get("/v1/users/{user_id:id}/recommendations", responses=answering("Recommendations"))
async def recommend(
    request: Request,
    user_id: UserId,
    *,
    limit: Length = DEFAULT_LIMIT,
    strategy: ByStrategy = "blend",
    exclude_purchased: Purchased = None,
    exclude_seen: Seen = False,
    category: Category = None,
    exclude_items: Excluded = None,
    available_only: Available = True,
    variant: ByVariant = None,
) -> Response:
    """What to show a visitor: the trained list, blended with what they did up to a moment ago."""
    asked = Asked(
        limit=limit,
        strategy=strategy,
        exclude_purchased=exclude_purchased,
        exclude_seen=exclude_seen,
        category=category,
        exclude_items=_excluded(exclude_items),
        available_only=available_only,
        variant=_permitted(request, variant),
    )
    return _answered(request, service_of(request).recommender.for_visitor(user_id, asked), user_id)


@router.post(
    "/v1/recommendations", responses=answering("Recommendations"), openapi_extra=reading("VisitorIn")
)
async def recommend_now(request: Request) -> Response:
    """What to show a visitor whose latest events come with the request, known or not.

    Nothing of it is stored: post events to keep them. With `items` those are put in order.
    """
    from lambdas.recommendations_api.bodies import VisitorIn, read_body  # noqa: PLC0415 - takes long to make

    service = service_of(request)
    visitor = read_body(VisitorIn, await request.body())
    told = visitor.told(service.clock(), service.event_max_ahead_ms)
    asked = visitor.asked()
    _permitted(request, asked.variant)
    answer = service.recommender.for_visitor(visitor.user_id, asked, told=told, rank=visitor.items)
    return _answered(request, answer, visitor.user_id)


@router.post(
    "/v1/recommendations/batch", responses=answering("RecommendationsBatch"), openapi_extra=reading("BatchIn")
)
async def recommend_batch(request: Request) -> Response:
    """What to show each of up to 100 visitors."""
    from lambdas.recommendations_api.bodies import BatchIn, read_body  # noqa: PLC0415 - takes long to make

    batch = read_body(BatchIn, await request.body())
    user_ids = list(dict.fromkeys(batch.user_ids))
    asked = batch.asked()
    _permitted(request, asked.variant)
    service = service_of(request)
    answers = service.recommender.for_visitors(user_ids, asked)
    _note(request, answers)
    documents = [
        {"user_id": user_id, **_document(answer, _signed(service, answer, user_id))}
        for user_id, answer in zip(user_ids, answers, strict=True)
    ]
    return json_response({"answers": documents}, _headers(answers[0]))


@router.get("/v1/items/{item_id:id}/similar", responses=answering("Recommendations"))
async def similar(
    request: Request,
    item_id: ItemId,
    *,
    limit: Length = DEFAULT_LIMIT,
    category: Category = None,
    exclude_items: Excluded = None,
    available_only: Available = True,
    variant: ByVariant = None,
) -> Response:
    """What the same people turn to: for the page of an item."""
    filters = _filters(
        limit, category, exclude_items, available_only=available_only, variant=_permitted(request, variant)
    )
    return _answered(request, service_of(request).recommender.similar(item_id, filters))


@router.get("/v1/items/{item_id:id}/bought-together", responses=answering("Recommendations"))
async def bought_together(
    request: Request,
    item_id: ItemId,
    *,
    limit: Length = DEFAULT_LIMIT,
    category: Category = None,
    exclude_items: Excluded = None,
    available_only: Available = True,
    variant: ByVariant = None,
) -> Response:
    """What goes into one basket with an item, then what is similar to it: for the page of a cart."""
    filters = _filters(
        limit, category, exclude_items, available_only=available_only, variant=_permitted(request, variant)
    )
    return _answered(request, service_of(request).recommender.bought_together(item_id, filters))


@router.get("/v1/popular", responses=answering("Recommendations"))
async def popular(
    request: Request,
    *,
    limit: Length = DEFAULT_LIMIT,
    category: Category = None,
    window: Within = None,
    exclude_items: Excluded = None,
    available_only: Available = True,
    variant: ByVariant = None,
) -> Response:
    """What is bought by now, in the whole shop or in a category."""
    filters = _filters(
        limit, category, exclude_items, available_only=available_only, variant=_permitted(request, variant)
    )
    return _answered(request, service_of(request).recommender.popular(filters, window))


def _filters(
    limit: int,
    category: str | None,
    exclude_items: list[str] | None,
    *,
    available_only: bool,
    variant: str | None,
) -> Filters:
    return Filters(
        limit=limit,
        category=category,
        exclude_items=_excluded(exclude_items),
        available_only=available_only,
        variant=variant,
    )


def _permitted(request: Request, variant: str | None) -> str | None:
    """The variant, unless it is one that only direct invocations may ask for. Raises ForbiddenError."""
    if variant == CANARY_VARIANT and not is_direct(request.scope["aws.event"]["requestContext"]):
        raise ForbiddenError(f"The variant {CANARY_VARIANT} answers only direct invocations of the function.")
    return variant


def _excluded(values: list[str] | None) -> frozenset[str]:
    if not values:
        return frozenset()
    items = [item for value in values for item in value.split(",") if item]
    for item in items:
        if problem := id_problem(item):
            raise InvalidRequestError(
                f"exclude_items {problem}.", [FieldError("exclude_items", f"{item[:20]!r} {problem}")]
            )
    return frozenset(items)


def _answered(request: Request, answer: Answer, user_id: str | None = None) -> Response:
    _note(request, [answer])
    headers = _headers(answer)
    if request.method == "GET":
        headers["ETag"] = etag = _etag(answer)
        if _is_known(etag, request.headers.get("if-none-match")):
            # It bears no new id: what the visitor does is told of the answer that they have.
            record_of(request).answers.clear()
            return Response(status_code=304, headers=headers)
    return json_response(_document(answer, _signed(service_of(request), answer, user_id)), headers)


def _signed(service: Service, answer: Answer, user_id: str | None) -> str | None:
    return service.signer.sign(
        version=answer.version,
        variant=answer.variant,
        source=answer.source,
        user_id=user_id,
        now=answer.generated_at,
    )


def _etag(answer: Answer) -> str:
    """Of version and items: not of the moment, which is another for each answer."""
    told = repr((answer.version, answer.items)).encode(errors="surrogatepass")
    return f'"{hashlib.blake2b(told, digest_size=12).hexdigest()}"'


def _is_known(etag: str, known: str | None) -> bool:
    if known is None:
        return False
    return known.strip() == "*" or etag in (each.strip().removeprefix("W/") for each in known.split(","))


def _note(request: Request, answers: Sequence[Answer]) -> None:
    record, answer = record_of(request), answers[0]
    record.source = answer.source
    record.version = answer.version
    record.variant = answer.variant
    record.as_of = answer.as_of
    for each in answers:
        told = (each.source, each.version, each.variant)
        record.answers[told] = record.answers.get(told, 0) + 1
    if answer.is_degraded:
        record.degraded = "database"


def _headers(answer: Answer) -> dict[str, str]:
    headers = {"Cache-Control": "private, no-cache"}
    if answer.is_degraded:
        headers["X-Degraded"] = "database"
    return headers


def _document(answer: Answer, recommendation_id: str | None) -> dict[str, Any]:
    return {
        "recommendation_id": recommendation_id,
        "model_version": answer.version,
        "variant": answer.variant,
        "generated_at": iso(answer.generated_at),
        "source": answer.source,
        "items": [
            {
                "item_id": item_id,
                "score": float(f"{score:.6g}"),
                "rank": rank,
                "source": source,
                "reasons": reasons,
            }
            for rank, ((item_id, score, source), reasons) in enumerate(
                zip(answer.items, answer.reasons, strict=True), 1
            )
        ],
    }
