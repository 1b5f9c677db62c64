"""What answers, and from how much."""

from typing import Any

from fastapi import Request, Response

from lambdas.recommendations_api.model_info import ServedVariant
from lambdas.recommendations_api.routing import answering, iso, json_response, new_router, service_of
from lambdas.recommendations_api.stats import DAYS_TOLD, Count, Stored

router = new_router("model")


@router.get("/v1/model", responses=answering("Model"))
async def model(request: Request) -> Response:
    """Which versions answer, on what they were trained, and how good they were on days held out."""
    service = service_of(request)
    now = service.clock()
    variants = [_variant(each, now) for each in service.model_info.served()]
    return json_response({"generated_at": iso(now), "variants": variants})


@router.get("/v1/stats", responses=answering("StatsOut"))
async def stats(request: Request) -> Response:
    """How much is stored, and how fresh it is. Large numbers are estimates, and say so."""
    service = service_of(request)
    return json_response({"generated_at": iso(service.clock()), **_stats(service.stats.stored())})


def _variant(served: ServedVariant, now: int) -> dict[str, Any]:
    manifest = served.manifest
    return {
        "variant": served.variant,
        "share": float(f"{served.share:.6g}"),
        "served_since": iso(round(served.served_since.timestamp() * 1000)),
        "model_version": manifest.version,
        "as_of": manifest.as_of,
        "age_seconds": round(served.age_seconds(now), 3),
        "created_at": manifest.created_at,
        "training_window": manifest.training_window,
        "counts": manifest.counts,
        "metrics": served.headline(),
    }


def _stats(stored: Stored) -> dict[str, Any]:
    catalogue = stored.catalogue
    return {
        "model_version": stored.model_version,
        "trained_on": stored.trained_on,
        "catalogue": {
            "items": _count(stored.items),
            "version": catalogue.version if catalogue else None,
            "as_of": iso(round(catalogue.as_of.timestamp() * 1000)) if catalogue else None,
        },
        "events": {
            "stored": _count(stored.events),
            "by_day": [
                {"received_on": day.isoformat(), **_count(events)} for day, events in stored.days[:DAYS_TOLD]
            ],
            "latest": _latest(stored),
        },
        "partitions": {
            "today": stored.today.isoformat(),
            "ready_until": stored.ready_until.isoformat() if stored.ready_until else None,
            "days_ahead": stored.days_ahead,
        },
    }


def _latest(stored: Stored) -> dict[str, str] | None:
    if stored.latest_event is None:
        return None
    received_at, happened_at = stored.latest_event
    return {"received_at": iso(round(received_at.timestamp() * 1000)), "timestamp": iso(happened_at)}


def _count(count: Count) -> dict[str, Any]:
    return {"count": count.rows, "is_estimate": count.is_estimate}
