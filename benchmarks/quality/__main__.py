"""`python -m benchmarks.quality [--events FILE…]`: what is served against external peers on a shop's events.

Prints tables as Markdown and the bars; exit status 1 where a bar doesn't hold.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bars import table
from benchmarks.quality.run import RETAILROCKET, Asked, compare
from training.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, tell about it; the exit status."""
    options = _parser().parse_args(arguments)
    asked = Asked(
        sources=tuple(options.events),
        days=options.days,
        windows=options.windows,
        max_users=options.max_users,
        ablations=tuple(options.ablation),
    )
    try:
        bars = compare(asked)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\n{table(bars)}")
    return 0 if all(bar.holds for bar in bars) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description="Compare what is served with external peers."
    )
    parser.add_argument(
        "--events", nargs="+", type=Path, default=[RETAILROCKET], metavar="FILE", help="a shop's events"
    )
    parser.add_argument("--days", type=float, default=14, help="length of a window (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=6, help="how many (default: %(default)s)")
    parser.add_argument("--max-users", type=int, help="a random sample of users a window (default: all)")
    parser.add_argument(
        "--ablation",
        action="append",
        default=[],
        type=Path,
        metavar="LISTS",
        help="more lists to judge, of the peers' columns, that no bar stands on",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
