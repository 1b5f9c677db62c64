"""Exporting posted events: how fast, and whether each arrives once, however often the exporter is killed.

Writers keep posting, some slowly and some in vain, while exporters are started and killed with SIGKILL at
random moments. Then one runs to its end, and the files that manifests list are held against what the
writers committed, before any reader drops a repetition.
"""

import itertools
import multiprocessing
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from statistics import median

import psycopg
import pyarrow.parquet as pq
from twin.s3 import aws_environment, create_bucket, running_s3

from benchmarks.bars import FOLDER, Bar, write
from benchmarks.stage import empty_database
from contract.s3_layout import EVENTS_MANIFESTS_PREFIX, EVENTS_PREFIX
from training.events import listed_files
from training.export_events import export_events
from training.storage import Folder

EVENTS = 1_000_000
CRASHES = 200
WRITERS = 4
BUCKET = "benchmark"

_INSERT = (
    'INSERT INTO events (user_id, event_id, item_id, event_type, "timestamp")'
    " SELECT 'user-' || n %% 1000, %s || n, 'item-' || n %% 100, 'view', 1750000000000 + n"
    " FROM generate_series(1, %s) AS n"
)

EventKey = tuple[str, str]


def run() -> list[Bar]:
    """Export a million events, then crash."""
    with running_s3(log=FOLDER / "s3.log") as endpoint, empty_database() as (database_url, _):
        environment = aws_environment(endpoint)
        os.environ.update(environment)  # of this process and of the exporters that it starts
        create_bucket(environment, BUCKET)
        seconds = _export_many(database_url)
        committed, found, crashes = _crash(database_url)
    lost = sum(1 for key in committed if key not in found)
    doubled = sum(count - 1 for count in found.values())
    bars = [
        Bar("export_events_per_s", EVENTS / seconds, None, "higher"),
        Bar("export_lost", lost, 0, "lower"),
        Bar("export_doubled", doubled, 0, "lower"),
    ]
    foreign = sum(1 for key in found if key not in committed)
    raw = {
        "events": EVENTS,
        "seconds": seconds,
        "committed": len(committed),
        "never_committed": foreign,
        **crashes,
    }
    write("export", bars, raw)
    return bars


def _export_many(database_url: str) -> float:
    """Seconds for one export of `EVENTS` events into S3."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT ensure_events_partition((now() AT TIME ZONE 'UTC')::date)")
        connection.execute(_INSERT, ("many-", EVENTS))
    started = time.perf_counter()
    report = export_events(database_url, Folder(f"s3://{BUCKET}/many"))
    seconds = time.perf_counter() - started
    if report.events != EVENTS:
        raise AssertionError(f"{report.events} of {EVENTS} events were exported")
    with psycopg.connect(database_url) as connection:
        connection.execute("TRUNCATE events, event_exports")
    return seconds


def _crash(database_url: str) -> tuple[set[EventKey], Counter[EventKey], dict[str, object]]:
    """What was committed, how often each event lies in the bucket, and how the exporters ended."""
    out = f"s3://{BUCKET}/crashes"
    # A server that forks: each exporter is there at once, and is killed in its work, not in its imports.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    rng = random.Random(0)  # noqa: S311 - moments of crashes
    ended: Counter[str] = Counter()
    with _writing(database_url) as committed:
        usual = median(
            [_seconds_of_one(context.Process(target=_export, args=(database_url, out))) for _ in range(5)]
        )
        while ended["killed"] < CRASHES:
            exporter = context.Process(target=_export, args=(database_url, out))
            exporter.start()
            exporter.join(rng.uniform(0, 3 * usual))
            exporter.kill()
            exporter.join()
            ended["killed" if exporter.exitcode and exporter.exitcode < 0 else "done"] += 1
            ended["plans left open"] += _open_plans(database_url)
    export_events(database_url, Folder(out), wait=True)
    return committed, _exported(Folder(out)), {"exporters": dict(ended), "usual_seconds": usual}


def _export(database_url: str, out: str) -> None:
    export_events(database_url, Folder(out), wait=True)


def _seconds_of_one(exporter: BaseProcess) -> float:
    started = time.perf_counter()
    exporter.start()
    exporter.join()
    if exporter.exitcode:
        raise AssertionError(f"an exporter that nobody killed ended with status {exporter.exitcode}")
    return time.perf_counter() - started


def _open_plans(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        return connection.execute("SELECT FROM event_exports WHERE state = 'planned'").rowcount


@contextmanager
def _writing(database_url: str) -> Iterator[set[EventKey]]:
    """The events that writers commit until the block ends; complete when it has."""
    committed: set[EventKey] = set()
    stop = threading.Event()
    writers = [
        threading.Thread(target=_write, args=(database_url, number, committed, stop))
        for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    try:
        yield committed
    finally:
        stop.set()
        for writer in writers:
            writer.join()


def _write(database_url: str, writer: int, committed: set[EventKey], stop: threading.Event) -> None:
    """Transactions of 1 to 20 events; a tenth are given up, and every twentieth stays open for a second."""
    rng = random.Random(writer)  # noqa: S311 - sizes and pauses
    with psycopg.connect(database_url) as connection:
        for number in itertools.count():
            if stop.is_set():
                return
            name, size = f"{writer}-{number}-", rng.randint(1, 20)
            connection.execute(_INSERT, (name, size))
            time.sleep(1 if rng.random() < 0.05 else rng.uniform(0, 0.05))
            if rng.random() < 0.1:
                connection.rollback()
                continue
            connection.commit()
            committed.update((f"user-{n % 1000}", f"{name}{n}") for n in range(1, size + 1))


def _exported(out: Folder) -> Counter[EventKey]:
    found: Counter[EventKey] = Counter()
    events = Folder(out.uri_of(EVENTS_PREFIX))
    for key in out.list(EVENTS_MANIFESTS_PREFIX):
        for file in listed_files(events, key.removeprefix(EVENTS_PREFIX)):
            with out.filesystem.open_input_file(out.path(file.key)) as source:
                table = pq.read_table(source, columns=["user_id", "event_id"])
            found.update(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return found
