"""What a backtest and a search for settings read, and where they may write, by their options."""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from contract.s3_layout import EVENTS_PREFIX
from training.catalogue import Catalogue, read_catalogue
from training.errors import BadInputError
from training.events import read_events
from training.import_events import ImportReport, import_events
from training.importing.options import add_reading_options, pair
from training.interactions import Interactions
from training.moments import format_moment, parse_moment
from training.settings import Hyperparameters
from training.settings_sources import Source, settings_of_file
from training.storage import Folder


@dataclass(frozen=True)
class ReadSources:
    """Events up to `as_of`, and what the shop sells, where the sources tell."""

    sources: Sequence[str]
    report: ImportReport
    events: Interactions
    catalogue: Catalogue | None

    @property
    def catalogue_version(self) -> str | None:
        """Stands for what the catalogue holds."""
        return self.report.catalogue.info.version if self.report.catalogue else None

    def document(self) -> dict[str, Any]:
        """How much there is of what."""
        return {
            "sources": list(self.sources),
            "events": len(self.events),
            "users": len(self.events.user_ids),
            "items": len(self.events.item_ids),
            "from": format_moment(int(self.events.timestamps[0])),
            "to": format_moment(int(self.events.timestamps[-1])),
            "duplicates": self.report.duplicates,
            "rejected": self.report.rejected_rows,
            "catalogue": self.catalogue_version,
        }


def read_sources(options: argparse.Namespace, settings: Hyperparameters) -> ReadSources:
    """The sources of `add_source_options`, read as an import reads them, but into a folder that doesn't stay.

    Raises BadInputError where they can't be understood, or hold no event up to `as_of`.
    """
    with tempfile.TemporaryDirectory(prefix="backtest-") as temporary:
        bucket = Path(temporary)
        report = _imported(options, bucket)
        as_of = parse_moment(settings.as_of) if settings.as_of else None
        return ReadSources(
            sources=options.sources,
            report=report,
            events=Interactions.from_table(read_events(bucket / EVENTS_PREFIX, as_of), settings.targets),
            catalogue=_catalogue(report, bucket),
        )


def _catalogue(report: ImportReport, bucket: Path) -> Catalogue | None:
    return read_catalogue(Folder(bucket), report.catalogue.info.version) if report.catalogue else None


def _imported(options: argparse.Namespace, bucket: Path) -> ImportReport:
    try:
        return import_events(
            options.sources,
            bucket,
            catalogue=options.catalogue,
            columns=dict(options.column),
            event_types=dict(options.event_type),
            file_format=options.format,
            max_bad_share=options.max_bad_share,
            allow_empty_days=True,
            allow_no_targets=True,
        )
    except BadInputError as error:
        # What it set aside goes with the folder, so nothing may point there.
        lines = [line for line in str(error).splitlines() if str(bucket) not in line]
        if len(lines) == len(str(error).splitlines()):
            raise
        raise BadInputError(
            "\n".join([*lines, "An import keeps all of them: training.import_events"])
        ) from error


def refuse_unwritable(path: Path) -> None:
    """Raise BadInputError before hours are spent on what cannot be kept."""
    if path.is_dir():
        raise BadInputError(f"{path}: is a folder, expected the name of a file to write")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written: {error.strerror}") from error


def written(path: Path, write: Callable[[Path], object]) -> None:
    """Write; raise BadInputError where that fails."""
    try:
        write(path)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written: {error.strerror}") from error


def window_days(options: argparse.Namespace) -> float:
    """The length of a window: `--days`, or what the file of settings says, or the default."""
    days: float = options.days or settings_of_file(options).values.evaluation_days
    return days


def days_given(options: argparse.Namespace) -> list[Source]:
    """What is learnt from is as long as `--days`, where that was given."""
    return [Source("--days", {"evaluation_days": options.days})] if options.days else []


def given(options: argparse.Namespace, *names: str) -> list[Source]:
    """Hyperparameters that a program has options of its own for, where they were given."""
    values = {name: getattr(options, name) for name in names}
    return [
        Source(f"--{name.replace('_', '-')}", {name: value})
        for name, value in values.items()
        if value is not None
    ]


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Events, catalogue, and how they are to be understood."""
    parser.add_argument("sources", nargs="+", metavar="EVENTS", help="what an import reads: files or folders")
    parser.add_argument(
        "--catalogue",
        action="append",
        default=[],
        metavar="SOURCE",
        help="a file or folder of items or categories, which holds no events",
    )
    add_reading_options(parser)
    parser.add_argument(
        "--event-type",
        action="append",
        default=[],
        type=pair,
        metavar="THEIRS=OURS",
        help="what a name of an event means",
    )


def add_days_option(parser: argparse.ArgumentParser) -> None:
    """`--days`, which `window_days` reads."""
    default = Hyperparameters.model_fields["evaluation_days"].default
    parser.add_argument(
        "--days",
        type=positive(float),
        help=f"length of a window (default: evaluation_days of --settings, or {default:g})",
    )


def positive(number: type[int] | type[float]) -> Callable[[str], float]:
    """What reads an option that is a number above 0."""

    def read(text: str) -> float:
        value = number(text)
        if not 0 < value < np.inf:
            raise argparse.ArgumentTypeError(f"{text} isn't above 0")
        return value

    read.__name__ = number.__name__
    return read
