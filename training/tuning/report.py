"""What a search tells: lines and tables for people, the tuned settings as TOML, everything as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from training.bootstrap import Interval
from training.commands import aligned
from training.moments import MILLISECONDS_A_DAY, format_moment
from training.settings import Hyperparameters, text_of
from training.settings_listing import commented, toml_of
from training.split import Window
from training.tuning.measurements import OF_THE_RUN
from training.tuning.objective import Comparison
from training.tuning.periods import Periods
from training.tuning.search import Search
from training.tuning.study import completed, ended
from training.tuning.verdict import Verdict


@dataclass(frozen=True)
class Report:
    """A search that has ended, and its judgement."""

    search: Search
    periods: Periods
    verdict: Verdict
    events: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """As `--report` has it."""
        return {
            "events": self.events,
            "notes": list(self.periods.notes),
            "tuning_windows": [_moments(window) for window in self.periods.tuning],
            "test_windows": [_moments(window) for window in self.periods.test],
            "seconds": round(self.search.seconds(), 1),
            "settings": {
                name: {
                    "start": getattr(self.search.start, name),
                    "best": self.verdict.best.params[name],
                    "tuned": getattr(self.verdict.chosen, name),
                }
                for name in self.search.space
            },
            "verdict": self.verdict.document(),
            "trials": [self.search.told(trial) for trial in ended(self.search.study)],
        }

    def toml(self) -> str:
        """The chosen settings, for `--settings`: what was searched, and what else isn't a default."""
        judged = "\n".join(f"# {line}" for line in self._judged())
        header = "\n#\n".join([commented(self._heading()), commented(self._sentence()), judged])
        names = [name for name in Hyperparameters.model_fields if self._belongs(name)]
        notes = {
            name: f"before: {text_of(getattr(self.search.start, name))}"
            for name in self.search.space
            if getattr(self.verdict.chosen, name) != getattr(self.search.start, name)
        }
        return f"{header}\n\n{toml_of(self.verdict.chosen, names=names, notes=notes)}\n"

    def told(self) -> str:
        """For a terminal: settings, metrics, the verdict in one sentence."""
        confirmation = _metrics_table(self.verdict.confirmation)
        test = _metrics_table(self.verdict.test)
        return "\n\n".join(
            [
                self._settings_table(),
                f"The best trial against the start, {self._confirming()}; 95 % intervals\n\n{confirmation}",
                f"The same for everybody on the test windows, {_span(self.periods.test)}\n\n{test}",
                self._sentence(),
            ]
        )

    def _heading(self) -> str:
        trials = ended(self.search.study)
        return (
            f"By training.tune: {len(trials)} trials, {len(completed(self.search.study))} of them on all "
            f"{len(self.periods.tuning)} tuning windows, {_span(self.periods.tuning)}"
        )

    def _sentence(self) -> str:
        reason = self.verdict.reason
        return f"{reason[0].upper()}{reason[1:]}."

    def _judged(self) -> list[str]:
        """The differences on the test windows, a line each."""
        return [
            f"The best trial on the test windows, {_span(self.periods.test)},",
            "against the start, the difference with its 95 % interval:",
            *(
                f"  {protocol} {name}: {tuned:.4f} against {start:.4f}, {_told(difference)}"
                for protocol, metrics in self.verdict.test.metrics.items()
                for name, (start, tuned, difference) in metrics.items()
            ),
        ]

    def _belongs(self, name: str) -> bool:
        default = Hyperparameters.model_fields[name].default
        is_set = getattr(self.search.start, name) != default and name not in OF_THE_RUN
        return name in self.search.space or is_set

    def _confirming(self) -> str:
        return (
            f"for {len(self.search.halves.confirming):,} users who had no say in the choice, "
            f"{_span(self.periods.tuning)}"
        )

    def _settings_table(self) -> str:
        rows = [
            [name, *(f"{value:.4g}" if isinstance(value, float) else str(value) for value in values)]
            for name in self.search.space
            for values in [
                (
                    getattr(self.search.start, name),
                    self.verdict.best.params[name],
                    getattr(self.verdict.chosen, name),
                )
            ]
        ]
        return aligned([["setting", "start", "best trial", "tuned"], *rows])


def trial_line(search: Search, trial: FrozenTrial) -> str:
    """One line about a trial that ended."""
    told = search.told(trial)
    done = "pruned" if trial.state is TrialState.PRUNED else "done"
    settings = " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in trial.params.items()
    )
    measured = f"{done} after {told['windows']} of {len(search.windows)} windows, {told['seconds']:.1f} s"
    return f"trial {trial.number}: score {told['score']:.4f}, {measured}: {settings}"


def _metrics_table(comparison: Comparison) -> str:
    rows = [
        [protocol, name, f"{start:.4f}", f"{tuned:.4f}", _told(difference)]
        for protocol, metrics in comparison.metrics.items()
        for name, (start, tuned, difference) in metrics.items()
    ]
    score = comparison.score
    both = ["both", "score", "1", f"{1 + score.value:.4f}", _told(score)]
    return aligned([["protocol", "metric", "start", "best trial", "difference"], *rows, both])


def _told(interval: Interval) -> str:
    return f"{interval.value:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"


def _span(windows: Sequence[Window]) -> str:
    days = (windows[0].end - windows[0].start) / MILLISECONDS_A_DAY
    return (
        f"{len(windows)} of {days:.6g} days from {format_moment(windows[-1].start)} "
        f"to {format_moment(windows[0].end)}"
    )


def _moments(window: Window) -> dict[str, str]:
    return {"from": format_moment(window.start), "to": format_moment(window.end)}
