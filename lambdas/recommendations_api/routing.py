"""How a request finds its route, and what routes have in common."""

import datetime as dt
import json
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Final, cast
from urllib.parse import unquote

from fastapi import APIRouter, Path, Request, Response
from fastapi.routing import APIRoute
from pydantic import AfterValidator
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import QueryParams

from contract.events import id_problem
from lambdas.recommendations_api import errors
from lambdas.recommendations_api.posted_events import nearest
from lambdas.recommendations_api.recommender import Recommender
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


class StrictRoute(APIRoute):
    """Refuses query parameters that it does not have: a misspelt one would be silently without effect."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the route, behind the check."""
        handle = super().get_route_handler()
        known = [parameter.alias for parameter in self.dependant.query_params]

        async def strictly(request: Request) -> Response:
            _refuse_odd_parameters(request.query_params, known)
            return await handle(request)

        return strictly


def _problems(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemOut"}
    return {"description": description, "content": {errors.PROBLEM_MEDIA_TYPE: {"schema": schema}}}


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
