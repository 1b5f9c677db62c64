"""Better settings for a shop, where there surely are any: `python -m training.tune EVENTS… --out tuned.toml`.

Trials are judged on windows of days before the last ones; what they find is confirmed by users who had no say
in the choice, then judged on the last windows, which the search never saw. `docs/tuning.md` tells more.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from optuna.trial import FrozenTrial
from tqdm import tqdm

from training.backtest_sources import read_sources, refuse_unwritable, written
from training.errors import TooLittleDataError, UserError
from training.interactions import IntArray
from training.logs import configure_logging
from training.settings import MlflowPlace
from training.split import Window
from training.tuning.interruption import Interrupted, interruptible
from training.tuning.measurements import Judge, Memory
from training.tuning.objective import Halves
from training.tuning.options import asked_of, parser, study_path
from training.tuning.periods import as_if_ended, buyers, split_periods
from training.tuning.report import Report, trial_line
from training.tuning.search import SECONDS, Limits, Search
from training.tuning.study import completed, ended, opened_study
from training.tuning.tracking import tracked
from training.tuning.verdict import judge

FEWEST_BUYERS: Final = 40
"""Who cart or buy within the tuning windows; of fewer, halves of them tell nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, judge, write and tell; the exit status."""
    options = parser().parse_args(arguments)
    try:
        with interruptible():
            text = _run(options)
    except UserError as error:
        sys.stderr.write(f"{' '.join(str(error).splitlines())}\n")
        return 1
    except Interrupted as interruption:
        sys.stderr.write(f"interrupted; the same command goes on from {study_path(options)}\n")
        return 128 + interruption.signal_number
    sys.stdout.write(f"{text}\n")
    return 0


def _run(options: argparse.Namespace) -> str:
    asked = asked_of(options)
    for path in filter(None, (options.out, options.report, study_path(options))):
        refuse_unwritable(path)
    read = read_sources(options, asked.start)
    periods = split_periods(read.events, days=asked.days, tuning=asked.windows, test=asked.test_windows)
    for note in periods.notes:
        _tell(note)
    with opened_study(study_path(options), asked.identity(read, periods)) as study:
        memory = Memory(study_path(options))
        known = as_if_ended(read.events, periods.test_start)
        search = Search(
            study=study,
            space=asked.space,
            start=asked.start,
            judge=Judge(known, read.catalogue, asked.max_users, asked.start.seed, memory),
            windows=periods.tuning,
            halves=_halves(buyers(known, periods.tuning), asked.start.seed),
            seed=asked.start.seed,
        )
        with tracked(MlflowPlace(), study, search) as tracking:
            _search(search, asked.limits, tracking.log_trials if tracking else lambda _: None)
            _tell_what_comes(search, periods.test)
            later = Judge(read.events, read.catalogue, asked.max_users, asked.start.seed, memory)
            verdict = judge(search, later, periods.test)
            report = Report(search, periods, verdict, read.document())
            _write(report, options)
            if tracking:
                tracking.log_report(report)
    return report.told()


def _search(search: Search, limits: Limits, record: Callable[[Search], None]) -> None:
    """Tell of each trial, and record it."""
    if before := len(ended(search.study)):
        _tell(f"going on after {before} trials, {search.seconds():.0f} s")
    record(search)
    with tqdm(
        total=limits.trials, initial=before, desc="tuning", unit="trial", disable=None, leave=False
    ) as bar:

        def on_trial(trial: FrozenTrial) -> None:
            _tell(trial_line(search, trial))
            bar.update()
            bar.set_postfix(best=f"{search.best().value:.4f}")
            record(search)

        search.run(limits, on_trial)


def _tell_what_comes(search: Search, test: Sequence[Window]) -> None:
    """The judgement comes on top of the time limit."""
    a_trial = np.mean([trial.user_attrs[SECONDS] for trial in completed(search.study)])
    fits = 1 if search.best().number == 0 else 2
    seconds = fits * a_trial * len(test) / len(search.windows)
    _tell(
        f"the search took {search.seconds():.0f} s; "
        f"the judgement on the test windows takes about {seconds:.0f} s more"
    )


def _halves(users: IntArray, seed: int) -> Halves:
    if len(users) < FEWEST_BUYERS:
        raise TooLittleDataError(
            f"{len(users)} users cart or buy within the tuning windows, too few to tell settings apart: "
            f"at least {FEWEST_BUYERS} are needed; name more --windows or longer --days"
        )
    return Halves.of(users, seed)


def _write(report: Report, options: argparse.Namespace) -> None:
    written(options.out, lambda path: path.write_text(report.toml(), encoding="utf-8"))
    if options.report:
        text = json.dumps(report.document(), indent=2, ensure_ascii=False, allow_nan=False)
        written(options.report, lambda path: path.write_text(f"{text}\n", encoding="utf-8"))


def _tell(line: str) -> None:
    """To standard error, above a progress bar where there is one."""
    tqdm.write(line, file=sys.stderr)


if __name__ == "__main__":
    configure_logging()
    sys.exit(main())
