"""Run a program and measure it: `python -m benchmarks.measured PROGRAM [ARGUMENT…]`.

A process' peak of memory begins with that of the one that started it, so this one stays small and stands
between the benchmark and what it measures.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Measured:
    """What a program took."""

    seconds: float
    peak_mb: float
    """The most memory that it had at any moment: resident, in 10⁶ bytes."""


def measure(*command: str | Path) -> Measured:
    """Run a program in a process of its own. Raises CalledProcessError where it fails."""
    launch = [sys.executable, "-m", "benchmarks.measured", *command]
    done = subprocess.run(launch, stdout=subprocess.PIPE, text=True, check=True)
    return Measured(**json.loads(done.stdout))


def main() -> int:
    """Run what the arguments say, without its standard output; its exit status."""
    started = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    print(json.dumps(asdict(Measured(seconds=seconds, peak_mb=usage.ru_maxrss * _PEAK_UNIT / 1e6))))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
