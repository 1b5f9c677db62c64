"""How far a run is: bars on a terminal, elsewhere a line in the log every half a minute."""

import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

import structlog
from tqdm import tqdm

log = structlog.get_logger()

T = TypeVar("T")

EVERY_SECONDS: Final = 30.0


@dataclass
class _Doing:
    what: str
    total: int | None = None
    done: int = 0
    began: float = field(default_factory=time.monotonic)


_stack: list[_Doing] = []
"""What is being done, the whole first, its part last. One thread works; the one that tells only reads."""


@contextmanager
def doing(what: str, total: int | None = None) -> Iterator[_Doing]:
    """Let a heartbeat tell of a block while it lasts."""
    current = _Doing(what, total)
    _stack.append(current)
    try:
        yield current
    finally:
        _stack.remove(current)


def each(items: Collection[T], what: str, unit: str) -> Iterator[T]:
    """The items one by one: a bar of `what` on a terminal, and what a heartbeat counts elsewhere."""
    with doing(what, len(items)) as current:
        for item in tqdm(items, desc=what, unit=unit, leave=False, disable=None):
            yield item
            current.done += 1


@contextmanager
def heartbeat(every: float = EVERY_SECONDS) -> Iterator[None]:
    """Log what is being done every so many seconds, but on a terminal, where bars tell it."""
    if sys.stderr.isatty():
        yield
        return
    over = threading.Event()

    def beat() -> None:
        while not over.wait(every):
            _tell()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _tell() -> None:
    stack = list(_stack)
    if not stack:
        return
    innermost = stack[-1]
    counted = {} if innermost.total is None else {"done": innermost.done, "of": innermost.total}
    log.info(
        "still at work",
        at=" > ".join(current.what for current in stack),
        seconds=round(time.monotonic() - innermost.began),
        **counted,
    )
