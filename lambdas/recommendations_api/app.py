"""The routes. What answers a request is in its ASGI scope, so that importing this connects to nothing."""

import datetime as dt
import json
from collections.abc import Callable, Collection, Coroutine
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, cast
from urllib.parse import unquote

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import AfterValidator
from pydantic.json_schema import models_json_schema
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from contract.events import MAX_ID_LENGTH, id_problem
from lambdas.recommendations_api import errors
from lambdas.recommendations_api.models import (
    EventsAnswer,
    EventsBatch,
    Health,
    ProblemOut,
    Readiness,
    Recommendations,
)
from lambdas.recommendations_api.posted_events import TimeWindow, nearest, read_events
from lambdas.recommendations_api.recommender import Answer, Recommender
from lambdas.recommendations_api.records import record_of
from lambdas.recommendations_api.repository import Repository
from lambdas.recommendations_api.settings import Clock

SERVICE: Final = "shop.service"
"""Where the ASGI scope holds what answers."""

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, kw_only=True)
class Service:
    """What the routes call."""

    recommender: Recommender
    repository: Repository
    clock: Clock
    event_max_age_ms: int
    event_max_ahead_ms: int


class _EncodedId(Convertor[str]):
    """An id in a path that is still percent-encoded: only there `a%2Fb` is one id and `a/b` are two parts."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return unquote(value, errors="surrogateescape")

    def to_string(self, value: str) -> str:
        raise NotImplementedError


register_url_convertor("id", _EncodedId())


class _StrictRoute(APIRoute):
    """Refuses query parameters that it does not have: a misspelt one would be silently without effect."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        known = [parameter.alias for parameter in self.dependant.query_params]

        async def strictly(request: Request) -> Response:
            _refuse_odd_parameters(request.query_params, known)
            return await handle(request)

        return strictly


class _Api(FastAPI):
    """Documents what the routes read and answer without FastAPI's help."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        _, definitions = models_json_schema(
            [(ProblemOut, "serialization"), (EventsBatch, "validation")],
            ref_template="#/components/schemas/{model}",
        )
        document["components"]["schemas"].update(definitions["$defs"])
        return document


def _problems(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemOut"}
    return {"description": description, "content": {errors.PROBLEM_MEDIA_TYPE: {"schema": schema}}}


app = _Api(
    title="Shop recommendations",
    version="1",
    summary="Personal recommendations, aimed at what will be added to the cart and bought.",
    description=(
        "Ask for a visitor's recommendations, and post what visitors do: the next answer knows it.\n\n"
        f"Ids are opaque strings of at most {MAX_ID_LENGTH} characters. "
        "Errors are problem documents (RFC 9457); tell them apart by `type`."
    ),
    responses={
        "4XX": _problems("Something to change in the request"),
        "5XX": _problems("Something to wait for, as `Retry-After` says, or to report with its `trace_id`"),
    },
    redoc_url=None,
    redirect_slashes=False,
    # One JSON line and own metrics tell about each request; FastAPI's spans would be made for nobody.
    telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
)
app.router.route_class = _StrictRoute
for kind in errors.PROBLEMS:
    app.add_exception_handler(kind, errors.answer_known)
app.add_exception_handler(HTTPException, errors.answer_http)
app.add_exception_handler(RequestValidationError, errors.answer_validation)
app.add_exception_handler(Exception, errors.answer_unexpected)


def _acceptable(value: str) -> str:
    problem = id_problem(value)
    if problem is not None:
        raise ValueError(problem)
    return value


_Length = Annotated[int, Query(ge=1, le=100, description="How many items.")]
_UserId = Annotated[
    str,
    Path(description="Any id: who is not known gets what is popular.", examples=["customer-4711"]),
    AfterValidator(_acceptable),
]
_ItemId = Annotated[str, Path(examples=["sku-1042"]), AfterValidator(_acceptable)]


@app.get("/v1/users/{user_id:id}/recommendations", response_model=Recommendations, tags=["recommendations"])
async def recommend(request: Request, user_id: _UserId, limit: _Length = 10) -> Response:
    """What to show a visitor: the trained list, blended with what they did up to a moment ago."""
    return _answered(request, _service(request).recommender.for_visitor(user_id, limit=limit))


@app.get("/v1/items/{item_id:id}/similar", response_model=Recommendations, tags=["recommendations"])
async def similar(request: Request, item_id: _ItemId, limit: _Length = 10) -> Response:
    """What the same people turn to: for the page of an item."""
    return _answered(request, _service(request).recommender.similar(item_id, limit=limit))


@app.get("/v1/popular", response_model=Recommendations, tags=["recommendations"])
async def popular(request: Request, limit: _Length = 10) -> Response:
    """What is bought by now."""
    return _answered(request, _service(request).recommender.popular(limit=limit))


@app.post(
    "/v1/events",
    status_code=202,
    response_model=EventsAnswer,
    tags=["events"],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/EventsBatch"}}},
        }
    },
)
async def post_events(request: Request) -> Response:
    """Tell what visitors did. The answer comes when it is committed.

    Acceptable events are stored even where others of the batch are not; those are reported one by one.
    """
    service = _service(request)
    now = service.clock()
    window = TimeWindow(now - service.event_max_age_ms, now, now + service.event_max_ahead_ms)
    accepted, rejected = read_events(await request.body(), window)
    new = service.repository.add_events(accepted)
    record = record_of(request)
    record.events_accepted = len(accepted)
    record.events_rejected = len(rejected)
    document = {
        "accepted": len(accepted),
        "duplicates": len(accepted) - new,
        "rejected": [asdict(each) for each in rejected],
    }
    # Escaped: a rejected field's name may be text that UTF-8 cannot carry.
    return Response(json.dumps(document), 202, media_type="application/json")


@app.get("/health", response_model=Health, tags=["operation"])
async def health() -> Response:
    """Whether the process answers."""
    return _json({"status": "ok"})


@app.get("/ready", response_model=Readiness, tags=["operation"])
async def ready(request: Request) -> Response:
    """Whether the database answers and a version is live."""
    live = _service(request).repository.live()
    return _json({"status": "ready", "model_version": live.name})


def _service(request: Request) -> Service:
    return cast(Service, request.scope[SERVICE])


def _answered(request: Request, answer: Answer) -> Response:
    record = record_of(request)
    record.source = answer.source
    record.version = answer.version
    headers = {"Cache-Control": "private, no-cache"}
    if answer.is_degraded:
        record.degraded = headers["X-Degraded"] = "database"
    document = {
        "model_version": answer.version,
        "generated_at": _iso(answer.generated_at),
        "source": answer.source,
        "items": [
            {"item_id": item_id, "score": float(f"{score:.6g}"), "rank": rank, "source": source}
            for rank, (item_id, score, source) in enumerate(answer.items, 1)
        ],
    }
    return _json(document, headers)


def _json(document: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(_encode(document), headers=headers, media_type="application/json")


def _iso(moment: int) -> str:
    return dt.datetime.fromtimestamp(moment / 1000, dt.UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _refuse_odd_parameters(parameters: QueryParams, known: Collection[str]) -> None:
    seen: set[str] = set()
    for name, _ in parameters.multi_items():
        if name not in known:
            message = f"is not known; {nearest(name, known)}"
        elif name in seen:
            message = "is given more than once"
        else:
            seen.add(name)
            continue
        raise errors.UnknownParameterError(
            f"The query parameter {name} {message}", [errors.FieldError(name, message)]
        )
