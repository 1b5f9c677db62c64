"""What a search is asked: its options, and what becomes of them."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.backtest_sources import (
    ReadSources,
    add_days_option,
    add_source_options,
    days_given,
    given,
    positive,
    window_days,
)
from training.moments import format_moment
from training.settings import Hyperparameters
from training.settings_sources import add_settings_options, settings_of
from training.split import Window
from training.tuning.measurements import OF_THE_RUN
from training.tuning.periods import Periods
from training.tuning.search import Limits
from training.tuning.space import Space, search_space


@dataclass(frozen=True)
class Asked:
    """What is to be searched, on what, and how long."""

    start: Hyperparameters
    space: Space
    days: float
    windows: int
    test_windows: int
    max_users: int
    limits: Limits

    def identity(self, read: ReadSources, periods: Periods) -> dict[str, str]:
        """What a study must be of for another run to go on with it."""
        hyperparameters = {
            name: text for name, text in self.start.strings().items() if name not in OF_THE_RUN
        }
        return {
            "events": read.report.source,
            "last event": format_moment(int(read.events.timestamps[-1])),
            "catalogue": read.catalogue_version or "none",
            "tuning windows": _told(periods.tuning),
            "test windows": _told(periods.test),
            "users a window": str(self.max_users),
            "ranges": ", ".join(f"{name} {each}" for name, each in self.space.items()),
            **hyperparameters,
        }


def asked_of(options: argparse.Namespace) -> Asked:
    """What the options ask. Raises BadInputError that names what can't be."""
    own = given(options, "seed", "threads", "targets", "as_of")
    start = settings_of(options, below_set=days_given(options), above_set=own).values
    return Asked(
        start=start,
        space=search_space(start, options.only),
        days=window_days(options),
        windows=options.windows,
        test_windows=options.test_windows,
        max_users=options.max_users or start.evaluation_max_users,
        limits=Limits(options.time_limit, options.trials),
    )


def study_path(options: argparse.Namespace) -> Path:
    """Where the study is kept."""
    path: Path = options.study or options.out.with_name(f"{options.out.name}.study")
    return path


def _told(windows: Sequence[Window]) -> str:
    return ", ".join(f"{format_moment(each.start)} to {format_moment(each.end)}" for each in windows)


def parser() -> argparse.ArgumentParser:
    """Of `python -m training.tune`."""
    options = argparse.ArgumentParser(
        prog="python -m training.tune",
        description="Search better hyperparameters on past days, and judge them on later ones.",
        epilog="Interrupted, the same command goes on where it was.",
    )
    add_source_options(options)
    options.add_argument("--out", required=True, type=Path, metavar="FILE", help="the settings, as TOML")
    options.add_argument("--report", type=Path, metavar="FILE", help="all figures, as JSON")
    options.add_argument(
        "--study", type=Path, metavar="FILE", help="where the search is kept (default: OUT.study)"
    )
    add_settings_options(options)
    options.add_argument(
        "--only", type=_names, default=(), metavar="A,B", help="search these hyperparameters alone"
    )
    add_days_option(options)
    options.add_argument(
        "--windows",
        type=positive(int),
        default=3,
        metavar="N",
        help="windows to search by (default: %(default)s)",
    )
    options.add_argument(
        "--test-windows",
        type=positive(int),
        default=3,
        metavar="N",
        help="the last windows, which the search never sees (default: %(default)s)",
    )
    options.add_argument(
        "--time-limit",
        type=positive(float),
        default=600.0,
        metavar="SECONDS",
        help="of the search, without the judgement (default: %(default)g)",
    )
    options.add_argument(
        "--trials", type=positive(int), metavar="N", help="at most so many, the start included"
    )
    options.add_argument(
        "--max-users",
        type=positive(int),
        metavar="N",
        help="a random sample of users a window (default: evaluation_max_users)",
    )
    options.add_argument("--targets", metavar="A,B", help="kinds of events to be foretold")
    options.add_argument("--as-of", metavar="T", help="leave out events after this moment (ISO 8601)")
    options.add_argument("--seed", metavar="N", help="of everything random")
    options.add_argument("--threads", metavar="N", help="threads to compute with (default: all)")
    return options


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.split(","))))
