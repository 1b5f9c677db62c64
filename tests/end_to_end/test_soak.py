"""Hours in minutes: environments under load, while versions, database and pushgateway come and go.

`SOAK_SECONDS` says how long, 300 without it.
"""

import collections
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lambda_executor import Function
from prometheus_client.parser import text_string_to_metric_families
from twin.monitoring import PUSHGATEWAY, find_program
from twin.processes import LOOPBACK, Server, answers, free_port

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from tests.lambdas.callers import event, proxy_event
from tests.lambdas.own_postgres import OwnPostgres, own_postgres
from tests.lambdas.versions import WEIGHTS, execute, history, load_version, make_live

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("SOAK_SECONDS", "300"))
ENVIRONMENTS = 4
SWAP_EVERY = min(20.0, SECONDS / 4)
REST = 0.02
"""Between two requests of one caller, in seconds: the load is bounded."""
WARM_UP = min(60.0, SECONDS / 3)
MOST_GROWTH = 0.02
RECOVERY = 10.0
"""How long after the database's return an environment may still not know it, in seconds: it pauses for 2."""

VERSIONS = ("red", "blue")
USERS = [f"user-{number}" for number in range(200)]
SEEN = [f"seen-{number}" for number in range(50)]
"""What visitors turn to; no version recommends it by itself, so that it tells nothing of one."""


class Gateway:
    """A real pushgateway on one port, that can be killed."""

    def __init__(self, log: Path) -> None:
        self._program = find_program(PUSHGATEWAY)
        if self._program is None:
            pytest.skip("there is no pushgateway on this machine")
        self._log = log
        self._port = free_port()
        self.url = f"http://{LOOPBACK}:{self._port}"
        self._server: Server | None = None

    def start(self) -> None:
        assert self._program is not None
        command: list[str | Path] = [self._program, f"--web.listen-address={LOOPBACK}:{self._port}"]
        self._server = Server(
            "pushgateway", [*command, "--persistence.file="], log=self._log, environment={"PATH": os.defpath}
        )
        self._server.wait_until(lambda: answers(f"{self.url}/-/ready"), timeout=60)

    def kill(self) -> None:
        assert self._server is not None
        os.kill(self._server.pid, signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def totals(self, metric: str, label: str) -> collections.Counter[str]:
        """Of a counter, over all environments."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as response:
            text = response.read().decode()
        found: collections.Counter[str] = collections.Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == metric:
                    found[sample.labels[label]] += int(sample.value)
        return found


class Outage:
    """When the database may be missed."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    def begin(self) -> None:
        self._spans.append((time.monotonic(), float("inf")))

    def end(self) -> None:
        began, _ = self._spans.pop()
        self._spans.append((began, time.monotonic() + RECOVERY))

    def touches(self, began: float, ended: float) -> bool:
        return any(began < until and since < ended for since, until in self._spans)


class Traffic:
    """Callers who check every answer that they get."""

    def __init__(self, function: Function, outage: Outage) -> None:
        self._function = function
        self._outage = outage
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.statuses: collections.Counter[int] = collections.Counter()
        self.versions: collections.Counter[str] = collections.Counter()
        self.degraded = 0
        self.wrong: list[str] = []
        self.sent: set[str] = set()
        self.accepted: set[str] = set()

    def begin(self) -> None:
        for seed in range(ENVIRONMENTS):
            thread = threading.Thread(target=self._run, args=(random.Random(seed),), name=f"caller {seed}")
            self._threads.append(thread)
            thread.start()

    def end(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, chance: random.Random) -> None:
        asks = (self._ask_visitor, self._ask_now, self._ask_batch, self._ask_item, self._ask_popular)
        does: list[Callable[[random.Random], None]] = [
            *asks,
            self._post,
            self._post,
            self._put,
            self._look_up,
        ]
        while not self._is_over.wait(REST):
            try:
                chance.choice(does)(chance)
            except Exception as error:  # noqa: BLE001 - reported: a thread's end would not be seen
                with self._lock:
                    self.wrong.append(f"{type(error).__name__}: {error}")

    def _ask_visitor(self, chance: random.Random) -> None:
        self._check(self._send("GET", f"/v1/users/{chance.choice(USERS)}/recommendations"))

    def _ask_now(self, chance: random.Random) -> None:
        told = [{"item_id": item, "event_type": VIEW} for item in chance.sample(SEEN, 3)]
        self._check(self._send("POST", "/v1/recommendations", {"events": told, "limit": 20}))

    def _ask_batch(self, chance: random.Random) -> None:
        document = self._send("POST", "/v1/recommendations/batch", {"user_ids": chance.sample(USERS, 10)})
        if document is not None:
            for answer in document["answers"]:
                self._check(answer)
            if len({answer["model_version"] for answer in document["answers"]}) > 1:
                self._tell(f"a batch of two versions: {document}")

    def _ask_item(self, chance: random.Random) -> None:
        self._check(self._send("GET", f"/v1/items/{chance.choice(SEEN)}/similar"))

    def _ask_popular(self, chance: random.Random) -> None:
        self._check(self._send("GET", f"/v1/popular?limit={chance.randint(1, 50)}"))

    def _look_up(self, chance: random.Random) -> None:
        document = self._send("GET", chance.choice(["/v1/model", f"/v1/users/{chance.choice(USERS)}"]))
        if document is not None and not document:
            self._tell("an empty document")

    def _put(self, chance: random.Random) -> None:
        changes = [{"item_id": f"stock-{chance.randint(1, 50)}", "available": chance.random() < 0.5}]
        self._send("PUT", "/v1/items", {"items": changes})

    def _post(self, chance: random.Random) -> None:
        events = [
            event(
                chance.choice(USERS),
                chance.choice(SEEN),
                chance.choice([VIEW, ADD_TO_CART, PURCHASE]),
                event_id=str(uuid.uuid4()),
            )
            for _ in range(chance.randint(1, 10))
        ]
        ids = {each["event_id"] for each in events}
        with self._lock:
            self.sent |= ids
        document = self._send("POST", "/v1/events", {"events": events})
        if document is not None:
            with self._lock:
                self.accepted |= ids
            if document["accepted"] != len(events):
                self._tell(f"of {len(events)} events were accepted {document}")

    def _send(self, method: str, target: str, document: Any = None) -> Any:
        """What the answer says; None where it is one that the outage explains."""
        body = None if document is None else json.dumps(document)
        began = time.monotonic()
        result = self._function.invoke(json.dumps(proxy_event(method, target, body=body)).encode())
        ended = time.monotonic()
        answer = json.loads(result.payload)
        status = answer.get("statusCode", 0)
        with self._lock:
            self.statuses[status] += 1
        if status in {200, 202}:
            if "x-degraded" in answer["headers"]:
                with self._lock:
                    self.degraded += 1
                if not self._outage.touches(began, ended):
                    self._tell(f"{method} {target} was degraded without an outage")
            return json.loads(answer["body"])
        is_honest = status == 503 and "retry-after" in answer["headers"]
        if not (is_honest and self._outage.touches(began, ended)):
            self._tell(f"{method} {target} got {status}: {answer}")
        return None

    def _check(self, document: Any) -> None:
        """All of an answer is of the version that it names."""
        if document is None:
            return
        version = document["model_version"]
        with self._lock:
            self.versions[version] += 1
        items = [item["item_id"] for item in document["items"]]
        others = [item for item in items if item.partition("-")[0] not in {version, "seen"}]
        if version not in VERSIONS or others or not items or len(set(items)) != len(items):
            self._tell(f"an answer of {version} with {items}")

    def _tell(self, what: str) -> None:
        with self._lock:
            self.wrong.append(what)


def resident(pid: int) -> int:
    """KiB."""
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(shown.stdout)


def growth_of_the_runtime_client(requests: int, log: Path) -> int:
    """KiB that AWS's own client keeps of so many requests, measured on a handler that does nothing.

    It is of the client's native half: of the function itself nothing of the kind is seen.
    """
    event = json.dumps(proxy_event("GET", "/v1/popular?limit=10")).encode()
    with Function(
        handler="tests.lambdas.still.handler", code=ROOT, environment={}, name="still", log_file=log
    ) as still:
        for _ in range(1000):
            still.invoke(event)
        (pid,) = still.pids
        before = resident(pid)
        for _ in range(requests):
            still.invoke(event)
        return resident(pid) - before


class Memory:
    """What each environment's process holds, sampled while it works."""

    def __init__(self) -> None:
        self.samples: dict[int, list[tuple[float, int]]] = collections.defaultdict(list)

    def sample(self, pids: list[int], moment: float) -> None:
        for pid in pids:
            self.samples[pid].append((moment, resident(pid)))

    def growth(self, pid: int) -> tuple[int, int]:
        """KiB just after the warm-up, and at the end: the median of three samples each."""
        after = [size for moment, size in self.samples[pid] if moment >= WARM_UP]
        return sorted(after[:3])[1], sorted(after[-3:])[1]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path / "pushgateway.log")
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnPostgres]:
    with own_postgres(tmp_path / "postgres.log") as server:
        yield server


@pytest.mark.slow
def test_nothing_is_wrong_lost_or_kept_while_everything_comes_and_goes(
    own: OwnPostgres, gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = own.make_database("soak")
    for version in VERSIONS:
        load(database, version)
    fill_histories(database)
    environment = {
        "DATABASE_URL": database,
        "AUTHORIZATION": "none",
        "PUSHGATEWAY_URL": gateway.url,
        "PUSH_INTERVAL_SECONDS": "1",
        "PUSH_PAUSE_SECONDS": "2",
        "PUSH_TIMEOUT_MS": "2000",
        # Generous, because this machine may be busy: what falls back without an outage is a defect here.
        "DATABASE_TIMEOUT_MS": "3000",
        "EVENTS_TIMEOUT_MS": "5000",
    }
    outage = Outage()
    with Function(
        handler="lambdas.recommendations_api.handler.handler",
        code=ROOT,
        environment=environment,
        concurrency=ENVIRONMENTS,
        log_file=tmp_path / "log",
        stop_grace=10,
    ) as function:
        traffic = Traffic(function, outage)
        memory = Memory()
        traffic.begin()
        try:
            pids = run_plan(
                own=own,
                gateway=gateway,
                database=database,
                function=function,
                outage=outage,
                memory=memory,
            )
        finally:
            traffic.end()
    # Of what was asked after the warm-up, and no more: the share that the figures below are of.
    share = int(sum(traffic.statuses.values()) * (1 - WARM_UP / SECONDS) / ENVIRONMENTS)
    of_client = growth_of_the_runtime_client(share, tmp_path / "still.log")
    report(traffic, memory, of_client, capsys)
    assert traffic.wrong == []
    assert set(traffic.versions) == set(VERSIONS)
    assert sorted(memory.samples) == sorted(pids), "every environment lived from the beginning to the end"
    check_events(database, traffic)
    check_metrics(gateway, traffic)
    for pid in pids:
        before, after = memory.growth(pid)
        assert after - of_client <= before * (1 + MOST_GROWTH), f"{pid} grew from {before} to {after} KiB"


def load(database: str, version: str) -> None:
    """A version whose every item bears its name."""

    def items(place: int, length: int) -> list[tuple[str, float]]:
        return [(f"{version}-{place}-{number}", 1 - number / 1000) for number in range(length)]

    load_version(
        database,
        version,
        personal={user: items(place, 30) for place, user in enumerate(USERS[::2])},
        histories={user: history(("seen-1", VIEW), ("seen-2", ADD_TO_CART)) for user in USERS[::2]},
        similar={item: items(1000 + place, 20) for place, item in enumerate(SEEN)},
        popular=items(9999, 100),
        blend_weights=WEIGHTS,
    )


def fill_histories(database: str) -> None:
    """As many events of each user as an answer looks at: the work is the same from beginning to end."""
    execute(database, "SELECT ensure_events_partition((now() AT TIME ZONE 'UTC')::date)")
    execute(
        database,
        'INSERT INTO events (user_id, event_id, item_id, event_type, "timestamp")'
        " SELECT users, users || '-before-' || number, 'seen-' || number %% 50, 'view',"
        " (extract(epoch FROM now()) * 1000)::bigint - number"
        " FROM unnest(%s::text[]) AS users, generate_series(1, 200) AS number",
        USERS,
    )


def run_plan(
    *,
    own: OwnPostgres,
    gateway: Gateway,
    database: str,
    function: Function,
    outage: Outage,
    memory: Memory,
) -> list[int]:
    """Let everything come and go; the processes that were there once all had started."""
    started = time.monotonic()
    versions = itertools.cycle(VERSIONS)
    plan: list[tuple[float, Callable[[], None]]] = [
        (SECONDS * 0.30, gateway.kill),
        (SECONDS * 0.45, gateway.start),
        (SECONDS * 0.60, lambda: restart(own, outage)),
    ]
    swaps = int(SECONDS / SWAP_EVERY)
    plan += [(SWAP_EVERY * place, lambda: make_live(database, next(versions))) for place in range(1, swaps)]
    samples = int(SECONDS / 2)
    pids: list[int] = []

    def sample() -> None:
        if not pids and len(function.pids) == ENVIRONMENTS:
            pids.extend(function.pids)
        memory.sample(function.pids, time.monotonic() - started)

    plan += [(SECONDS * place / samples, sample) for place in range(1, samples + 1)]
    for moment, step in sorted(plan, key=lambda each: each[0]):
        time.sleep(max(0.0, started + moment - time.monotonic()))
        step()
    return pids


def restart(own: OwnPostgres, outage: Outage) -> None:
    outage.begin()
    own.stop()
    time.sleep(3)
    own.start()
    outage.end()


def report(traffic: Traffic, memory: Memory, of_client: int, capsys: pytest.CaptureFixture[str]) -> None:
    told = [
        f"{sum(traffic.statuses.values())} requests in {SECONDS:.0f} s: {dict(traffic.statuses)}",
        f"answers by version: {dict(traffic.versions)}, of which {traffic.degraded} degraded",
        f"{len(traffic.accepted)} events accepted of {len(traffic.sent)} sent",
    ]
    told.append(f"the runtime client's own growth over an environment's share of them: {of_client} KiB")
    for pid in memory.samples:
        before, after = memory.growth(pid)
        told.append(f"environment {pid}: {before} KiB, at the end {after} KiB, {after / before - 1:+.2%}")
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(told) + "\n")


def check_events(database: str, traffic: Traffic) -> None:
    """None that was accepted is lost, none is there twice, none was never sent."""
    posted = execute(database, "SELECT event_id FROM events WHERE event_id NOT LIKE %s", "%-before-%")
    stored = [event_id for (event_id,) in posted]
    assert traffic.accepted <= set(stored)
    assert set(stored) <= traffic.sent
    assert len(stored) == len(set(stored))


def check_metrics(gateway: Gateway, traffic: Traffic) -> None:
    """What callers got is what was counted, although the gateway was gone for a while."""
    counted = gateway.totals("shop_api_requests_total", "status")
    expected: collections.Counter[str] = collections.Counter()
    for status, number in traffic.statuses.items():
        expected[f"{status // 100}xx"] += number
    assert +counted == expected
    assert gateway.totals("shop_api_events_total", "outcome")["accepted"] >= len(traffic.accepted)
