"""Extensions with processes of their own: how they start, what they are told, how they end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lambda_executor import memory

FUNCTIONS = Path(__file__).parent / "functions"
WATCHER = (FUNCTIONS / "opt" / "extensions" / "watcher").read_text()
PID = "import os\ndef handler(event, context): return os.getpid()"

Layer = Callable[..., Path]


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    """Makes a layer of the programs that are given as source."""

    def make(**programs: str) -> Path:
        folder = tmp_path / "layer" / "extensions"
        folder.mkdir(parents=True)
        for name, source in programs.items():
            (folder / name).write_text(source)
            (folder / name).chmod(0o755)
        return folder.parent

    return make


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "CALLS": str(FUNCTIONS),
        "SEEN": str(tmp_path / "seen"),
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
    }


def seen(environment: dict[str, str]) -> list[list[Any]]:
    return [json.loads(line) for line in Path(environment["SEEN"]).read_text().splitlines()]


def told(environment: dict[str, str]) -> list[dict[str, Any]]:
    return [json.loads(answer[2]) for what, answer, _ in seen(environment) if what == "event"]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def error(result: Any) -> tuple[str, str]:
    assert result.is_error, result
    document = json.loads(result.payload)
    return document["errorType"], document["errorMessage"].replace(result.request_id, "ID")


def test_it_is_told_of_each_invocation_and_of_the_end(
    code: Any, layer: Layer, environment: dict[str, str]
) -> None:
    function = code.function(PID, layers=[layer(watcher=WATCHER)], environment=environment, stop_grace=60)
    results = [function.invoke(b"{}") for _ in range(3)]
    assert len({result.payload for result in results}) == 1
    function.stop()
    *invocations, end = told(environment)
    assert [event["requestId"] for event in invocations] == [result.request_id for result in results]
    assert (end["eventType"], end["shutdownReason"]) == ("SHUTDOWN", "spindown")


def test_one_that_is_not_told_of_the_end_is_killed(
    code: Any, layer: Layer, environment: dict[str, str]
) -> None:
    variables = {**environment, "EVENTS": '{"events": ["INVOKE"]}'}
    function = code.function(PID, layers=[layer(watcher=WATCHER)], environment=variables, stop_grace=600)
    function.invoke(b"{}")
    wait_for(lambda: len(told(environment)) == 1)
    function.stop()
    assert [event["eventType"] for event in told(environment)] == ["INVOKE"]


def test_the_runtime_is_asked_to_end_before_it(
    code: Any, layer: Layer, environment: dict[str, str], tmp_path: Path
) -> None:
    source = """
import os, pathlib, signal, time
def end(*_):
    pathlib.Path(os.environ["SEEN"] + "-runtime").write_text(str(time.time() * 1000))
    os._exit(0)
signal.signal(signal.SIGTERM, end)
def handler(event, context): return 1
"""
    function = code.function(source, layers=[layer(watcher=WATCHER)], environment=environment, stop_grace=60)
    function.invoke(b"{}")
    function.stop()
    runtime_ended = float((tmp_path / "seen-runtime").read_text())
    assert runtime_ended <= seen(environment)[-1][2]


def test_one_that_does_not_end_is_killed_when_the_time_is_over(
    code: Any, layer: Layer, environment: dict[str, str]
) -> None:
    stubborn = WATCHER + "time.sleep(600)\n"
    function = code.function(PID, layers=[layer(watcher=stubborn)], environment=environment, stop_grace=2)
    function.invoke(b"{}")
    function.stop()
    assert told(environment)[-1]["eventType"] == "SHUTDOWN"
    assert function.environments == []


def test_one_that_crashes_takes_the_environment_with_it_and_is_named_as_lambda_does(
    code: Any, layer: Layer, environment: dict[str, str]
) -> None:
    function = code.function(PID, layers=[layer(watcher=WATCHER, broken="#!/bin/sh\nexit 3\n")])
    result = function.invoke(b"{}")
    assert error(result) == ("Extension.Crash", "RequestId: ID Error: exit status 3")
    assert function.environments == []


def test_one_that_tells_of_its_error_first_is_told_apart(
    code: Any, layer: Layer, environment: dict[str, str]
) -> None:
    before, _, _ = WATCHER.partition("while True")
    source = f"""{before}
me["Lambda-Extension-Function-Error-Type"] = "Extension.NoSuchThing"
answer = call("POST", "/2020-01-01/extension/init/error", "{{}}", me)
sys.exit(answer[0])
"""
    function = code.function(PID, layers=[layer(watcher=source)], environment=environment)
    assert error(function.invoke(b"{}")) == ("Extension.InitError", "RequestId: ID Error: exit status 202")


def test_one_that_may_not_be_run_is_told(code: Any, layer: Layer) -> None:
    folder = layer(watcher=WATCHER)
    program = folder / "extensions" / "watcher"
    program.chmod(0o644)
    function = code.function(PID, layers=[folder])
    expected = f"RequestId: ID Error: fork/exec {program}: permission denied"
    assert error(function.invoke(b"{}")) == ("Extension.LaunchError", expected)


def test_one_that_never_registers_holds_up_the_start_and_no_process_is_left(code: Any, layer: Layer) -> None:
    function = code.function(PID, layers=[layer(mute="#!/bin/sh\nexec sleep 600\n")], init_timeout=0.5)
    kind, message = error(function.invoke(b"{}"))
    assert (kind, message) == ("Sandbox.Timedout", "RequestId: ID Error: Task timed out after 0.50 seconds")
    assert function.pids == []
    assert function.environments == []


def test_one_that_dies_while_idle_is_replaced_with_its_environment(
    code: Any, layer: Layer, environment: dict[str, str]
) -> None:
    source = WATCHER.replace('note("event", event)', 'note("event", event); os._exit(0)')
    function = code.function(PID, layers=[layer(watcher=source)], environment=environment)
    # It goes as soon as it is told of an invocation: before or after that one's answer.
    for _ in range(3):
        result = function.invoke(b"{}")
        assert not result.is_error or error(result)[0] == "Extension.Crash"
        wait_for(lambda: not function.environments)
    assert len(told(environment)) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends when it next asks for an event")
def test_it_ends_when_the_parent_is_killed(
    code: Any, layer: Layer, environment: dict[str, str], tmp_path: Path
) -> None:
    noting = WATCHER.replace('note("variables"', 'note("pid", os.getpid())\nnote("variables"', 1)
    folder = layer(watcher=noting)
    (code.folder / "app.py").write_text(PID)
    parent = """
import json, sys, time
from pathlib import Path
from lambda_executor import Function
code, layer, environment = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
function = Function(handler="app.handler", code=code, layers=[layer], environment=environment)
print(function.invoke(b"{}").payload.decode(), flush=True)
time.sleep(600)
"""
    command = [sys.executable, "-c", parent, str(code.folder), str(folder), json.dumps(environment)]
    paths = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=paths) as process:
        assert process.stdout is not None
        pids = [int(process.stdout.readline()), int(seen(environment)[0][1])]
        assert all(memory.peak(pid) > 0 for pid in pids)
        process.kill()
    wait_for(lambda: not any(memory.peak(pid) for pid in pids))


def test_what_it_writes_is_in_the_log(code: Any, layer: Layer, environment: dict[str, str]) -> None:
    source = WATCHER.replace("while True", 'print("the extension is there", flush=True)\nwhile True', 1)
    function = code.function(PID, layers=[layer(watcher=source)], environment=environment)
    assert "the extension is there\n" in function.invoke(b"{}").logs
