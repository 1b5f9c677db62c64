"""What a part of the training takes: told when it is done."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger()


@contextmanager
def step(name: str) -> Iterator[None]:
    """Tell the seconds of a block, and the process's peak memory by its end, in MB."""
    started = time.monotonic()
    yield
    log.info("part finished", part=name, seconds=round(time.monotonic() - started, 2), peak_mb=peak_mb())


def peak_mb() -> int:
    """The most memory that this process has held so far, in MB (2²⁰ bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)
