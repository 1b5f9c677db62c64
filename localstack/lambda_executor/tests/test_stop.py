"""How processes end, and that none outlives its function."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lambda_executor import Function

EXTENSION = """
import json, os, pathlib, signal, threading, urllib.request
API = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2020-01-01/extension/"
EVENTS = json.loads(os.environ.get("EVENTS", "[]"))
FOLDER = pathlib.Path(os.environ["FOLDER"])
TOLD = []

def call(path, headers, body=None):
    request = urllib.request.Request(API + path, data=body, headers=headers)
    with urllib.request.urlopen(request) as answer:
        return answer.headers, json.load(answer)

def take_events(identifier):
    while True:
        TOLD.append(call("event/next", {"Lambda-Extension-Identifier": identifier})[1])

def on_sigterm(number, frame):
    (FOLDER / "told").write_text(str(number))
    os._exit(0)

signal.signal(signal.SIGTERM, on_sigterm)
events = json.dumps({"events": EVENTS}).encode()
headers, REGISTERED = call("register", {"Lambda-Extension-Name": "inside"}, events)
identifier = headers["Lambda-Extension-Identifier"]
threading.Thread(target=take_events, args=(identifier,), daemon=True).start()

def handler(event, context):
    return {"registered": REGISTERED, "told": TOLD, "id": context.aws_request_id}
"""
STUBBORN = EXTENSION.replace("os._exit(0)", "threading.Event().wait(600)")


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and was not yet collected does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] if Path("/proc").exists() else "R"
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def answer(function: Function) -> dict[str, Any]:
    result = function.invoke(b"{}")
    assert not result.is_error, result
    document: dict[str, Any] = json.loads(result.payload)
    return document


def test_an_idle_process_with_an_extension_is_told_that_it_ends(code: Any, tmp_path: Path) -> None:
    function = code.function(EXTENSION, environment={"FOLDER": str(tmp_path)}, name="shop", stop_grace=60)
    registered = answer(function)["registered"]
    assert registered == {"functionName": "shop", "functionVersion": "$LATEST", "handler": "app.handler"}
    [environment] = function.environments
    assert environment.has_extension
    environment.stop()
    assert (tmp_path / "told").read_text() == str(int(signal.SIGTERM))
    assert not is_alive(environment.pid)


def test_a_process_that_does_not_end_by_itself_is_killed(code: Any, tmp_path: Path) -> None:
    function = code.function(STUBBORN, environment={"FOLDER": str(tmp_path)}, stop_grace=0.5)
    answer(function)
    [pid] = function.pids
    function.stop()
    assert (tmp_path / "told").exists()
    assert not is_alive(pid)


def test_a_process_without_an_extension_is_not_told(code: Any, tmp_path: Path) -> None:
    source = """
import os, pathlib, signal
signal.signal(signal.SIGTERM, lambda *_: pathlib.Path(os.environ["FOLDER"], "told").touch())
def handler(event, context): return {}
"""
    function = code.function(source, environment={"FOLDER": str(tmp_path)})
    answer(function)
    [pid] = function.pids
    function.stop()
    assert not is_alive(pid)
    assert not (tmp_path / "told").exists()


def test_an_extension_hears_of_each_invocation_that_it_asked_for(code: Any, tmp_path: Path) -> None:
    environment = {"FOLDER": str(tmp_path), "EVENTS": '["INVOKE"]'}
    function = code.function(EXTENSION, environment=environment, name="shop")
    ids = [answer(function)["id"] for _ in range(5)]
    told = answer(function)["told"]
    assert [event["requestId"] for event in told[:5]] == ids
    assert {event["eventType"] for event in told} == {"INVOKE"}
    assert told[0]["invokedFunctionArn"].endswith(":function:shop")


def test_an_extension_that_asks_for_what_it_cannot_have_is_refused(code: Any, tmp_path: Path) -> None:
    function = code.function(EXTENSION, environment={"FOLDER": str(tmp_path), "EVENTS": '["SHUTDOWN"]'})
    result = function.invoke(b"{}")
    assert result.is_error
    assert b"403" in result.payload


def test_an_extension_that_comes_too_late_is_refused(code: Any) -> None:
    source = """
import os, urllib.error, urllib.request
API = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2020-01-01/extension/register"
def handler(event, context):
    request = urllib.request.Request(API, data=b'{"events": []}', headers={"Lambda-Extension-Name": "late"})
    try:
        urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        return {"status": error.code}
"""
    assert answer(code.function(source)) == {"status": 403}


def test_an_extension_that_never_asks_for_an_event_holds_the_start_up(code: Any, tmp_path: Path) -> None:
    source = EXTENSION.replace("TOLD.append(call", "threading.Event().wait(); (call")
    function = code.function(source, environment={"FOLDER": str(tmp_path)}, init_timeout=1)
    assert b"Task timed out after 1.00 seconds" in function.invoke(b"{}").payload


def test_a_process_that_was_killed_while_idle_is_replaced_unnoticed(code: Any) -> None:
    function = code.function("import os\ndef handler(event, context): return {'pid': os.getpid()}")
    pids = {answer(function)["pid"]}
    for _ in range(5):
        [pid] = function.pids
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda gone=pid: gone not in function.pids)  # type: ignore[misc]
        pids.add(answer(function)["pid"])
    assert len(pids) == 6
    assert len(function.pids) == 1


def test_what_a_handler_started_ends_with_it(code: Any) -> None:
    source = """
import subprocess, sys
def handler(event, context):
    return {"pid": subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid}
"""
    function = code.function(source)
    child = answer(function)["pid"]
    assert is_alive(child)
    function.stop()
    wait_for(lambda: not is_alive(child))


def test_processes_are_out_of_the_reach_of_ctrl_c_at_the_terminal(code: Any) -> None:
    function = code.function("def handler(event, context): return {}")
    answer(function)
    [pid] = function.pids
    assert os.getsid(pid) == os.getpgid(pid) == pid


def test_an_environment_outlives_the_thread_that_needed_it_first(code: Any) -> None:
    from threading import Thread  # noqa: PLC0415 - only here

    function = code.function("import os\ndef handler(event, context): return {'pid': os.getpid()}")
    pids: list[int] = []
    thread = Thread(target=lambda: pids.append(answer(function)["pid"]))
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert [answer(function)["pid"]] == pids


@pytest.mark.parametrize("busy", [False, True])
def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path, busy: bool) -> None:
    if busy and sys.platform != "linux":
        pytest.skip("elsewhere a process ends when it next asks for an event")
    (tmp_path / "app.py").write_text(
        "import time\ndef handler(event, context):\n    print('begun', flush=True)\n    time.sleep(event)"
    )
    parent = textwrap.dedent("""
        import sys, threading, time
        from pathlib import Path
        from lambda_executor import Function
        begun = threading.Event()
        function = Function(handler="app.handler", code=Path(sys.argv[1]), on_log=lambda line: begun.set())
        threading.Thread(target=function.invoke, args=(sys.argv[2].encode(),), daemon=True).start()
        begun.wait()
        print(*function.pids, flush=True)
        time.sleep(600)
    """)
    command = [sys.executable, "-c", parent, str(tmp_path), "600" if busy else "0"]
    paths = {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **paths}) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert is_alive(pid)
        process.kill()
    wait_for(lambda: not is_alive(pid))
