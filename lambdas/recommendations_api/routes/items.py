"""What the shop has, between two catalogues."""

import json
from dataclasses import asdict

from fastapi import Request, Response

from lambdas.recommendations_api.items import read_items
from lambdas.recommendations_api.routing import answering, new_router, reading, service_of

router = new_router("items")


@router.put("/v1/items", responses=answering("ItemsAnswer"), openapi_extra=reading("ItemsBatch"))
async def put_items(request: Request) -> Response:
    """Tell what of items has changed. The next answer knows it.

    A field that is left out stays as it is; an unknown item is added. Of an item that comes twice, the later
    entry changes what the earlier one left. Acceptable items are stored even where others of the batch are
    not; those are reported one by one. It holds until a catalogue of a later moment is loaded.
    """
    service = service_of(request)
    accepted, rejected = read_items(await request.body())
    new = service.items.change(accepted, service.clock())
    document = {
        "accepted": len(accepted),
        "new": new,
        "rejected": [asdict(each) for each in rejected],
    }
    # Escaped: a rejected field's name may be text that UTF-8 cannot carry.
    return Response(json.dumps(document), media_type="application/json")
