"""`make bench`: every benchmark, then a table of all bars; exit status 1 where one does not hold."""

import sys

from benchmarks import load
from benchmarks.bars import Bar, table

BENCHMARKS = (load,)


def main() -> int:
    """Run them all; the exit status."""
    bars: list[Bar] = []
    for benchmark in BENCHMARKS:
        bars += benchmark.run()
    print(table(bars))
    return 0 if all(bar.holds for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
