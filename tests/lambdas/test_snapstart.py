"""What an import leaves behind may be copied into many environments: nothing of it is unique, or open.

SnapStart restores the memory of a machine; here a process is forked after its import. Two differences are made up
for. Python gives a forked child a new random state, which a restored machine would not have: it is set back.
And no thread survives a fork, but all survive a restore: there must be none but the extension's.
"""

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.lambdas.callers import event, proxy_event
from tests.lambdas.versions import NOW, execute

ROOT = Path(__file__).parents[2]
COPIES = 4

# Each copy answers all events, and tells what must differ. Connections stay open until all have told: the
# number of a backend that has ended could be another's.
DRIVER = """
import json, os, random, socket, sys, threading

def connections():
    found = []
    for number in range(256):
        try:
            with socket.socket(fileno=os.dup(number)) as each:
                # Not of AF_UNIX: Mangum makes an event loop, which nobody runs, and that has a pair of its own.
                if each.family in (socket.AF_INET, socket.AF_INET6):
                    found.append(each.getpeername()[1])
        except OSError:
            pass
    return found

events = json.load(sys.stdin)
import lambdas.recommendations_api.handler as handler

at_import = {
    "threads": sorted(thread.name for thread in threading.enumerate()),
    "connections": connections(),
    "parts": handler._environment._parts,
}
state = random.getstate()
all_told, tell_all = os.pipe()
streams = []
for _ in range(int(sys.argv[1])):
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(tell_all)
        random.setstate(state)
        answers = [handler.handler(event, None) for event in events]
        parts = handler._environment._parts
        ask = "SELECT pg_backend_pid()"
        (backend,) = parts.database.run(lambda connection: connection.execute(ask).fetchone(), timeout=10)
        told = {
            "answers": answers,
            "instance": parts.pusher.instance,
            "backend": backend,
            "has_drawn": random.getstate() != state,
        }
        with os.fdopen(writing, "w") as stream:
            json.dump(told, stream)
        os.read(all_told, 1)
        os._exit(0)
    os.close(writing)
    streams.append(os.fdopen(reading))
children = [json.load(stream) for stream in streams]
os.close(tell_all)
for _ in children:
    os.wait()
print("\\n" + json.dumps({"at_import": at_import, "children": children}))
"""


def run_copies(database: str, **more: str) -> dict[str, Any]:
    """What the import left, and what each copy of it told."""
    without_trace = proxy_event("GET", "/v1/popular?limit=x")
    without_trace["requestContext"] = {"stage": "prod"}
    events = [
        proxy_event("GET", "/v1/users/known/recommendations"),
        without_trace,
        proxy_event("POST", "/v1/events", body=json.dumps({"events": [event("somebody", "tent")]})),
    ]
    environment = {
        "PATH": os.defpath,
        "DATABASE_URL": database,
        "DATABASE_TIMEOUT_MS": "10000",
        "EVENTS_TIMEOUT_MS": "10000",
        "AUTHORIZATION": "none",
        "AS_OF": NOW.isoformat(),
        # Nobody listens there: a push fails at once, and no answer suffers.
        "PUSHGATEWAY_URL": "http://127.0.0.1:1",
        **more,
    }
    ended = subprocess.run(
        [sys.executable, "-c", DRIVER, str(COPIES)],
        input=json.dumps(events),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


def test_copies_of_one_import_share_nothing_that_has_to_be_unique(database: str, stored: str) -> None:
    told = run_copies(database)
    assert told["at_import"] == {"threads": ["MainThread"], "connections": [], "parts": None}
    children = told["children"]
    assert len(children) == COPIES
    answers = [child["answers"] for child in children]
    assert [[answer["statusCode"] for answer in each] for each in answers] == [[200, 422, 202]] * COPIES
    shown = [json.loads(each[0]["body"]) for each in answers]
    for unique in (
        [child["instance"] for child in children],
        [child["backend"] for child in children],
        [document["recommendation_id"] for document in shown],
        [json.loads(each[1]["body"])["trace_id"] for each in answers],
    ):
        assert None not in unique
        assert len(set(unique)) == COPIES, unique
    assert {uuid.UUID(child["instance"]).version for child in children} == {4}
    assert [[item["item_id"] for item in document["items"]] for document in shown] == [
        [item["item_id"] for item in shown[0]["items"]]
    ] * COPIES
    # Ids of events that come without one: with equal ones all but the first would be taken for repetitions.
    assert execute(database, "SELECT count(*) FROM events") == [(COPIES,)]


def test_nothing_is_drawn_from_the_state_that_copies_share(database: str, stored: str) -> None:
    """Only from the operating system, whose randomness a restored machine gets anew."""
    assert [child["has_drawn"] for child in run_copies(database)["children"]] == [False] * COPIES


class RuntimeApi(ThreadingHTTPServer):
    """As much of Lambda's as an extension asks for: no event ever comes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _RuntimeApiHandler)
        self.asked: list[str] = []
        self.is_over = threading.Event()


class _RuntimeApiHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RuntimeApi

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Lambda-Extension-Identifier", str(uuid.uuid4()))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.is_over.wait()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def runtime_api() -> Iterator[RuntimeApi]:
    with RuntimeApi() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.is_over.set()
        server.shutdown()
        thread.join()


def test_the_extension_is_all_that_an_import_starts_and_copies_answer_without_it(
    database: str, stored: str, runtime_api: RuntimeApi
) -> None:
    told = run_copies(database, AWS_LAMBDA_RUNTIME_API=f"127.0.0.1:{runtime_api.server_port}")
    assert told["at_import"] == {
        "threads": ["MainThread", "extension"],
        "connections": [runtime_api.server_port],
        "parts": None,
    }
    assert [child["answers"][0]["statusCode"] for child in told["children"]] == [200] * COPIES
    assert runtime_api.asked == ["/2020-01-01/extension/register", "/2020-01-01/extension/event/next"]
