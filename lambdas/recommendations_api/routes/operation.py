"""Whether the function works."""

from fastapi import Request, Response

from lambdas.recommendations_api.routing import answering, json_response, new_router, service_of

router = new_router("operation")


@router.get("/health", responses=answering("Health"))
async def health() -> Response:
    """Whether the process answers."""
    return json_response({"status": "ok"})


@router.get("/ready", responses=answering("Readiness"))
async def ready(request: Request) -> Response:
    """Whether the database answers and a version is live."""
    live = service_of(request).repository.live()
    return json_response({"status": "ready", "model_version": live.name})
