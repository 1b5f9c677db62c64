"""The application: its routes, its errors, its OpenAPI document.

What answers a request is in its ASGI scope, so that importing this connects to nothing.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from contract.events import MAX_ID_LENGTH
from contract.routes import scope_of
from lambdas.recommendations_api import errors
from lambdas.recommendations_api.routes import events, items, model, operation, recommendations, users
from lambdas.recommendations_api.scopes import SECURITY_SCHEMES, security_of


class _Api(FastAPI):
    """Documents what the routes read and answer without FastAPI's help."""

    def openapi(self) -> dict[str, Any]:
        # Making the models takes longer than all else of this application's start.
        from lambdas.recommendations_api.schemas import schemas  # noqa: PLC0415

        document = super().openapi()
        document.setdefault("components", {})["schemas"] = schemas()
        document["components"]["securitySchemes"] = SECURITY_SCHEMES
        for path, operations in document["paths"].items():
            for method, described in operations.items():
                described["security"] = security_of(scope_of(method.upper(), path))
        return document


app = _Api(
    title="Shop recommendations",
    version="1",
    summary="Personal recommendations, aimed at what will be added to the cart and bought.",
    description=(
        "Ask for a visitor's recommendations, and post what visitors do: the next answer knows it.\n\n"
        f"Ids are opaque strings of at most {MAX_ID_LENGTH} characters. "
        "Errors are problem documents (RFC 9457); tell them apart by `type`."
    ),
    # Not by `include_router`, which looks for a request's route in one router after the other.
    routes=[
        *recommendations.router.routes,
        *events.router.routes,
        *items.router.routes,
        *users.router.routes,
        *model.router.routes,
        *operation.router.routes,
    ],
    redoc_url=None,
    redirect_slashes=False,
    # One JSON line and own metrics tell about each request; FastAPI's spans would be made for nobody.
    telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
)
for kind in errors.PROBLEMS:
    app.add_exception_handler(kind, errors.answer_known)
app.add_exception_handler(HTTPException, errors.answer_http)
app.add_exception_handler(RequestValidationError, errors.answer_validation)
app.add_exception_handler(Exception, errors.answer_unexpected)
