"""From an exception to what the caller reads: problem documents (RFC 9457), from one table.

    UnknownItemError           404  unknown-item
    UnknownCategoryError       404  unknown-category
    UnknownVariantError        404  unknown-variant
    NoWindowsError             404  no-windows
    MisdirectedError           421  misdirected
    UnknownParameterError      400  unknown-parameter
    MalformedRequestError      400  malformed-request
    InvalidRequestError        422  invalid-request
    UnauthenticatedError       401  unauthenticated
    ForbiddenError             403  forbidden
    NoVersionError             503  no-version
    ManifestError              503  unreadable-version
    DatabaseUnavailableError   503  database-unavailable
    DeletionError              503  database-unavailable

Whatever else is raised is a defect: 500 internal-error, and a traceback in the log.
"""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from contract.recommendations import ManifestError
from lambdas.recommendations_api.database import DatabaseUnavailableError
from lambdas.recommendations_api.records import record_of
from lambdas.recommendations_api.repository import (
    NoVersionError,
    NoWindowsError,
    UnknownCategoryError,
    UnknownVariantError,
)
from lambdas.recommendations_api.users import DeletionError

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"


class FieldError(NamedTuple):
    """What is wrong with one field of a request."""

    field: str
    message: str


class RequestError(Exception):
    """Something that the caller has to change."""

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.errors = errors


class UnknownItemError(RequestError):
    """An item that the live version has no list of."""


class UnknownParameterError(RequestError):
    """A query parameter that the route does not have, or has once only."""


class MalformedRequestError(RequestError):
    """A request that is not what it says it is: not JSON, not Base64."""


class InvalidRequestError(RequestError):
    """Readable, but with values that are not allowed."""


class UnauthenticatedError(RequestError):
    """A request that doesn't say whose it is."""


class ForbiddenError(RequestError):
    """A request whose caller may not make it."""


class MisdirectedError(RequestError):
    """A request for a route that another function of this code answers."""


class Problem(NamedTuple):
    """A kind of problem; `slug` ends its stable `type`."""

    status: int
    slug: str
    title: str
    detail: str | None = None
    """Where the exception's own text is not for callers."""
    retry_after: int | None = None
    """Seconds."""
    challenge: str | None = None
    """How callers tell who they are, as RFC 9110 wants it in `WWW-Authenticate`."""


_UNREADABLE: Final = Problem(
    503,
    "unreadable-version",
    "The live version cannot be read",
    "The live version was made for other code than this API's: deploy that, or roll back.",
    retry_after=60,
)

PROBLEMS: Final[Mapping[type[Exception], Problem]] = {
    UnknownItemError: Problem(404, "unknown-item", "There is no such item"),
    UnknownCategoryError: Problem(
        404,
        "unknown-category",
        "There is no such category",
        "Neither the catalogue's tree nor any item has it.",
    ),
    UnknownVariantError: Problem(
        404, "unknown-variant", "There is no such variant", "No version answers as that variant."
    ),
    NoWindowsError: Problem(
        404,
        "no-windows",
        "There are no lists by window yet",
        "The version was trained before there were any: ask without `window`, or retrain.",
    ),
    MisdirectedError: Problem(421, "misdirected", "Another function answers this"),
    UnknownParameterError: Problem(400, "unknown-parameter", "A query parameter is not known"),
    MalformedRequestError: Problem(400, "malformed-request", "The request cannot be read"),
    InvalidRequestError: Problem(422, "invalid-request", "The request has values that are not allowed"),
    UnauthenticatedError: Problem(401, "unauthenticated", "Nobody is identified", challenge="Bearer"),
    ForbiddenError: Problem(403, "forbidden", "The caller may not do this"),
    NoVersionError: Problem(
        503,
        "no-version",
        "There are no recommendations yet",
        "No version is live: load one, with `python -m training.versions load VERSION`.",
        retry_after=60,
    ),
    ManifestError: _UNREADABLE,
    DatabaseUnavailableError: Problem(
        503,
        "database-unavailable",
        "The database does not answer",
        "What was to be stored may have been stored all the same. Try again: an event with an `event_id` "
        "counts once.",
        retry_after=2,
    ),
    DeletionError: Problem(
        503,
        "database-unavailable",
        "The database does not answer",
        "The user may still be stored. Delete again, until the answer is 200: repeating it is harmless.",
        retry_after=2,
    ),
}

INTERNAL_ERROR: Final = Problem(
    500, "internal-error", "Something went wrong here", "It was logged under this trace_id."
)

_OF_STATUS: Final = {
    404: Problem(404, "not-found", "There is nothing at this path"),
    405: Problem(405, "method-not-allowed", "This path has no such method"),
}


def problem_response(
    problem: Problem,
    *,
    trace_id: str,
    detail: str | None = None,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document."""
    document: dict[str, Any] = {
        "type": f"urn:problem:{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail or detail or problem.title,
        "errors": [error._asdict() for error in errors],
        "trace_id": trace_id,
    }
    all_headers = dict(headers or {})
    if problem.retry_after is not None:
        all_headers["Retry-After"] = str(problem.retry_after)
    if problem.challenge is not None:
        all_headers["WWW-Authenticate"] = problem.challenge
    # Escaped, because what a caller sent may be text that UTF-8 cannot carry.
    return Response(json.dumps(document), problem.status, all_headers, PROBLEM_MEDIA_TYPE)


async def answer_known(request: Request, error: Exception) -> Response:
    """What the table says."""
    problem = next(PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS)
    errors = error.errors if isinstance(error, RequestError) else ()
    return problem_response(problem, trace_id=record_of(request).trace_id, detail=str(error), errors=errors)


async def answer_http(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for no other
    status = HTTPStatus(error.status_code)
    problem = _OF_STATUS.get(status, Problem(status, status.phrase.lower().replace(" ", "-"), status.phrase))
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed(request)
    return problem_response(problem, trace_id=record_of(request).trace_id, headers=headers)


def _allowed(request: Request) -> str:
    """The methods of all routes of a path: the framework tells those of the first."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in routes for method in route.methods}))


async def answer_validation(request: Request, error: Exception) -> Response:
    """What the types of the routes refuse."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for no other
    errors = [
        FieldError(".".join(map(str, each["loc"][1:])), each["msg"].removeprefix("Value error, "))
        for each in error.errors()
    ]
    return problem_response(
        PROBLEMS[InvalidRequestError],
        trace_id=record_of(request).trace_id,
        detail="; ".join(f"{each.field}: {each.message}" for each in errors),
        errors=errors,
    )


async def answer_unexpected(request: Request, _: Exception) -> Response:
    """A defect; whoever observes the request logs it."""
    return problem_response(INTERNAL_ERROR, trace_id=record_of(request).trace_id)
