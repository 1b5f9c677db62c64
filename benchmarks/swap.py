"""Whether visitors notice that versions come and go: the longest of their reads, with and without.

Fifty readers do what the API does, by the API's own code, while another session holds a read transaction
open, as a report or a dump does. In a quiet turn nothing else happens; in a busy one, as long, versions are
loaded, made live and retired. Every answer must come whole from one version: the first item of each of its
lists is the version's name.

That is measured twice. Once the readers read without a pause, as many as the machine can do: whatever makes
them wait longer than they wait for each other shows. Once they pause between two reads, so that the
processors are idle most of the time: then a single read of the busy turn that costs more work, as the first
one after a swap does, shows as well. One of fifty reads begins every ten milliseconds then.

The loads run in a process of their own that gets what the others leave, as they run on another machine than
the database and the API where this is deployed.

What is left over a quiet turn is work, not waiting: each swap makes every session plan its next statement
anew and read the new version's manifest.
"""

import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa

from benchmarks.bars import Bar, write
from benchmarks.stage import empty_database, publish
from contract.recommendations import EVERYTHING, ListKind
from lambdas.recommendations_api.database import Database
from lambdas.recommendations_api.repository import Repository
from training.lists_schema import LISTS_SCHEMA
from training.loader import load_version
from training.retirement import retire_versions
from training.serving import list_versions, rollback
from training.storage import Folder

READERS = 50
PAUSE_SECONDS = 0.5
HELD_SECONDS = 0.5
SWAPS = 50
SWAPS_A_RETIREMENT = 5
ROLLBACKS = 20

USERS = 2_000
USERS_OF_LARGE = 100_000
ITEMS = 20


def run() -> list[Bar]:
    """Measure quiet and busy turns at both paces, then rollbacks."""
    turns: list[Turn] = []
    with empty_database() as (database_url, out), _another_machine() as loader:
        publish_lists(out, "first", USERS)
        load_version(database_url, out, "first")
        for number, pause in enumerate((0.0, PAUSE_SECONDS)):
            names = _publish_turn(out, number)
            swap = partial(_done_by, loader, _swap, database_url, out, names)
            busy = _read_while(database_url, swap, pause)
            quiet = _read_while(database_url, partial(time.sleep, busy.seconds), pause)
            turns.append(Turn(pause, quiet, busy))
        rollbacks = _time_rollbacks(database_url)
    without_pause, paced = turns
    bars = [
        Bar("swap_errors", sum(len(turn.quiet.errors + turn.busy.errors) for turn in turns), 0, "lower"),
        Bar("swap_longest_stall_ratio", without_pause.ratio, 3, "lower"),
        Bar("swap_paced_stall_ratio", paced.ratio, None, "lower"),
        Bar("swap_paced_stall_ms", paced.busy.longest, None, "lower"),
        Bar("rollback_ms", 1000 * statistics.median(rollbacks), None, "lower"),
    ]
    raw = {
        "readers": READERS,
        "swaps_a_turn": SWAPS + 1,
        "turns": [
            {"pause_seconds": turn.pause, "quiet": turn.quiet.figures(), "busy": turn.busy.figures()}
            for turn in turns
        ],
        "rollbacks_ms": [1000 * seconds for seconds in rollbacks],
    }
    write("swap", bars, raw)
    return bars


@dataclass(frozen=True)
class Turn:
    """A quiet and a busy time, equally long, with readers of one pace."""

    pause: float
    quiet: "Reads"
    busy: "Reads"

    @property
    def ratio(self) -> float:
        """The longest read while versions come and go, against the longest of the quiet time."""
        return self.busy.longest / self.quiet.longest


@dataclass
class Reads:
    """What the readers of one turn met."""

    seconds: float = 0
    milliseconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)

    @property
    def longest(self) -> float:
        """Of all reads, in milliseconds; nothing is left out."""
        return max(self.milliseconds)

    def figures(self) -> dict[str, Any]:
        """For the raw figures; times in milliseconds."""
        percentiles = statistics.quantiles(self.milliseconds, n=1000)
        return {
            "seconds": self.seconds,
            "reads": len(self.milliseconds),
            "median": percentiles[499],
            "p99": percentiles[989],
            "p99_9": percentiles[998],
            "longest": sorted(self.milliseconds)[-5:],
            "versions": len(self.versions),
            "errors": self.errors,
        }


def publish_lists(out: Folder, version: str, users: int) -> None:
    """Publish lists of every kind, each with the version's name at its head."""
    items = [version, *(f"item-{number:07d}" for number in range(ITEMS - 1))]
    ranked = {"item_ids": items, "scores": [1 / (rank + 1) for rank in range(ITEMS)]}
    known = {"item_ids": items, "event_types": ["view"] * ITEMS, "timestamps": list(range(ITEMS, 0, -1))}
    rows: Iterator[dict[str, Any]] = (
        row
        for number in range(users)
        for row in (
            {"kind": ListKind.PERSONAL, "key": _user(number), **ranked},
            {"kind": ListKind.HISTORY, "key": _user(number), **known},
        )
    )
    others = [
        {"kind": ListKind.POPULAR, "key": EVERYTHING, **ranked},
        *({"kind": ListKind.SIMILAR, "key": item, **ranked} for item in items),
    ]
    publish(out, version, pa.Table.from_pylist([*rows, *others], schema=LISTS_SCHEMA))


def _user(number: int) -> str:
    return f"user-{number:08d}"


def _publish_turn(out: Folder, turn: int) -> list[str]:
    """A large version, whose load takes a while, and many small ones."""
    names = [f"turn-{turn}-{swap:02d}" for swap in range(SWAPS + 1)]
    for name in names:
        publish_lists(out, name, USERS_OF_LARGE if name == names[0] else USERS)
    return names


@contextmanager
def _another_machine() -> Iterator[ProcessPoolExecutor]:
    """A process that gets what the others leave of the processors, and has begun."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=os.nice, initargs=(19,)) as process:
        process.submit(os.getpid).result()
        yield process


def _done_by(process: ProcessPoolExecutor, work: Callable[..., object], *arguments: Any) -> None:
    process.submit(work, *arguments).result()


def _swap(database_url: str, out: Folder, names: Sequence[str]) -> None:
    """Load each and make it live, and take the old ones out once in a while."""
    for number, name in enumerate(names):
        load_version(database_url, out, name)
        if number % SWAPS_A_RETIREMENT == 0:
            retire_versions(database_url, keep=2)


def _read_while(database_url: str, work: Callable[[], object], pause: float) -> Reads:
    """What readers meet from when the work begins to when it ends."""
    stop = threading.Event()
    with ThreadPoolExecutor(READERS) as threads, _transaction_held_open(database_url):
        ready = threading.Barrier(READERS + 1)
        futures = [
            threads.submit(_read_until, stop, ready, database_url, pause, np.random.default_rng(number))
            for number in range(READERS)
        ]
        try:
            ready.wait(timeout=60)
            started = time.perf_counter()
            work()
            seconds = time.perf_counter() - started
        finally:
            stop.set()
        every = [future.result() for future in futures]
    return Reads(
        seconds=seconds,
        milliseconds=[each for reads in every for each in reads.milliseconds],
        errors=[each for reads in every for each in reads.errors],
        versions=set().union(*(reads.versions for reads in every)),
    )


def _read_until(
    stop: threading.Event,
    ready: threading.Barrier,
    database_url: str,
    pause: float,
    rng: np.random.Generator,
) -> Reads:
    """One reader: an environment of the function, as far as it reads."""
    reads = Reads()
    database = Database(database_url, connect_timeout=10, pause=1, statement_timeout=60)
    repository = Repository(database, events_days=14, events_limit=200, read_timeout=60, write_timeout=60)
    try:
        repository.visitor(_user(0))
        ready.wait(timeout=60)
        # Not all at the same moment.
        stop.wait(pause * rng.random())
        while not stop.is_set():
            _read(repository, _user(int(rng.integers(USERS))), reads)
            stop.wait(pause)
    finally:
        database.close()
    return reads


def _read(repository: Repository, user: str, reads: Reads) -> None:
    started = time.perf_counter()
    try:
        visitor = repository.visitor(user)
    except Exception as error:  # noqa: BLE001 - whatever it is, the bar counts it
        reads.errors.append(repr(error))
        return
    reads.milliseconds.append(1000 * (time.perf_counter() - started))
    reads.versions.add(visitor.live.name)
    lists: list[Sequence[tuple[Any, ...]]] = [
        visitor.live.popular,
        visitor.personal,
        visitor.history,
        *visitor.similar.values(),
    ]
    heads = {each[0][0] if each else None for each in lists}
    if heads != {visitor.live.name} or not visitor.similar:
        reads.errors.append(f"{user} got lists of {heads} from {visitor.live.name}")


@contextmanager
def _transaction_held_open(database_url: str) -> Iterator[None]:
    """Another session that always reads in some transaction, each for a while."""
    stop = threading.Event()

    def hold() -> None:
        with psycopg.connect(database_url) as connection:
            while not stop.is_set():
                connection.execute("SELECT count(*) FROM recommendations WHERE kind = 'popular'")
                stop.wait(HELD_SECONDS)
                connection.commit()

    with ThreadPoolExecutor(1) as thread:
        holding = thread.submit(hold)
        try:
            yield
        finally:
            stop.set()
        holding.result()


def _time_rollbacks(database_url: str) -> list[float]:
    """Seconds for each of some rollbacks to a named version, connecting included."""
    names = [info.name for info in list_versions(database_url)][:2]
    seconds = []
    for number in range(ROLLBACKS):
        started = time.perf_counter()
        rollback(database_url, names[(number + 1) % 2])
        seconds.append(time.perf_counter() - started)
    return seconds
