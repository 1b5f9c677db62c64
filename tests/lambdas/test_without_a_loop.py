"""Requests are answered straight through, in no event loop."""

import asyncio
from typing import Any, cast

import pytest
from mangum.types import LambdaContext, Receive, Scope, Send

from lambdas.recommendations_api.gateway import LooplessMangum, RestEvent, WaitingApplicationError
from tests.lambdas.callers import Api, proxy_event


def test_an_answer_needs_no_loop_of_its_own(shared_api: Api) -> None:
    async def ask_while_a_loop_runs() -> int:
        return shared_api.recommendations("known").status

    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(ask_while_a_loop_runs()) == 200
    finally:
        loop.close()


def test_the_documentation_is_answered_without_a_loop(shared_api: Api) -> None:
    assert shared_api.get("/openapi.json").status == 200


def test_an_application_gets_the_body_and_is_heard_piece_by_piece() -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": message["body"], "more_body": True})
        await send({"type": "http.response.body", "body": b"!"})
        assert await receive() == {"type": "http.disconnect"}

    answer = call(echo, proxy_event("POST", "/", body="hello"))
    assert (answer["statusCode"], answer["isBase64Encoded"]) == (201, True)
    assert answer["body"] == "aGVsbG8h"


def test_an_application_that_waits_is_told_so() -> None:
    async def patient(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)

    with pytest.raises(WaitingApplicationError, match="awaits something"):
        call(patient, proxy_event("GET", "/"))


def call(app: Any, event: dict[str, Any]) -> dict[str, Any]:
    mangum = LooplessMangum(app, lifespan="off", custom_handlers=[RestEvent])
    return mangum(event, cast(LambdaContext, None))
