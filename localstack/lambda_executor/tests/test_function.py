"""What callers of a function see."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from lambda_executor import (
    Function,
    FunctionStoppedError,
    ImpatientError,
    InvocationResult,
    RequestTooLargeError,
    StartError,
    TooManyRequestsError,
)

ECHO = "def handler(event, context): return event"
PID = "import os\ndef handler(event, context): return os.getpid()"
WAIT_FOR_FILE = """
import os, pathlib, time
def handler(event, context):
    pathlib.Path(event["begun"]).touch()
    while not pathlib.Path(event["go"]).exists():
        time.sleep(0.01)
    return os.getpid()
"""
CRASH = """
import os, signal, sys
def handler(event, context):
    if "exit" in event:
        os._exit(event["exit"])
    if "signal" in event:
        os.kill(os.getpid(), event["signal"])
    return os.getpid()
"""


def invoke(function: Function, event: Any = None, **how: Any) -> InvocationResult:
    return function.invoke(json.dumps(event).encode(), **how)


def answer(function: Function, event: Any = None) -> Any:
    result = invoke(function, event)
    assert not result.is_error, result
    return json.loads(result.payload)


def error(result: InvocationResult) -> dict[str, Any]:
    assert result.is_error, result
    document: dict[str, Any] = json.loads(result.payload)
    return document


def wait_for_file(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} did not appear"
        time.sleep(0.01)


def test_an_event_of_any_script_comes_back_as_it_was_sent(code: Any) -> None:
    event = {"text": 'naïve — 日本語 🛒 "quoted" \\ \n', "number": 1.5, "nothing": None, "list": [[]]}
    result = invoke(code.function(ECHO), event)
    assert (json.loads(result.payload), result.is_error) == (event, False)


def test_events_and_answers_of_several_megabytes_pass(code: Any) -> None:
    event = "x" * (5 * 1024 * 1024)
    assert answer(code.function(ECHO), event) == event


def test_the_first_invocation_is_cold_and_the_next_ones_are_warm(code: Any) -> None:
    function = code.function(PID)
    results = [invoke(function) for _ in range(3)]
    assert [result.cold for result in results] == [True, False, False]
    assert len({result.payload for result in results}) == 1
    assert [int(results[0].payload)] == function.pids


def test_the_context_tells_what_lambda_would_tell(code: Any) -> None:
    source = """
def handler(event, context):
    return [context.aws_request_id, context.function_name, context.function_version,
            context.memory_limit_in_mb, context.invoked_function_arn, context.log_group_name,
            context.get_remaining_time_in_millis()]
"""
    function = code.function(source, name="shop", memory_mb=512, timeout=20)
    result = invoke(function, request_id="the-id")
    *told, remaining = json.loads(result.payload)
    arn = "arn:aws:lambda:us-east-1:000000000000:function:shop"
    assert told == ["the-id", "shop", "$LATEST", "512", arn, "/aws/lambda/shop"]
    assert result.request_id == "the-id"
    assert 0 < remaining <= 20_000


def test_a_process_sees_the_variables_that_it_was_given_and_no_others(
    code: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "1")
    source = "import os\ndef handler(event, context): return dict(os.environ)"
    variables = answer(code.function(source, environment={"COLOUR": "blue", "AWS_REGION": "eu-west-1"}))
    assert variables["COLOUR"] == "blue"
    assert variables["AWS_REGION"] == "eu-west-1"
    assert variables["LAMBDA_TASK_ROOT"] == str(code.folder)
    assert variables["_HANDLER"] == "app.handler"
    assert "SECRET_OF_THE_PARENT" not in variables
    assert "HOME" not in variables


def test_the_handler_imports_from_its_own_folder_first_and_runs_as_under_plain_python(code: Any) -> None:
    (code.folder / "neighbour.py").write_text("NAME = 'neighbour'")
    source = """
import os, sys, neighbour
def handler(event, context):
    loaded = [name in sys.modules for name in ("lambda_executor", "ctypes")]
    return [neighbour.NAME, sys.path[0], os.getcwd(), *loaded]
"""
    folder = str(code.folder)
    assert answer(code.function(source)) == ["neighbour", folder, folder, False, False]


def test_a_handler_in_a_sub_folder_is_found(code: Any) -> None:
    (code.folder / "parts").mkdir()
    (code.folder / "parts" / "inner.py").write_text(ECHO)
    for handler in ("parts.inner.handler", "parts/inner.handler"):
        with Function(handler=handler, code=code.folder) as function:
            assert answer(function, 5) == 5


def test_an_exception_of_the_handler_comes_back_as_the_runtime_client_tells_it(code: Any) -> None:
    function = code.function("def handler(event, context): return event['missing']")
    told = error(invoke(function, {}))
    assert (told["errorType"], told["errorMessage"]) == ("KeyError", "'missing'")
    assert "app.py" in told["stackTrace"][0]
    assert not invoke(function, {"missing": 1}).cold


def test_an_import_that_fails_is_told_and_tried_again(code: Any) -> None:
    function = code.function("import no_such_module\ndef handler(event, context): return 1")
    told = error(invoke(function))
    assert told["errorType"] == "Runtime.ImportModuleError"
    assert "no_such_module" in told["errorMessage"]
    assert function.environments == []
    (code.folder / "no_such_module.py").touch()
    assert answer(function) == 1


def test_a_process_that_ends_while_it_starts_is_told(code: Any) -> None:
    result = invoke(code.function("import os\nprint('so far')\nos._exit(7)"))
    message = f"RequestId: {result.request_id} Error: Runtime exited with error: exit status 7"
    assert error(result) == {"errorType": "Runtime.ExitError", "errorMessage": message}


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"exit": 1}, "Runtime exited with error: exit status 1"),
        ({"exit": 0}, "Runtime exited without providing a reason"),
        ({"signal": 9}, "Runtime exited with error: signal: killed"),
    ],
)
def test_a_crash_is_told_and_the_next_invocation_gets_a_new_process(
    code: Any, event: dict[str, int], reason: str
) -> None:
    function = code.function(CRASH)
    first = answer(function, {})
    result = invoke(function, event)
    assert error(result)["errorType"] == "Runtime.ExitError"
    assert error(result)["errorMessage"] == f"RequestId: {result.request_id} Error: {reason}"
    after = invoke(function, {})
    assert after.cold
    assert int(after.payload) != first


def test_a_timeout_kills_the_process_and_is_told(code: Any) -> None:
    source = "import os, time\ndef handler(event, context):\n    time.sleep(event)\n    return os.getpid()"
    function = code.function(source, timeout=0.5)
    first = answer(function, 0)
    result = invoke(function, 600)
    message = f"RequestId: {result.request_id} Error: Task timed out after 0.50 seconds"
    assert error(result) == {"errorType": "Sandbox.Timedout", "errorMessage": message}
    assert function.pids == []
    assert answer(function, 0) != first


def test_a_process_that_never_asks_for_its_event_times_out_too(code: Any) -> None:
    function = code.function("import time\ntime.sleep(600)", init_timeout=0.5)
    assert "Task timed out after 0.50 seconds" in error(invoke(function))["errorMessage"]
    assert function.pids == []


def test_a_slow_start_does_not_count_as_the_functions_time(code: Any) -> None:
    function = code.function(f"import time\ntime.sleep(1)\n{ECHO}", timeout=0.9)
    assert answer(function, 1) == 1


def test_an_answer_that_is_too_large_is_told(code: Any) -> None:
    function = code.function("def handler(event, context): return 'x' * event")
    assert error(invoke(function, 7 * 1024 * 1024))["errorType"] == "Function.ResponseSizeTooLarge"
    assert answer(function, 1) == "x"


def test_an_event_that_is_too_large_is_not_sent(code: Any) -> None:
    function = code.function(ECHO)
    with pytest.raises(RequestTooLargeError):
        function.invoke(b'"' + b"x" * 6 * 1024 * 1024 + b'"')
    assert function.pids == []


def test_invocations_at_the_same_time_have_an_environment_each(code: Any, tmp_path: Path) -> None:
    function = code.function(WAIT_FOR_FILE, concurrency=3)
    go = tmp_path / "go"
    begun = [tmp_path / f"begun-{number}" for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(answer, function, {"begun": str(file), "go": str(go)}) for file in begun]
        for file in begun:
            wait_for_file(file)
        go.touch()
        pids = {future.result() for future in futures}
    assert pids == set(function.pids)
    assert len(pids) == 3


def test_more_callers_than_environments_wait_their_turn(code: Any) -> None:
    source = "import os, time\ndef handler(event, context): return [event, time.sleep(0.002), os.getpid()]"
    function = code.function(source, concurrency=2)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: answer(function, number), range(200)))
    assert [number for number, _, _ in answers] == list(range(200))
    assert {pid for _, _, pid in answers} <= set(function.pids)
    assert len(function.pids) <= 2


def test_the_environment_that_was_used_last_is_used_first(code: Any, tmp_path: Path) -> None:
    function = code.function(WAIT_FOR_FILE)
    first, second, go = (tmp_path / name for name in ("first", "second", "go"))
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(answer, function, {"begun": str(first), "go": str(go)})
        wait_for_file(first)
        quick = pool.submit(answer, function, {"begun": str(second), "go": str(tmp_path)})
        quick.result()
        go.touch()
        last = slow.result()
    assert last != quick.result()
    assert {answer(function, {"begun": str(first), "go": str(go)}) for _ in range(3)} == {last}


def test_callers_do_not_wait_for_ever(code: Any, tmp_path: Path) -> None:
    function = code.function(WAIT_FOR_FILE, concurrency=1, queue_timeout=0.2)
    begun, go = tmp_path / "begun", tmp_path / "go"
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(answer, function, {"begun": str(begun), "go": str(go)})
        wait_for_file(begun)
        with pytest.raises(TooManyRequestsError, match="all 1 environments were busy"):
            invoke(function)
        with pytest.raises(ImpatientError):
            invoke(function, patience=0.1)
        go.touch()
        busy.result()


def test_an_invocation_goes_on_when_its_caller_has_lost_patience(code: Any, tmp_path: Path) -> None:
    function = code.function(WAIT_FOR_FILE, concurrency=1)
    begun, go = tmp_path / "begun", tmp_path / "go"
    with pytest.raises(ImpatientError):
        invoke(function, {"begun": str(begun), "go": str(go)}, patience=0.01)
    wait_for_file(begun)
    [pid] = function.pids
    go.touch()
    assert answer(function, {"begun": str(begun), "go": str(go)}) == pid


def test_an_invocation_that_nobody_waits_for_still_times_out(code: Any) -> None:
    source = "import time\ndef handler(event, context): time.sleep(event)"
    function = code.function(source, concurrency=1, timeout=1)
    with pytest.raises(ImpatientError):
        invoke(function, 600, patience=0.01)
    assert answer(function, 0) is None
    assert len(function.pids) == 1


def test_a_stopped_function_takes_nothing_more_and_frees_who_waits(code: Any, tmp_path: Path) -> None:
    function = code.function(WAIT_FOR_FILE, concurrency=1)
    begun = tmp_path / "begun"
    with ThreadPoolExecutor(2) as pool:
        busy = pool.submit(invoke, function, {"begun": str(begun), "go": str(tmp_path / "never")})
        wait_for_file(begun)
        waiting = pool.submit(invoke, function)
        function.stop()
        for future in (busy, waiting):
            with pytest.raises(FunctionStoppedError):
                future.result()
    with pytest.raises(FunctionStoppedError):
        invoke(function)
    assert function.pids == []
    function.stop()


def test_stopped_environments_make_room_for_new_ones(code: Any) -> None:
    function = code.function(PID)
    first = answer(function)
    function.stop_environments()
    assert function.pids == []
    second = answer(function)
    assert second != first
    function.environments[0].stop()
    assert function.pids == []
    assert answer(function) not in {first, second}


def test_busy_environments_are_stopped_when_their_invocation_has_ended(code: Any, tmp_path: Path) -> None:
    function = code.function(WAIT_FOR_FILE)
    begun, go = tmp_path / "begun", tmp_path / "go"
    with ThreadPoolExecutor(2) as pool:
        busy = pool.submit(answer, function, {"begun": str(begun), "go": str(go)})
        wait_for_file(begun)
        stopped = pool.submit(function.stop_environments)
        go.touch()
        pid = busy.result()
        stopped.result()
    assert pid not in function.pids


def test_a_python_that_is_not_there_is_named(code: Any) -> None:
    function = code.function(ECHO, python="/no/such/python")
    with pytest.raises(StartError, match="/no/such/python"):
        invoke(function)
    assert function.pids == []


def test_no_thread_is_left_when_a_function_has_stopped(code: Any) -> None:
    before = set(threading.enumerate())
    with code.function(ECHO, on_log=lambda _: None) as function:
        answer(function, 1)
        with pytest.raises(ImpatientError):
            invoke(function, patience=0.0)
    assert set(threading.enumerate()) <= before
