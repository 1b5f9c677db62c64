"""The API beside a bare handler and beside what tutorials show, in turn, under AWS's own runtime client."""

import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lambda_executor import Function
from twin.api_front import HttpRequest, proxy_event
from twin.monitoring import running_pushgateway

from benchmarks.api import WRAPPED
from benchmarks.api.answer import QUESTION
from benchmarks.api.archive import archive_size, unpack_ours, unpack_peers
from benchmarks.api.question import note_question
from benchmarks.api.shop import ShopSize, fill
from benchmarks.bars import FOLDER, Bar, write
from benchmarks.stage import empty_database
from lambdas.recommendations_api.settings import Settings

LIMIT = 10

OURS: Final = "ours"
BARE: Final = "bare"
NAIVE: Final = "naive"
UNPUSHED: Final = "naive_without_push"
SILENT: Final = "ours_without_push"
PUSHING: Final = "ours_pushing_always"

HANDLERS: Final = {
    OURS: "lambdas.recommendations_api.handler.handler",
    BARE: "benchmarks.api.bare.handler",
    NAIVE: "benchmarks.api.naive.handler",
    UNPUSHED: "benchmarks.api.naive.handler",
    SILENT: "lambdas.recommendations_api.handler.handler",
    PUSHING: "lambdas.recommendations_api.handler.handler",
}
"""By the name that figures have."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How much is measured."""

    shop: ShopSize = field(default_factory=ShopSize)
    turns: int = 72
    requests: int = 25
    """Of each handler in each turn, warm: few, so that whatever else the machine does meets all alike."""
    warm_up: int = 30
    """Before anything counts: connecting, preparing, compiling."""
    starts: int = 9
    """Cold ones of each handler."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Every single measurement, by handler; seconds."""

    warm: dict[str, list[float]]
    cold_cpu: dict[str, list[float]]
    answers: dict[str, list[dict[str, Any]]]
    """What each answered to the same visitors at the end of its warm-up."""


class DisagreementError(Exception):
    """Handlers that do not answer the same cannot be compared."""


def run() -> list[Bar]:
    """Measure, and leave the figures in `build/benchmarks/api.json`."""
    archive = archive_size()
    measured = measure(Asked())
    found = [
        *bars(measured),
        Bar("zip_mb", archive.compiled_mb, 10, "lower"),
        Bar("zip_without_pyc_mb", archive.sources_mb, None, "lower"),
    ]
    write("api", found, {"warm_s": measured.warm, "cold_cpu_s": measured.cold_cpu})
    return found


def measure(asked: Asked) -> Measured:
    """Ask all handlers the same. Raises DisagreementError where they do not answer the same."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    question = FOLDER / "question.json"
    with (
        _unpacked() as code,
        empty_database() as (database_url, out),
        running_pushgateway(log=FOLDER / "pushgateway.log") as gateway,
    ):
        visitors = fill(database_url, out, asked.shop)
        note_question(database_url, visitors[0], question)
        environments = _environments(database_url, question.absolute(), gateway)
        events = [_event(visitor) for visitor in visitors]
        with _functions(HANDLERS, environments, code) as functions:
            answers = {name: _warm_up(function, events, asked) for name, function in functions.items()}
            _check_same(answers)
            warm = _warm(functions, events, asked)
        started = {name: environments[name] for name in (OURS, BARE, NAIVE)}
        cold_cpu = _cold(started, code, events[0], asked.starts)
    return Measured(warm=warm, cold_cpu=cold_cpu, answers=answers)


def bars(measured: Measured) -> list[Bar]:
    """The figures, each with its limit."""
    p50 = {name: statistics.median(times) for name, times in measured.warm.items()}
    p99 = {name: _p99(times) for name, times in measured.warm.items()}
    cpu = {name: statistics.median(times) for name, times in measured.cold_cpu.items()}
    push = p50[PUSHING] - p50[SILENT]
    interval = float(Settings.model_fields["push_interval_seconds"].default)
    return [
        Bar("warm_p50_vs_bare", p50[OURS] / p50[BARE], 1.5, "lower"),
        Bar("warm_p99_vs_bare", p99[OURS] / p99[BARE], 2.5, "lower"),
        Bar("warm_p50_vs_naive", p50[NAIVE] / p50[OURS], 3, "higher"),
        Bar("warm_p50_vs_naive_without_push", p50[UNPUSHED] / p50[OURS], None, "higher"),
        Bar("cold_cpu_vs_naive", cpu[OURS] / cpu[NAIVE], 0.65, "lower"),
        # An environment that is never idle pushes once an interval, whatever it answers meanwhile.
        Bar("push_share_of_p50", push / interval, 0.05, "lower"),
        Bar("push_ms", push * 1000, None, "lower"),
        Bar("warm_p50_ms", p50[OURS] * 1000, None, "lower"),
        Bar("cold_cpu_ms", cpu[OURS] * 1000, None, "lower"),
    ]


def _p99(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[98]


def _environments(database_url: str, question: Path, gateway: str) -> dict[str, dict[str, str]]:
    """The variables of each handler."""
    database = {"DATABASE_URL": database_url, "AUTHORIZATION": "none"}
    # A machine that is busy may be slow once: then it is the figures that should tell, not a fallback.
    ours = {**database, "DATABASE_TIMEOUT_MS": "10000", "PUSH_TIMEOUT_MS": "10000"}
    pushing = {"PUSHGATEWAY_URL": gateway}
    peer = {**database, QUESTION: str(question)}
    return {
        OURS: {**ours, **pushing},
        SILENT: ours,
        PUSHING: {**ours, **pushing, "PUSH_INTERVAL_SECONDS": "0"},
        BARE: peer,
        NAIVE: {**peer, **pushing},
        UNPUSHED: peer,
    }


def _event(visitor: str) -> bytes:
    """What API Gateway sends."""
    request = HttpRequest(
        method="GET",
        target=f"/v1/users/{visitor}/recommendations?limit={LIMIT}",
        headers=[("Host", "api.test"), ("Accept", "application/json"), ("User-Agent", "benchmark")],
        body=b"",
        protocol="HTTP/1.1",
        client="127.0.0.1",
        port=443,
    )
    event = proxy_event(request, request_id=f"request-of-{visitor}")
    # Whom IAM let through: that is what the API asks for unless told otherwise.
    event["requestContext"]["identity"]["userArn"] = "arn:aws:iam::000000000000:role/shop"
    return json.dumps(event).encode()


@contextlib.contextmanager
def _unpacked() -> Iterator[dict[str, Path]]:
    """The folder that each handler's archive is unpacked into. Raises ArchiveError."""
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as ours,
        tempfile.TemporaryDirectory(prefix="benchmark-") as peers,
    ):
        unpack_ours(Path(ours))
        unpack_peers(Path(peers))
        yield {name: Path(ours if handler == HANDLERS[OURS] else peers) for name, handler in HANDLERS.items()}


@contextlib.contextmanager
def _functions(
    handlers: Mapping[str, str],
    environments: Mapping[str, Mapping[str, str]],
    code: Mapping[str, Path],
) -> Iterator[dict[str, Function]]:
    """Each handler as a function of one environment."""
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(_function(handler, code[name], environments[name], name))
            for name, handler in handlers.items()
        }


def _function(handler: str, code: Path, environment: Mapping[str, str], name: str) -> Function:
    return Function(
        handler=handler,
        code=code,
        environment=environment,
        concurrency=1,
        name=name,
        log_file=FOLDER / "api.log",
    )


def _answer(function: Function, event: bytes) -> dict[str, Any]:
    """The function's answer. Raises RuntimeError where it is none."""
    result = function.invoke(event)
    answer: dict[str, Any] = json.loads(result.payload)
    if result.is_error or answer["statusCode"] != 200:
        raise RuntimeError(f"{function.configuration.name} answered {result.payload.decode()}")
    return answer


def _warm_up(function: Function, events: Sequence[bytes], asked: Asked) -> list[dict[str, Any]]:
    """The documents of what it answers meanwhile."""
    return [json.loads(_answer(function, event)["body"]) for event in events[: asked.warm_up]]


def _check_same(answers: Mapping[str, list[dict[str, Any]]]) -> None:
    expected = [_said(document) for document in answers[OURS]]
    for name, documents in answers.items():
        if [_said(document) for document in documents] != expected:
            raise DisagreementError(f"{name} does not answer what {OURS} does")


def _said(document: Mapping[str, Any]) -> object:
    """What answers have to have in common; scores fade with the time and are rounded."""
    items = [(each["item_id"], each["rank"], each["source"], each["reasons"]) for each in document["items"]]
    return document["model_version"], document["source"], items


def _warm(functions: Mapping[str, Function], events: Sequence[bytes], asked: Asked) -> dict[str, list[float]]:
    """Seconds of each request, the handlers in turn."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(asked.turns):
        first = turn * asked.requests
        asking = [events[(first + place) % len(events)] for place in range(asked.requests)]
        for name in _rotated(list(functions), turn):
            times[name] += _seconds(functions[name], asking)
    return times


def _seconds(function: Function, events: Sequence[bytes]) -> list[float]:
    """From the event sent to the answer received."""
    times = []
    for event in events:
        started = time.perf_counter()
        result = function.invoke(event)
        times.append(time.perf_counter() - started)
        if result.is_error or b'"statusCode": 200' not in result.payload:
            raise RuntimeError(f"{function.configuration.name} answered {result.payload.decode()}")
    return times


def _rotated(names: list[str], turn: int) -> list[str]:
    """Another one begins each turn, so that none always follows the same."""
    start = turn % len(names)
    return names[start:] + names[:start]


def _cold(
    environments: Mapping[str, Mapping[str, str]], code: Mapping[str, Path], event: bytes, starts: int
) -> dict[str, list[float]]:
    """Processor seconds from import to first answer, of what is compiled beforehand."""
    times: dict[str, list[float]] = {name: [] for name in environments}
    for turn in range(starts):
        for name in _rotated(list(environments), turn):
            environment = {**environments[name], WRAPPED: HANDLERS[name]}
            with _function("benchmarks.api.cold.handler", code[name], environment, name) as function:
                times[name].append(_answer(function, event)["cpuSeconds"])
    return times
