"""Elsewhere than on Linux the runtime client lacks its native half; its stand-in does the same."""

import json
from typing import Any

import pytest
from lambda_executor.configuration import NATIVE_STAND_IN

SOURCE = """
import runtime_client
def handler(event, context):
    if event.get("raise"):
        raise ValueError("no such thing: " + event["raise"])
    return {"event": event, "client": runtime_client.__file__, "left": context.get_remaining_time_in_millis()}
"""


@pytest.fixture
def environment() -> dict[str, str]:
    """Puts the stand-in before the native module, which this machine may have."""
    return {"PYTHONPATH": str(NATIVE_STAND_IN)}


def test_events_and_answers_pass_whole(code: Any, environment: dict[str, str]) -> None:
    function = code.function(SOURCE, environment=environment)
    for text in ('Äpfel 🍏 "quoted"', "x" * 1_000_000):
        answer = json.loads(function.invoke(json.dumps({"text": text}).encode()).payload)
        assert answer["event"] == {"text": text}
        assert answer["client"].startswith(str(NATIVE_STAND_IN))
        assert 0 < answer["left"] <= 30_000


def test_what_a_handler_raises_arrives_and_the_next_call_is_answered(
    code: Any, environment: dict[str, str]
) -> None:
    function = code.function(SOURCE, environment=environment)
    failed = function.invoke('{"raise": "Ünsinn"}'.encode())
    assert failed.is_error
    assert json.loads(failed.payload)["errorMessage"] == "no such thing: Ünsinn"
    assert not function.invoke(b"{}").is_error
    assert len(function.pids) == 1
