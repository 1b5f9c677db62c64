"""What a function gets that needs more memory than it has."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from lambda_executor import memory

pytestmark = pytest.mark.skipif(
    not memory.can_tell(), reason="only Linux tells how much memory a process has"
)

MB = 1 << 20
TAKE = """
import os, subprocess, sys, time
kept = []
def handler(event, context):
    if "child" in event:
        source = f"import time; x = b'x' * ({event['child']} << 20); time.sleep(600)"
        subprocess.run([sys.executable, "-c", source])
    taken = b"x" * (event.get("take", 0) << 20)
    if event.get("keep"):
        kept.append(taken)
    del taken
    time.sleep(event.get("sleep", 0))
    return os.getpid()
"""


def invoke(function: Any, **event: Any) -> Any:
    return function.invoke(json.dumps(event).encode())


def is_killed(result: Any) -> bool:
    message = f"RequestId: {result.request_id} Error: Runtime exited with error: signal: killed"
    return result.is_error and json.loads(result.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": message,
    }


def test_a_process_above_its_memory_is_killed_and_the_next_call_gets_a_new_one(code: Any) -> None:
    function = code.function(TAKE, memory_mb=128, limit_memory=True)
    first = invoke(function, take=50)
    assert not first.is_error
    assert is_killed(invoke(function, take=200, keep=True, sleep=600))
    assert function.pids == []
    after = invoke(function, take=50)
    assert after.cold
    assert after.payload != first.payload


def test_a_peak_that_is_over_when_the_answer_comes_counts(code: Any) -> None:
    function = code.function(TAKE, memory_mb=128, limit_memory=True)
    assert is_killed(invoke(function, take=200))


def test_what_a_function_keeps_adds_up(code: Any) -> None:
    function = code.function(TAKE, memory_mb=128, limit_memory=True)
    results = [invoke(function, take=30, keep=True) for _ in range(4)]
    assert not results[0].is_error
    assert is_killed(results[3]) or is_killed(results[2])


def test_processes_that_a_handler_starts_count(code: Any) -> None:
    function = code.function(TAKE, memory_mb=128, limit_memory=True)
    assert is_killed(invoke(function, child=200))


def test_a_start_that_needs_too_much_is_told(code: Any) -> None:
    source = f"import time\nkept = b'x' * {200 * MB}\ntime.sleep(600)\n{TAKE}"
    function = code.function(source, memory_mb=128, limit_memory=True)
    assert is_killed(invoke(function))


def test_without_the_flag_memory_is_only_told(code: Any) -> None:
    assert not invoke(code.function(TAKE, memory_mb=128), take=200).is_error


def test_pages_that_processes_share_count_once(tmp_path: Path) -> None:
    source = f"""
import os, sys
kept = b"x" * {64 * MB}
for _ in range(3):
    if os.fork() == 0:
        break
else:
    print("ready", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert not memory.exceeds(160 * MB, [process.pid])
        assert memory.exceeds(32 * MB, [process.pid])
        process.communicate()


def test_a_process_that_is_gone_has_none() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert memory.peak(process.pid) == 0
    assert not memory.exceeds(0, [process.pid])


def test_no_thread_is_left_that_watches(code: Any) -> None:
    before = set(threading.enumerate())
    with code.function(TAKE, limit_memory=True) as function:
        invoke(function)
    assert set(threading.enumerate()) <= before
