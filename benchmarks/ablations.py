"""What each part of the model is worth: the whole, and the whole without it, on the same users.

`python -m benchmarks.ablations [--events FILE…]` prints a table as Markdown: recall@10, and paired
differences with 95 % intervals. It takes several trainings, so no `make` target runs it.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.quality.run import RETAILROCKET
from contract.events import TARGET_EVENT_TYPES
from contract.s3_layout import EVENTS_PREFIX
from training.bootstrap import Interval, paired_difference
from training.errors import UserError
from training.evaluation import evaluate
from training.events import read_events
from training.import_events import import_events
from training.interactions import Interactions
from training.judged import SERVED, Evaluation, Protocol
from training.logs import configure_logging
from training.recipe import fit_served
from training.settings import Hyperparameters
from training.split import windows

SOURCES = ("own", "similar", "session_knn", "als", "recent_popular")
WHOLE = "the whole"
UNRANKED = "unranked"
METRIC = "recall@10"
COLUMNS: tuple[tuple[Protocol, str], ...] = (("batch", "rows"), ("session", "rows"), ("session", "discovery"))


@dataclass(frozen=True)
class Shown:
    """One line of the table."""

    name: str
    evaluation: Evaluation
    model: str = SERVED


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, tell about it; the exit status."""
    options = _parser().parse_args(arguments)
    configure_logging()
    try:
        events = _events(options.events)
        print(_table(_variants(events, days=options.days, count=options.windows)))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _variants(events: Interactions, *, days: float, count: int) -> list[Shown]:
    def judged(name: str, models: Sequence[str] = (SERVED,), **changed: Any) -> Evaluation:
        print(f"{name} …", file=sys.stderr, flush=True)
        settings = Hyperparameters(evaluation_days=days, **changed)
        held_out = windows(events, days=days, count=count, end=int(events.timestamps[-1]) + 1)
        return evaluate(
            held_out,
            events=events,
            served_at=lambda window: fit_served(
                events.before(window.start), now=window.start, settings=settings
            ),
            max_users=None,
            seed=0,
            models=models,
        )

    whole = judged(WHOLE, (SERVED, UNRANKED))
    return [
        Shown(WHOLE, whole),
        Shown("the blend without stored personal lists", whole, UNRANKED),
        Shown("personal lists by the linear ranker", judged("linear", ranker="linear")),
        Shown("personal lists by the boosted ranker", judged("boosted", ranker="boosted")),
        *(Shown(f"without {source}", judged(source, without_sources=source)) for source in SOURCES),
    ]


def _table(shown: Sequence[Shown]) -> str:
    whole = shown[0].evaluation
    lines = [
        "| | batch | difference | session | difference | discovery in session | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in shown:
        cells = [_cells(each, whole, protocol, kind) for protocol, kind in COLUMNS]
        lines.append(f"| {each.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(shown: Shown, whole: Evaluation, protocol: Protocol, kind: str) -> str:
    ours = getattr(shown.evaluation.judged[protocol][shown.model], kind)
    theirs = getattr(whole.judged[protocol][SERVED], kind)
    if not len(ours):
        return "– | –"  # nobody turned to anything new
    value = ours.values[METRIC].mean()
    if shown.name == WHOLE:
        return f"{value:.4f} |"
    difference = paired_difference(ours.values[METRIC], theirs.values[METRIC], ours.users)
    return f"{value:.4f} | {_told(difference)}"


def _told(interval: Interval) -> str:
    return f"{interval.value:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"


def _events(sources: Sequence[Path]) -> Interactions:
    with tempfile.TemporaryDirectory(prefix="ablations-") as bucket:
        import_events(sources, bucket, allow_empty_days=True)
        return Interactions.from_table(read_events(Path(bucket) / EVENTS_PREFIX), TARGET_EVENT_TYPES)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablations", description="Tell what each part of the model is worth."
    )
    parser.add_argument(
        "--events", nargs="+", type=Path, default=[RETAILROCKET], metavar="FILE", help="a shop's events"
    )
    parser.add_argument("--days", type=float, default=14, help="length of a window (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=3, help="how many (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
