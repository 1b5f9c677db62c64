"""One execution environment: from the events that Lambda hands it to answers, logs and metrics."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from fastapi.routing import APIRoute
from mangum.adapter import DEFAULT_TEXT_MIME_TYPES
from mangum.types import LambdaContext, LambdaEvent, Message, Receive, Scope, Send
from starlette.types import ASGIApp

from contract.routes import scope_of
from lambdas.recommendations_api import errors
from lambdas.recommendations_api.app import app
from lambdas.recommendations_api.database import Database
from lambdas.recommendations_api.gateway import LooplessMangum, MalformedEventError, RestEvent, trace_id
from lambdas.recommendations_api.items import Items
from lambdas.recommendations_api.logs import FIELDS
from lambdas.recommendations_api.metrics import Metrics
from lambdas.recommendations_api.model_info import ModelInfo
from lambdas.recommendations_api.pusher import Pusher
from lambdas.recommendations_api.recommender import Recommender
from lambdas.recommendations_api.records import RECORD, RequestRecord
from lambdas.recommendations_api.repository import Repository
from lambdas.recommendations_api.routing import SERVICE, Service
from lambdas.recommendations_api.scopes import Authorization, is_served
from lambdas.recommendations_api.settings import Serves, Settings
from lambdas.recommendations_api.signing import Signer
from lambdas.recommendations_api.stats import Stats
from lambdas.recommendations_api.users import Users

logger = logging.getLogger(__name__)


def served_routes(serves: Serves) -> list[tuple[str, str]]:
    """Methods and templates of the routes that such a function answers."""
    return [
        (method, route.path_format)
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods or ())
        if is_served(scope_of(method, route.path_format), serves)
    ]


def _readable_from(origins: tuple[str, ...], inner: ASGIApp) -> ASGIApp:
    """The application, with headers that let pages of these origins read what it answers."""
    # Imported where it is asked for: no other start has to pay for it.
    from starlette.middleware.cors import CORSMiddleware  # noqa: PLC0415

    return CORSMiddleware(inner, allow_origins=origins, expose_headers=["ETag", "Retry-After", "X-Degraded"])


_MALFORMED: Final = errors.PROBLEMS[errors.MalformedRequestError]


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What is made at the first invocation."""

    database: Database
    service: Service
    metrics: Metrics
    pusher: Pusher | None


class Environment:
    """Call it with an event. Until then it has made nothing that must not be copied.

    With SnapStart Lambda copies what the import made into many environments: connections, random names and
    clocks would be the same in all of them.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells, in seconds, how long it rested: a monotonic one may stand still meanwhile."""
        if settings.authorization == "none":
            logger.warning("AUTHORIZATION is none: whoever reaches this API may do everything")
        self._settings = settings
        self._routes = served_routes(settings.serves)
        self._app = _readable_from(settings.cors_origins, app) if settings.cors_origins else app
        self._parts: _Parts | None = None
        self._clock = clock
        self._called_at = 0.0
        self._mangum = LooplessMangum(
            self._observed,
            lifespan="off",
            custom_handlers=[RestEvent],
            text_mime_types=[*DEFAULT_TEXT_MIME_TYPES, errors.PROBLEM_MEDIA_TYPE],
        )

    def __call__(self, event: LambdaEvent, context: LambdaContext) -> dict[str, Any]:
        """API Gateway's answer to API Gateway's event."""
        parts = self._awake()
        try:
            answer = self._mangum(event, context)
        except MalformedEventError as error:
            answer = self._refuse(parts, event, error)
        if parts.pusher is not None:
            parts.pusher.push_if_due()
        return answer

    def stop(self) -> None:
        """Push for the last time and close the connections."""
        if self._parts is None:
            return
        if self._parts.pusher is not None:
            self._parts.pusher.push_last()
            self._parts.pusher.close()
        self._parts.database.close()
        self._parts = None

    def _awake(self) -> _Parts:
        """What answers; after a long rest with metrics that nobody has seen."""
        before, self._called_at = self._called_at, self._clock()
        if self._parts is None:
            return self._begin()
        if self._parts.pusher is not None and self._called_at - before > self._settings.push_rest_seconds:
            self._parts.pusher.close()
            metrics, pusher = self._begin_metrics(self._parts.database, is_cold=False)
            self._parts = replace(self._parts, metrics=metrics, pusher=pusher)
        return self._parts

    def _begin(self) -> _Parts:
        settings = self._settings
        read_timeout, write_timeout = settings.database_timeout_ms / 1000, settings.events_timeout_ms / 1000
        database = Database(
            settings.login(timeout=settings.connect_timeout_seconds),
            connect_timeout=settings.connect_timeout_seconds,
            pause=settings.database_pause_seconds,
            statement_timeout=max(read_timeout, write_timeout),
        )
        repository = Repository(
            database,
            events_days=settings.recent_events_days,
            events_limit=settings.recent_events_limit,
            read_timeout=read_timeout,
            write_timeout=write_timeout,
        )
        clock = settings.clock()
        service = Service(
            recommender=Recommender(repository, clock=clock),
            repository=repository,
            items=Items(database, timeout=write_timeout),
            users=Users(database, timeout=write_timeout),
            model_info=ModelInfo(database, timeout=write_timeout),
            stats=Stats(database, timeout=write_timeout),
            signer=Signer(
                database,
                timeout=read_timeout,
                refresh=settings.signing_keys_seconds,
                pause=settings.database_pause_seconds,
            ),
            authorization=Authorization(settings.authorization, settings.serves),
            clock=clock,
            event_max_age_ms=int(settings.event_max_age_days * 86_400_000),
            event_max_ahead_ms=int(settings.event_max_ahead_seconds * 1000),
        )
        metrics, pusher = self._begin_metrics(database, is_cold=True)
        self._parts = _Parts(database=database, service=service, metrics=metrics, pusher=pusher)
        return self._parts

    def _begin_metrics(self, database: Database, *, is_cold: bool) -> tuple[Metrics, Pusher | None]:
        """Counters at zero, and where there is a gateway what pushes them, under a name of its own."""
        settings = self._settings
        metrics = Metrics(self._routes, database, is_cold=is_cold)
        if settings.pushgateway_url is None:
            return metrics, None
        pusher = Pusher(
            metrics.registry,
            settings.pushgateway_url,
            interval=settings.push_interval_seconds,
            timeout=settings.push_timeout_ms / 1000,
            pause=settings.push_pause_seconds,
        )
        return metrics, pusher

    async def _observed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application as ASGI, with a record of each request."""
        assert self._parts is not None  # noqa: S101 - made before any request
        started = time.perf_counter()
        record = RequestRecord(trace_id=trace_id(scope["aws.event"]), method=scope["method"])
        scope[RECORD] = record
        scope[SERVICE] = self._parts.service

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except Exception:
            # The caller has got a problem document by now; here the defect is reported, with its trace_id.
            logger.exception("a request failed", extra={FIELDS: {"trace_id": record.trace_id}})
        route = getattr(scope.get("route"), "path_format", None)
        if route is not None and route.startswith("/v1/"):
            record.route = route
        self._conclude(self._parts, record, time.perf_counter() - started)

    def _refuse(self, parts: _Parts, event: LambdaEvent, error: MalformedEventError) -> dict[str, Any]:
        record = RequestRecord(trace_id=trace_id(event), status=_MALFORMED.status)
        response = errors.problem_response(_MALFORMED, trace_id=record.trace_id, detail=str(error))
        self._conclude(parts, record, 0.0)
        return {
            "statusCode": response.status_code,
            "headers": dict(response.headers),
            "multiValueHeaders": {},
            "body": bytes(response.body).decode(),
            "isBase64Encoded": False,
        }

    def _conclude(self, parts: _Parts, record: RequestRecord, seconds: float) -> None:
        is_new = parts.metrics.meet(record)
        if parts.pusher is not None and (is_new or not parts.metrics.has_counted):
            parts.pusher.push_baseline()
        parts.metrics.count(record, seconds)
        fields = {
            "trace_id": record.trace_id,
            "method": record.method,
            "route": record.route,
            "status": record.status,
            "duration_ms": round(seconds * 1000, 3),
            "source": record.source,
            "version": record.version,
            "variant": record.variant,
            "degraded": record.degraded,
        }
        logger.info("request", extra={FIELDS: fields})
