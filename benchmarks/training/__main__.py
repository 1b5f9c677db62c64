"""`python -m benchmarks.training [--sizes 1,3,10,30] [--no-peer] [--turns N]`: what a whole retrain takes.

Prints a table of its parts as Markdown and the bars; exit status 1 where a bar doesn't hold.
"""

import argparse
import sys
from collections.abc import Sequence

from benchmarks.bars import table
from benchmarks.training.run import SIZES, Asked, measure_training
from training.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, tell about it; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        bars = measure_training(Asked(millions=options.sizes, peer=options.peer, turns=options.turns))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\n{table(bars)}")
    return 0 if all(bar.holds for bar in bars) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description="Measure a whole retrain, against RecTools and as a shop grows.",
    )
    sizes = ",".join(f"{size:g}" for size in SIZES)
    parser.add_argument(
        "--sizes", type=_sizes, default=SIZES, metavar="N,…", help=f"millions of events (default: {sizes})"
    )
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="ours alone")
    parser.add_argument(
        "--turns",
        type=_at_least_one,
        default=1,
        help="of ours and the peer on the smallest shop (default: %(default)s)",
    )
    return parser


def _sizes(text: str) -> tuple[float, ...]:
    sizes = tuple(float(part) for part in text.split(","))
    if min(sizes) < 0.05:
        raise argparse.ArgumentTypeError(
            f"{min(sizes):g} million events are too few; at least 0.05 are needed"
        )
    return sizes


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is too few; at least 1 is needed")
    return number


if __name__ == "__main__":
    sys.exit(main())
