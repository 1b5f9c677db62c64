"""`python -m benchmarks [NAME…]`: benchmarks, then a table of all bars; exit status 1 where one fails.

`make bench` runs all of them but those of `WHEN_NAMED`, which take long and need more than the project has.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from benchmarks import dags, export, import_events, load, metrics, report, simulation, swap
from benchmarks.api import run as api
from benchmarks.bars import Bar, table
from benchmarks.quality import run as quality
from benchmarks.training import run as training
from training.errors import UserError

BENCHMARKS: dict[str, Callable[[], list[Bar]]] = {
    "load": load.run,
    "swap": swap.run,
    "import": import_events.run,
    "export": export.run,
    "report": report.run,
}
WHEN_NAMED: dict[str, Callable[[], list[Bar]]] = {
    "quality": quality.run,
    "training": training.run,
    "api": api.run,
    "metrics": metrics.run,
    "simulation": simulation.run,
    "dags": dags.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run those that are named, or all; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure against peers and limits."
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"{', '.join(BENCHMARKS)} (default: all), {', '.join(WHEN_NAMED)}",
    )
    names = parser.parse_args(arguments).names
    known = {**BENCHMARKS, **WHEN_NAMED}
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(known)}")
    bars: list[Bar] = []
    for name in names or BENCHMARKS:
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            bars += known[name]()
        except UserError as error:
            print(error, file=sys.stderr)
            return 1
    print(table(bars))
    return 0 if all(bar.holds for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
