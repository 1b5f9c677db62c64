"""The same functions under this executor and under AWS's runtime interface emulator.

Where the two differ, a test says in what, and so does the README: the emulator is not Lambda either.
"""

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, NoEmulatorError, mounts, unpack
from lambda_executor import Function, InvocationResult
from lambda_executor.configuration import EXECUTION_ENV
from lambda_executor.runtime_api import MAX_RESPONSE

FUNCTIONS = Path(__file__).parent / "functions"
OPT = FUNCTIONS / "opt"
TIMEOUT = 10
"""Seconds; the emulator counts the start of a process among them."""
# Credentials are the caller's to give; the others are the emulator's own, or what this test gives it.
ONLY_THERE = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_METADATA_API",
    "AWS_LAMBDA_METADATA_TOKEN",
    "AWS_LAMBDA_FUNCTION_TIMEOUT",
}
INHERITED = {"LC_CTYPE", "LD_LIBRARY_PATH", "OLDPWD", "PWD", "SHLVL", "TMPDIR", "_"}
"""What an interpreter, a shell or this machine adds."""
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass
class Pair:
    """A function that runs twice."""

    function: Function
    emulator: Emulator

    def invoke(self, event: Any) -> tuple[InvocationResult, int, bytes]:
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        return self.function.invoke(payload), *self.emulator.invoke(payload)

    def answers(self, event: Any) -> tuple[Any, Any]:
        here, _, there = self.invoke(event)
        return json.loads(here.payload), json.loads(there)


class Pairs:
    """Makes pairs, and ends them."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._stack = ExitStack()

    def make(
        self,
        handler: str,
        *,
        code: Path = FUNCTIONS,
        opt: Path | None = None,
        timeout: int = TIMEOUT,
        here: Mapping[str, str] | None = None,
        there: Mapping[str, str] | None = None,
    ) -> Pair:
        """`here` and `there` are variables of the two."""
        function = Function(
            handler=handler,
            code=code,
            environment={"COLOUR": "blue", **(here or {})},
            name="shop",
            memory_mb=512,
            timeout=timeout,
            layers=[opt] if opt else [],
        )
        told = {
            "AWS_LAMBDA_FUNCTION_NAME": "shop",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout),
            "AWS_EXECUTION_ENV": EXECUTION_ENV,  # its image would have that
        }
        variables = {"COLOUR": "blue", **told, **(there or {})}
        emulator = Emulator(self._program, handler=handler, code=code, variables=variables, opt=opt)
        return Pair(self._stack.enter_context(function), self._stack.enter_context(emulator))

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairs]:
    try:
        made = Pairs(unpack(tmp_path_factory.mktemp("emulator")))
    except NoEmulatorError as error:
        pytest.skip(str(error))
    yield made
    made.close()


@pytest.fixture(scope="module")
def operations(pairs: Pairs) -> Pair:
    return pairs.make("operations.handler")


def same(text: bytes | str) -> str:
    """Without what is new each time: ids."""
    return _ID.sub("ID", text.decode() if isinstance(text, bytes) else text)


def plain(said: Any) -> Any:
    """A transcript without what may differ: ids, the account, lengths, dates, words of some complaints."""
    if isinstance(said, dict):
        passing = {
            "date",
            "content-length",
            "x-content-type-options",
            "lambda-runtime-trace-id",
            "tracing",
            "deadlineMs",
        }
        return {name: plain(value) for name, value in said.items() if name not in passing}
    if isinstance(said, list):
        return [plain(part) for part in said]
    if not isinstance(said, str):
        return said
    try:
        document = json.loads(said)
    except ValueError:
        return same(said).removesuffix("; charset=utf-8").replace("000000000000", "012345678912")
    if isinstance(document, dict) and document.get("errorType") in {
        "InvalidRequestFormat",
        "InvalidStateTransition",
    }:
        del document["errorMessage"]
    return plain(document) if isinstance(document, dict) else document


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"do": "echo", "value": 'é 日本 🛒 "quoted" \n'}, id="text"),
        pytest.param({"do": "echo", "value": [None, 1.5, {"a": {}}]}, id="JSON of all kinds"),
        pytest.param({"do": "echo", "value": float("nan")}, id="not a number"),
        pytest.param({"do": "raw"}, id="an answer that is not JSON"),
        pytest.param({"do": "no_json"}, id="an answer that cannot be JSON"),
        pytest.param(b"no JSON", id="an event that is not JSON"),
        pytest.param(b"", id="no event"),
        pytest.param({"do": "fail"}, id="exception"),
        pytest.param({"do": "fail_because"}, id="exception with a cause"),
        pytest.param({"do": "leave", "status": 3}, id="sys.exit(3)"),
        pytest.param({"do": "leave", "status": 0}, id="sys.exit(0)"),
        pytest.param({"do": "leave_at_once", "status": 7}, id="os._exit(7)"),
        pytest.param({"do": "signal_itself", "number": 9}, id="killed"),
        pytest.param({"do": "signal_itself", "number": 11}, id="segmentation fault"),
        pytest.param({"do": "signal_itself", "number": 15}, id="terminated"),
    ],
)
def test_a_caller_gets_the_same_answer(operations: Pair, event: Any) -> None:
    here, _, there = operations.invoke(event)
    assert same(here.payload) == same(there).replace('","', '", "').replace('":"', '": "')
    assert here.is_error == (b"errorType" in there)


def test_the_same_calls_end_the_process(operations: Pair) -> None:
    events = [
        {"do": "fail"},
        {"do": "no_json"},
        b"no JSON",
        {"do": "leave", "status": 0},
        {"do": "signal_itself", "number": 9},
        {"do": "large", "size": MAX_RESPONSE + 1},
    ]
    ended = []
    for event in events:
        before = operations.answers({"do": "pid"})
        operations.invoke(event)
        after = operations.answers({"do": "pid"})
        ended.append([one != other for one, other in zip(before, after, strict=True)])
    assert ended == [[False, False]] * 3 + [[True, True]] * 3


def test_a_time_out_is_told_in_the_same_words_here_as_a_document_as_lambda_does(pairs: Pairs) -> None:
    here, status, there = pairs.make("operations.handler", timeout=1).invoke({"do": "sleep", "seconds": 60})
    assert (status, there) == (200, b"Task timed out after 1.00 seconds")
    told = json.loads(here.payload)
    assert told["errorMessage"] == f"RequestId: {here.request_id} Error: {there.decode()}"
    assert told["errorType"] == "Sandbox.Timedout"


def test_an_answer_may_have_the_same_size_and_no_byte_more(operations: Pair) -> None:
    here, _, there = operations.invoke({"do": "large", "size": MAX_RESPONSE})
    assert len(here.payload) == len(there) == MAX_RESPONSE
    here, _, there = operations.invoke({"do": "large", "size": MAX_RESPONSE + 1})
    # Lambda tells the size, too; the emulator does not.
    assert json.loads(here.payload.replace(b" (6291557 bytes)", b"")) == json.loads(there)


def test_the_context_tells_the_same(operations: Pair) -> None:
    here, there = operations.answers({"do": "told"})
    assert 0 < there["remaining"] <= TIMEOUT * 1000
    assert 0 < here["remaining"] <= TIMEOUT * 1000
    assert _ID.fullmatch(here["aws_request_id"])
    assert _ID.fullmatch(there["aws_request_id"])
    assert (
        here["invoked_function_arn"].replace("000000000000", "012345678912") == there["invoked_function_arn"]
    )
    # The emulator knows no log group, and traces nothing.
    assert (here["log_group_name"], there["log_group_name"]) == ("/aws/lambda/shop", "/aws/lambda/Functions")
    assert there["log_stream_name"] == "$LATEST"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", here["log_stream_name"])
    assert there["trace"] is None
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", here["trace"])
    differ = {
        "remaining",
        "aws_request_id",
        "invoked_function_arn",
        "log_group_name",
        "log_stream_name",
        "trace",
    }
    assert {name: here[name] for name in here.keys() - differ} == {
        name: there[name] for name in there.keys() - differ
    }


def test_a_client_context_arrives_the_same(operations: Pair) -> None:
    context = '{"custom": {"a": "b"}, "client": {"installation_id": "x"}}'
    event = b'{"do": "told"}'
    here = json.loads(operations.function.invoke(event, client_context=context).payload)
    encoded = "eyJjdXN0b20iOiB7ImEiOiAiYiJ9LCAiY2xpZW50IjogeyJpbnN0YWxsYXRpb25faWQiOiAieCJ9fQ=="
    there = json.loads(operations.emulator.invoke(event, X_Amz_Client_Context=encoded)[1])
    assert "custom={'a': 'b'}" in here["client_context"]
    assert here["client_context"] == there["client_context"]


def test_the_process_sees_the_same_variables(operations: Pair) -> None:
    here, there = operations.answers({"do": "variables"})
    # Lambda has them; for the emulator its image would.
    only_here = {
        "AWS_DEFAULT_REGION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_REGION",
        "LAMBDA_TASK_ROOT",
        "LANG",
        "TZ",
        "_X_AMZN_TRACE_ID",
    }
    assert there.keys() - here.keys() - INHERITED == ONLY_THERE
    assert here.keys() - there.keys() - INHERITED == only_here
    differ = {"AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", *INHERITED}
    both = (here.keys() & there.keys()) - differ
    assert {name: here[name] for name in both} == {name: there[name] for name in both}
    assert {"COLOUR", "_HANDLER", "PATH", "PYTHONPATH", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"} <= both


def test_the_process_writes_the_same(pairs: Pairs) -> None:
    pair = pairs.make("operations.handler")
    here, _, _ = pair.invoke({"do": "write"})
    own = re.compile(r"(START|END|REPORT) RequestId|.*\(rapid\)")
    there = [line for line in pair.emulator.stop().splitlines() if not own.match(line)]
    assert here.logs.splitlines() == ["the module is loaded", "to stdout: é", "to stderr"]
    assert sorted(there) == sorted(here.logs.splitlines())  # two pipes there, which have no common order


BAD_STARTS = {
    "import": "import no_such_module",
    "exception": "raise ValueError('as it loads')",
    "syntax": "def (",
    "no_handler": "",
}


@pytest.mark.parametrize("name", [*BAD_STARTS, "no_dot", "sys.handler", "missing.handler"])
def test_a_start_that_fails_is_told_the_same(pairs: Pairs, tmp_path: Path, name: str) -> None:
    if name in BAD_STARTS:
        (tmp_path / f"{name}.py").write_text(BAD_STARTS[name])
    handler = f"{name}.handler" if name in BAD_STARTS else name
    pair = pairs.make(handler, code=tmp_path)
    here, _, there = pair.invoke({})
    assert json.loads(here.payload) == json.loads(there)
    assert here.is_error


def test_a_crash_while_it_starts_is_told_here_and_not_there(pairs: Pairs, tmp_path: Path) -> None:
    (tmp_path / "crash.py").write_text("import os; os._exit(9)")
    pair = pairs.make("crash.handler", code=tmp_path)
    here, status, there = pair.invoke({})
    assert (status, there) == (502, b"")
    message = f"RequestId: {here.request_id} Error: Runtime exited with error: exit status 9"
    assert json.loads(here.payload) == {"errorType": "Runtime.ExitError", "errorMessage": message}
    assert "Runtime exited with error: exit status 9" in pair.emulator.stop()


def test_a_runtime_of_its_own_is_answered_the_same(pairs: Pairs) -> None:
    pair = pairs.make("raw_runtime.handler")
    assert [same(answer) for answer in pair.invoke(b'"one"') if isinstance(answer, bytes)] == ['"one"']
    here, _, there = pair.invoke(b'"error"')
    assert here.payload == there
    assert here.is_error
    before = time.time()
    here, there = pair.answers(b'"report"')
    for said in (here, there):
        deadlines = [
            int(answer[1].pop("lambda-runtime-deadline-ms")) for what, answer in said if what == "next"
        ]
        assert deadlines == sorted(deadlines)
        assert deadlines[-1] >= (before + TIMEOUT) * 1000 - 1
        assert deadlines[-1] <= (time.time() + TIMEOUT) * 1000
    assert plain(here) == plain(there)


def test_extensions_in_the_process_are_answered_the_same(pairs: Pairs) -> None:
    pair = pairs.make("inner_extension.handler")
    # The emulator waits for extensions before it answers; this executor before it sends the next event.
    pair.invoke({})
    (answers_here, events_here), (answers_there, events_there) = pair.answers({})
    assert plain(answers_here) == plain(answers_there)
    [first_here, *_], [first_there, *_] = events_here, events_there
    event_here, event_there = json.loads(first_here.pop()), json.loads(first_there.pop())
    assert event_here.pop("deadlineMs") > 0
    assert event_there.pop("deadlineMs") > 0
    assert event_here.pop("tracing")["type"] == "X-Amzn-Trace-Id"  # the emulator traces nothing
    assert plain(event_here) == plain(event_there)
    assert plain(first_here) == plain(first_there)


def test_an_extension_that_is_not_done_holds_up_the_answer_there_and_not_here(
    pairs: Pairs, tmp_path: Path
) -> None:
    source = """
import threading
from calls import EVENT_NEXT, REGISTER, call
headers = call("POST", REGISTER, '{"events": ["INVOKE"]}', {"Lambda-Extension-Name": "once"})[1]
me = {"Lambda-Extension-Identifier": headers["lambda-extension-identifier"]}
threading.Thread(target=call, args=("GET", EVENT_NEXT, None, me), daemon=True).start()
def handler(event, context): return "done"
"""
    (tmp_path / "once.py").write_text(source)
    (tmp_path / "calls.py").write_text((FUNCTIONS / "calls.py").read_text())
    here, _, there = pairs.make("once.handler", code=tmp_path, timeout=1).invoke({})
    assert here.payload == b'"done"'
    assert there == b"Task timed out after 1.00 seconds"


@pytest.mark.parametrize(
    ("event", "timeout", "reasons"),
    [
        ({"do": "pid"}, TIMEOUT, ("spindown", "SandboxTerminated")),
        ({"do": "sleep", "seconds": 60}, 3, ("timeout", "Timeout")),
        ({"do": "leave", "status": 3}, TIMEOUT, ("failure", "ReleaseFail")),
    ],
)
def test_an_extension_with_a_process_of_its_own_sees_the_same(
    pairs: Pairs, tmp_path: Path, event: Any, timeout: int, reasons: tuple[str, str]
) -> None:
    if not mounts():
        pytest.skip(
            "the emulator looks for extensions in /opt, and mounting something there is not allowed here"
        )
    shared = {"CALLS": str(FUNCTIONS), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    files = [tmp_path / "here", tmp_path / "there"]
    variables = [{**shared, "SEEN": str(file)} for file in files]
    pair = pairs.make("operations.handler", opt=OPT, here=variables[0], there=variables[1], timeout=timeout)
    pair.invoke(event)
    pair.function.stop()
    pair.emulator.stop()
    seen = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    names = [set(saw.pop(0)[1]) - INHERITED for saw in seen]
    assert names[0] - names[1] == {
        "AWS_DEFAULT_REGION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_REGION",
        "LANG",
        "TZ",
    }
    # By its documentation Lambda tells extensions no names of logs.
    assert names[1] - names[0] == ONLY_THERE | {
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "PYTHONPATH",
    }
    for saw, told in zip(seen, reasons, strict=True):
        _, (status, _, body), moment = saw.pop()
        end = json.loads(body)
        assert (status, end["eventType"], end["shutdownReason"]) == (200, "SHUTDOWN", told)
        assert 0 < end["deadlineMs"] - moment <= 2000
    here, there = ([[what, answer] for what, answer, _ in saw] for saw in seen)
    assert [what for what, _ in here] == ["registered", "event"]
    assert plain(here) == plain(there)
