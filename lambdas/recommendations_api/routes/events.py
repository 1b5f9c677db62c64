"""What visitors do."""

import json
from dataclasses import asdict

from fastapi import Request, Response

from lambdas.recommendations_api.posted_events import TimeWindow, read_events
from lambdas.recommendations_api.records import record_of
from lambdas.recommendations_api.routing import answering, new_router, reading, service_of

router = new_router("events")


@router.post(
    "/v1/events",
    status_code=202,
    responses=answering("EventsAnswer", 202),
    openapi_extra=reading("EventsBatch"),
)
async def post_events(request: Request) -> Response:
    """Tell what visitors did. The answer comes when it is committed.

    Acceptable events are stored even where others of the batch are not; those are reported one by one.
    """
    service = service_of(request)
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
