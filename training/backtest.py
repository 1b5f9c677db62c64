"""How good the recommendations would have been: `python -m training.backtest EVENTS… --protocol P --out F`.

Windows end at the last event and step back. For each the recipe learns from what came before, answers
everybody who carted or bought something in the window, and is judged by that (`training.evaluation`).
The same events, options and code give the same figures and lists, with any number of threads.

`docs/backtest.md` tells what each figure means.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.backtest_sources import (
    add_days_option,
    add_source_options,
    days_given,
    given,
    positive,
    read_sources,
    refuse_unwritable,
    window_days,
    written,
)
from training.bootstrap import paired_difference
from training.catalogue import Catalogue
from training.commands import aligned
from training.errors import BadInputError, TooLittleDataError, UserError
from training.evaluation import Answered, evaluate
from training.interactions import Interactions
from training.judged import PROTOCOLS, SERVED, Protocol, Rows, Summary
from training.lists import Lists
from training.logs import configure_logging
from training.moments import MILLISECONDS_A_DAY, format_moment
from training.recipe import fit_served
from training.served import Served
from training.settings import Hyperparameters
from training.settings_sources import add_settings_options, settings_of
from training.split import Window, windows

DEFAULT_MODELS: Final = (SERVED, "popular")
TOLD_METRICS: Final = ("recall@10", "precision@10", "ndcg@10")

LISTS_FILE_SCHEMA: Final = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("window", pa.int32(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
    ]
)
"""One row an item shown: `kind` is `served` or `discovery`, `window` 0 the last, `rank` from 1."""
_LISTS_AT_ONCE: Final = 100_000

Document = dict[str, Any]
Learn = Callable[[Interactions, int], Served[Lists]]
"""From events, all of them before a moment (UTC ms), to what is served then."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be measured."""

    protocol: Protocol
    days: float = 14
    """Length of a window."""
    windows: int = 3
    models: tuple[str, ...] = DEFAULT_MODELS
    max_users: int | None = None
    """A random sample of so many users a window; None takes all."""
    seed: int = 0
    """Of the sample and of the intervals."""


def backtest(
    events: Interactions,
    asked: Asked,
    *,
    learn: Learn,
    on_answer: Callable[[Answered], None] | None = None,
) -> Document:
    """Judge models on the last windows of events.

    Raises TooLittleDataError where no window can be held out, or where nobody has a target event in any;
    BadInputError for an unknown model.
    """
    end = int(events.timestamps[-1]) + 1
    held_out = windows(events, days=asked.days, count=asked.windows, end=end)
    refuse_without_truth(events, held_out)
    chosen: list[Document] = []

    def served_at(window: Window) -> Served[Lists]:
        served = learn(events.before(window.start), window.start)
        chosen.append(
            {
                "exclude_purchased": served.exclude_purchased,
                "blend_weights": asdict(served.weights),
                **served.notes,
            }
        )
        return served

    evaluation = evaluate(
        held_out,
        events=events,
        served_at=served_at,
        max_users=asked.max_users,
        seed=asked.seed,
        models=asked.models,
        protocols=(asked.protocol,),
        on_answer=on_answer,
    )
    by_model = evaluation.judged[asked.protocol]
    first, *others = asked.models
    counts = np.bincount(by_model[first].rows.windows, minlength=len(held_out))
    users: list[int] = counts.tolist()
    return {
        "protocol": asked.protocol,
        "days": _days(held_out[0]),
        "days_asked": asked.days,
        "windows_asked": asked.windows,
        "max_users": asked.max_users,
        "seed": asked.seed,
        "targets": list(events.targets),
        "as_of": format_moment(end - 1),
        "notes": _notes(asked, held_out, users),
        "windows": [
            {"from": format_moment(window.start), "to": format_moment(window.end), "users": n, "learnt": how}
            for window, n, how in zip(held_out, users, chosen, strict=True)
        ],
        "models": {name: judged.summary(asked.seed) for name, judged in by_model.items()},
        "differences": {
            f"{first} - {other}": _difference(by_model[first].rows, by_model[other].rows, asked.seed)
            for other in others
        },
    }


def _difference(ours: Rows, theirs: Rows, seed: int) -> Document:
    """Of each metric, paired by user and window: what two models have in common doesn't blur it."""
    return {
        metric: asdict(paired_difference(values, theirs.values[metric], ours.users, seed=seed))
        for metric, values in ours.values.items()
    }


def refuse_without_truth(events: Interactions, held_out: Sequence[Window]) -> None:
    """Raise TooLittleDataError where nobody has a target event in any window."""
    inside = events.between(held_out[-1].start, held_out[0].end)
    if inside.is_target.any():
        return
    kinds = ", ".join(
        name for number, name in enumerate(events.event_type_names) if number in inside.event_types
    )
    raise TooLittleDataError(
        f"nobody has {' or '.join(events.targets)} in the days held out, "
        f"{format_moment(held_out[-1].start)} to {format_moment(held_out[0].end)}: there is nothing to judge "
        f"by. The kinds of events there are {kinds}: name others with --targets, or say what they mean with "
        "--event-type THEIRS=OURS"
    )


def _days(window: Window) -> float:
    return round((window.end - window.start) / MILLISECONDS_A_DAY, 6)


def _notes(asked: Asked, held_out: Sequence[Window], users: Sequence[int]) -> list[str]:
    notes = []
    days = _days(held_out[0])
    if len(held_out) < asked.windows or days < asked.days:
        notes.append(
            f"the events span too little for {asked.windows} windows of {asked.days:g} days: "
            f"there are {len(held_out)} of {days:g} days, as half of the span is kept to learn from"
        )
    for window, n in zip(held_out, users, strict=True):
        if not n:
            notes.append(
                f"nobody has a target event from {format_moment(window.start)} to "
                f"{format_moment(window.end)}: this window counts for nothing"
            )
    return notes


class ListsFile:
    """Parquet of the lists that were served, as `LISTS_FILE_SCHEMA` has them, written as they come."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, LISTS_FILE_SCHEMA, compression="zstd")
        self._answered: list[Answered] = []

    def add(self, answered: Answered) -> None:
        """One list; those of other models than what is served are left out."""
        if answered.model == SERVED:
            self._answered.append(answered)
        if len(self._answered) >= _LISTS_AT_ONCE:
            self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._write()
        self._writer.close()

    def _write(self) -> None:
        rows = [
            (each.kind, each.window, each.user_id, rank, item)
            for each in self._answered
            for rank, item in enumerate(each.items, start=1)
        ]
        columns = zip(*rows, strict=True) if rows else ([] for _ in LISTS_FILE_SCHEMA)
        arrays = [
            pa.array(column, field.type) for column, field in zip(columns, LISTS_FILE_SCHEMA, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=LISTS_FILE_SCHEMA))
        self._answered.clear()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and tell about it; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        document = _run(options)
    except UserError as error:
        sys.stderr.write(f"{' '.join(str(error).splitlines())}\n")
        return 1
    for note in document["notes"]:
        sys.stderr.write(f"{note}\n")
    sys.stdout.write(f"{told(document)}\n")
    return 0


def _run(options: argparse.Namespace) -> Document:
    settings = _settings(options)
    models = tuple(dict.fromkeys(options.models))
    if options.recommendations and SERVED not in models:
        raise BadInputError(f"--recommendations holds lists of {SERVED!r}: name it in --models, too")
    for path in filter(None, (options.out, options.recommendations)):
        refuse_unwritable(path)
    asked = Asked(
        protocol=options.protocol,
        days=window_days(options),
        windows=options.windows,
        models=models,
        max_users=options.max_users,
        seed=settings.seed,
    )
    read = read_sources(options, settings)
    learn = _learner(settings, read.catalogue)
    if options.recommendations:
        document = _with_lists(options.recommendations, read.events, asked, learn)
    else:
        document = backtest(read.events, asked, learn=learn)
    document = {**document, "events": read.document()}
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    written(options.out, lambda path: path.write_text(f"{text}\n"))
    return document


def _with_lists(path: Path, events: Interactions, asked: Asked, learn: Learn) -> Document:
    """The lists are written whole, or not at all."""
    with tempfile.TemporaryDirectory(prefix="backtest-") as temporary:
        lists = Path(temporary) / "lists.parquet"
        with ListsFile(lists) as file:
            document = backtest(events, asked, learn=learn, on_answer=file.add)
        written(path, lambda path: shutil.copyfile(lists, path))
    return document


def _settings(options: argparse.Namespace) -> Hyperparameters:
    own = given(options, "seed", "threads", "targets", "as_of")
    # What is learnt from is as long as what is judged by, unless --set tells otherwise.
    return settings_of(options, below_set=days_given(options), above_set=own).values


def _learner(settings: Hyperparameters, catalogue: Catalogue | None) -> Learn:
    def learn(events: Interactions, now: int) -> Served[Lists]:
        return fit_served(events, now=now, settings=settings, catalogue=catalogue)

    return learn


def told(document: Document) -> str:
    """The figures for people."""
    users = [window["users"] for window in document["windows"]]
    headings = ["model", "users", *TOLD_METRICS, f"discovery {TOLD_METRICS[0]}"]
    rows = [_told_model(name, summary) for name, summary in document["models"].items()]
    for name, metrics in document["differences"].items():
        rows.append([name, "", *(_told_interval(metrics[metric], "+.4f") for metric in TOLD_METRICS), ""])
    return (
        f"{document['protocol']}: {sum(users):,} users in {len(users)} windows of {document['days']:g} days "
        f"up to {document['as_of']}; 95 % intervals\n\n{aligned([headings, *rows])}"
    )


def _told_model(name: str, summary: Summary) -> list[str]:
    metrics = [_told_interval(summary.get(metric)) for metric in TOLD_METRICS]
    return [
        name,
        f"{summary['users']:,}",
        *metrics,
        _told_interval(summary["discovery"].get(TOLD_METRICS[0])),
    ]


def _told_interval(interval: Document | None, form: str = ".4f") -> str:
    if interval is None:
        return "–"
    value, low, high = (format(interval[name], form) for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.backtest",
        description="Measure how good the recommendations would have been on the last days of events.",
    )
    add_source_options(parser)
    parser.add_argument("--protocol", required=True, choices=PROTOCOLS, help="how much of a visitor is known")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the figures, as JSON")
    parser.add_argument(
        "--recommendations", type=Path, metavar="FILE", help="the lists that were judged, as Parquet"
    )
    add_days_option(parser)
    parser.add_argument(
        "--windows", type=positive(int), default=3, metavar="N", help="how many (default: %(default)s)"
    )
    parser.add_argument(
        "--models",
        type=_names,
        default=DEFAULT_MODELS,
        metavar="A,B",
        help=f"what to judge (default: {','.join(DEFAULT_MODELS)})",
    )
    parser.add_argument("--targets", metavar="A,B", help="kinds of events to be foretold")
    parser.add_argument(
        "--max-users",
        type=positive(int),
        metavar="N",
        help="a random sample of users a window (default: all)",
    )
    parser.add_argument("--as-of", metavar="T", help="leave out events after this moment (ISO 8601)")
    parser.add_argument("--seed", metavar="N", help="of everything random")
    parser.add_argument("--threads", metavar="N", help="threads to compute with (default: all)")
    add_settings_options(parser)
    return parser


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} isn't names separated by commas")
    return names


if __name__ == "__main__":
    configure_logging()
    sys.exit(main())
