"""Trial by trial: the tree-structured Parzen estimator proposes, windows judge, what lags behind is pruned.

Bergstra et al.: Algorithms for hyper-parameter optimization, NeurIPS 2011, as Optuna has it. A trial is
measured window by window; where it is below the median of the others after one, the rest is saved.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import optuna
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from training.settings import Hyperparameters
from training.split import Window
from training.tuning.measurements import Judge, Measured
from training.tuning.objective import Halves, scores
from training.tuning.space import Space, values_of, with_values
from training.tuning.study import completed, ended

SECONDS = "seconds"
RANDOM_TRIALS = 4
"""So many are drawn at random, the start among them; few, as most of what is random is bad."""
UNPRUNED_TRIALS = 3
"""So many are measured to their end before there is a median to prune by."""


@dataclass(frozen=True)
class Limits:
    """When a search ends."""

    seconds: float
    """Spent on trials, those before an interruption included."""
    trials: int | None = None


@dataclass(frozen=True)
class Search:
    """A search from a start on windows before those that judge its outcome."""

    study: optuna.Study
    space: Space
    start: Hyperparameters
    judge: Judge
    windows: Sequence[Window]
    halves: Halves
    seed: int

    def run(self, limits: Limits, on_trial: Callable[[FrozenTrial], None]) -> None:
        """Begin with the start, then try others within the limits; `on_trial` is told of each that ended."""
        if not ended(self.study):
            self._add_start()
            on_trial(ended(self.study)[0])
        while self._may_go_on(limits):
            self._try_one()
            on_trial(ended(self.study)[-1])

    def settings(self, trial: FrozenTrial) -> Hyperparameters:
        """What a trial measured."""
        return with_values(self.start, trial.params)

    def best(self) -> FrozenTrial:
        """The complete trial with the highest score; of equal ones the first, so the start needs a better."""
        return max(completed(self.study), key=lambda trial: (trial.value, -trial.number))

    def told(self, trial: FrozenTrial) -> dict[str, Any]:
        """A trial that ended, for people; of the score 1 is the start's on the same windows."""
        last = max(trial.intermediate_values)
        starts = ended(self.study)[0].intermediate_values[last]
        return {
            "number": trial.number,
            "state": trial.state.name.lower(),
            "score": trial.intermediate_values[last] / (starts or 1.0),
            "windows": last + 1,
            "seconds": round(trial.user_attrs[SECONDS], 1),
            "settings": trial.params,
        }

    def seconds(self) -> float:
        """Spent on all trials."""
        return float(sum(trial.user_attrs[SECONDS] for trial in ended(self.study)))

    def _may_go_on(self, limits: Limits) -> bool:
        if limits.trials is not None and len(ended(self.study)) >= limits.trials:
            return False
        expected = np.mean([trial.user_attrs[SECONDS] for trial in completed(self.study)])
        return bool(self.seconds() + expected <= limits.seconds)

    def _add_start(self) -> None:
        # Its scores need its own scale, which is known once it was measured on all windows.
        by_window = [self._score(self.start, count) for count in range(1, len(self.windows) + 1)]
        self.study.add_trial(
            create_trial(
                params=values_of(self.start, self.space),
                distributions=dict(self.space),
                value=by_window[-1],
                intermediate_values=dict(enumerate(by_window)),
                user_attrs={SECONDS: self._start.seconds},
            )
        )

    def _try_one(self) -> None:
        # Seeded anew for each trial: a search that was interrupted goes on as it would have.
        self.study.sampler = TPESampler(
            seed=self.seed + len(ended(self.study)), n_startup_trials=RANDOM_TRIALS, multivariate=True
        )
        self.study.pruner = MedianPruner(n_startup_trials=UNPRUNED_TRIALS)
        trial = self.study.ask(dict(self.space))
        state, value = self._measured(trial, with_values(self.start, trial.params))
        self.study.tell(trial, value, state=state)

    def _measured(self, trial: optuna.Trial, settings: Hyperparameters) -> tuple[TrialState, float | None]:
        seconds = 0.0
        value = None
        for number, window in enumerate(self.windows):
            seconds += self.judge.measured(settings, window).seconds
            trial.set_user_attr(SECONDS, seconds)
            value = self._score(settings, number + 1)
            trial.report(value, number)
            if trial.should_prune() and number + 1 < len(self.windows):
                return TrialState.PRUNED, None
        return TrialState.COMPLETE, value

    def _score(self, settings: Hyperparameters, count: int) -> float:
        """Over the first `count` windows, by the users who choose, on the start's scale over all windows."""
        measured = self.halves.chosen_by(self.judge.measured_all(settings, self.windows[:count]))
        return float(scores(measured, self._chosen_start).mean()) if len(measured) else 1.0

    @cached_property
    def _start(self) -> Measured:
        return self.judge.measured_all(self.start, self.windows)

    @cached_property
    def _chosen_start(self) -> Measured:
        return self.halves.chosen_by(self._start)
