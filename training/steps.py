"""What the steps of a training take: told when they are done."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from training.progress import doing

log = structlog.get_logger()


@dataclass
class Steps:
    """How long each step of a run took, in seconds, by name."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a block, and tell that it began and ended."""
        log.info("step started", step=name)
        started = time.monotonic()
        with doing(name):
            yield
        self.seconds[name] = time.monotonic() - started
        log.info("step finished", step=name, seconds=round(self.seconds[name], 2))


@contextmanager
def part(name: str) -> Iterator[None]:
    """Tell the seconds of a part of a step, and the process's peak memory by its end, in MB."""
    started = time.monotonic()
    with doing(name):
        yield
    log.info("part finished", part=name, seconds=round(time.monotonic() - started, 2), peak_mb=peak_mb())


def peak_mb() -> int:
    """The most memory that this process has held so far, in MB (2²⁰ bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)
