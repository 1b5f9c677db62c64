"""`python -m benchmarks [NAME…]`: benchmarks, then a table of all bars; exit status 1 where one fails.

`make bench` runs all of them.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from benchmarks import export, import_events, load, swap
from benchmarks.bars import Bar, table

BENCHMARKS: dict[str, Callable[[], list[Bar]]] = {
    "load": load.run,
    "swap": swap.run,
    "import": import_events.run,
    "export": export.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run those that are named, or all; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure against peers and limits."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHMARKS)}; default: all")
    names = parser.parse_args(arguments).names
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    bars: list[Bar] = []
    for name in names or BENCHMARKS:
        print(f"{name} …", file=sys.stderr, flush=True)
        bars += BENCHMARKS[name]()
    print(table(bars))
    return 0 if all(bar.holds for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
