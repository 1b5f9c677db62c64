"""How a request finds its route, and what routes have in common."""

import datetime as dt
import functools
import json
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Final, cast, get_args, get_origin
from urllib.parse import unquote

from fastapi import APIRouter, Path, Request, Response
from fastapi.routing import APIRoute
from pydantic import AfterValidator
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import QueryParams

from contract.events import id_problem
from contract.routes import scope_of
from lambdas.recommendations_api import errors
from lambdas.recommendations_api.batches import nearest
from lambdas.recommendations_api.items import Items
from lambdas.recommendations_api.model_info import ModelInfo
from lambdas.recommendations_api.recommender import Recommender
from lambdas.recommendations_api.repository import Repository
from lambdas.recommendations_api.scopes import Authorization
from lambdas.recommendations_api.settings import Clock
from lambdas.recommendations_api.signing import Signer
from lambdas.recommendations_api.stats import Stats
from lambdas.recommendations_api.users import Users

SERVICE: Final = "shop.service"
"""Where the ASGI scope holds what answers."""
SCHEMAS: Final = "#/components/schemas/"
"""Where the OpenAPI document holds `schemas.py`."""

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, kw_only=True)
class Service:
    """What the routes call."""

    recommender: Recommender
    repository: Repository
    items: Items
    users: Users
    model_info: ModelInfo
    stats: Stats
    signer: Signer
    authorization: Authorization
    clock: Clock
    event_max_age_ms: int
    event_max_ahead_ms: int


Endpoint = Callable[..., Coroutine[Any, Any, Response]]

QUERIES_REMEMBERED: Final = 256
"""Of a route."""
LONGEST_REMEMBERED: Final = 200
"""Characters of a query that is remembered."""


class _EncodedId(Convertor[str]):
    """An id in a path that is still percent-encoded: only there `a%2Fb` is one id and `a/b` are two parts."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return unquote(value, errors="surrogateescape")

    def to_string(self, value: str) -> str:
        raise NotImplementedError


register_url_convertor("id", _EncodedId())


class StrictRoute(APIRoute):
    """Refuses callers without its scope, and query parameters that it does not have.

    A misspelt one would be silently without effect. What FastAPI has made of a query once holds for the next
    request with the same one: a shop sends few different ones, and reading one takes longer than all else
    that FastAPI does for a request.
    """

    def __init__(self, path: str, endpoint: Endpoint, **options: Any) -> None:
        self._endpoint = endpoint
        self._read: dict[bytes, dict[str, Any]] = {}
        super().__init__(path, self._remembering(endpoint), **options)

    def _remembering(self, endpoint: Endpoint) -> Endpoint:
        @functools.wraps(endpoint)
        async def remembering(**values: Any) -> Response:
            request = values.get("request")
            if request is not None and len(self._read) < QUERIES_REMEMBERED:
                query = request.scope["query_string"]
                if len(query) <= LONGEST_REMEMBERED:
                    others = {"request", *request.path_params}
                    self._read[query] = {name: value for name, value in values.items() if name not in others}
            return await endpoint(**values)

        return remembering

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the route, behind the checks."""
        handle = super().get_route_handler()
        scopes = {method: scope_of(method, self.path_format) for method in self.methods or ()}
        known = [parameter.alias for parameter in self.dependant.query_params]
        repeatable = {
            each.alias for each in self.dependant.query_params if _is_list(each.field_info.annotation)
        }

        async def strictly(request: Request) -> Response:
            context = request.scope["aws.event"]["requestContext"]
            service_of(request).authorization.require(scopes[request.method], context)
            read, path = self._read.get(request.scope["query_string"]), request.path_params
            if read is not None and all(id_problem(value) is None for value in path.values()):
                return await self._endpoint(request=request, **path, **read)
            _refuse_odd_parameters(request.query_params, known, repeatable)
            return await handle(request)

        return strictly


def _is_list(annotation: Any) -> bool:
    return any(get_origin(part) is list for part in (annotation, *get_args(annotation)))


def reading(model: str) -> dict[str, Any]:
    """How a route documents a body that it reads itself, by the name of one of `schemas.BODIES`."""
    return {"requestBody": {"required": True, "content": _content(model)}}


def answering(model: str, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """How a route documents an answer that it writes itself, by the name of one of `schemas.ANSWERS`."""
    return {status: {"content": _content(model)}}


def _problems(description: str) -> dict[str, Any]:
    return {"description": description, "content": _content("ProblemOut", errors.PROBLEM_MEDIA_TYPE)}


def _content(model: str, media_type: str = "application/json") -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": f"{SCHEMAS}{model}"}}}


def new_router(tag: str) -> APIRouter:
    """A router of strict routes, under one heading of the documentation."""
    return APIRouter(
        route_class=StrictRoute,
        tags=[tag],
        responses={
            "4XX": _problems("Something to change in the request"),
            "5XX": _problems(
                "Something to wait for, as `Retry-After` says, or to report with its `trace_id`"
            ),
        },
    )


def _acceptable(value: str) -> str:
    problem = id_problem(value)
    if problem is not None:
        raise ValueError(problem)
    return value


UserId = Annotated[
    str,
    Path(description="Any id: who is not known gets what is popular.", examples=["customer-4711"]),
    AfterValidator(_acceptable),
]
ItemId = Annotated[str, Path(examples=["sku-1042"]), AfterValidator(_acceptable)]


def service_of(request: Request) -> Service:
    """What answers this request."""
    return cast(Service, request.scope[SERVICE])


def json_response(document: Any, headers: dict[str, str] | None = None) -> Response:
    """An answer whose text is UTF-8 all through."""
    return Response(_encode(document), headers=headers, media_type="application/json")


def iso(moment: int) -> str:
    """Milliseconds UTC as ISO 8601."""
    return dt.datetime.fromtimestamp(moment / 1000, dt.UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _refuse_odd_parameters(
    parameters: QueryParams, known: Collection[str], repeatable: Collection[str]
) -> None:
    seen: set[str] = set()
    for name, _ in parameters.multi_items():
        if name not in known:
            message = f"is not known; {nearest(name, known)}"
        elif name in seen and name not in repeatable:
            message = "is given more than once"
        else:
            seen.add(name)
            continue
        raise errors.UnknownParameterError(
            f"The query parameter {name} {message}", [errors.FieldError(name, message)]
        )
