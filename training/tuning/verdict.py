"""Whether what a search found is taken: only where it is surely better than what it started from.

1. Users who had no say in the choice confirm it: the 95 % interval of their paired difference lies above
   zero. A study that goes on and comes to other winners asks them more than once; p-values are then
   adjusted for all that were asked (Holm), so that luck doesn't get better chances by going on.
2. In neither protocol is it surely worse, with them or on the test windows, which no choice was made by.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from training.bootstrap import CONFIDENCE, Interval, holm
from training.settings import Hyperparameters
from training.split import Window
from training.tuning.measurements import Judge
from training.tuning.objective import OBJECTIVE, Comparison
from training.tuning.search import Search
from training.tuning.study import ended

LEVEL = (1 - CONFIDENCE) / 2
"""Of the one-sided test that an interval above zero is."""
_CONFIRMED = "confirmed"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the search found, how it did, and whether it is taken."""

    taken: bool
    reason: str
    """One sentence, with the figures."""
    best: FrozenTrial
    chosen: Hyperparameters
    """What was found where it is taken, or else the start."""
    confirmation: Comparison
    """Of what was found against the start, by the users who confirm."""
    test: Comparison
    """The same by everybody on the test windows."""

    def document(self) -> dict[str, Any]:
        """For a report."""
        return {
            "taken": self.taken,
            "reason": self.reason,
            "best_trial": self.best.number,
            "confirmation": told_comparison(self.confirmation),
            "test": told_comparison(self.test),
        }


def judge(search: Search, later: Judge, test: Sequence[Window]) -> Verdict:
    """Ask the users who confirm, then judge on the test windows; `later` is who knows these."""
    best = search.best()
    found = search.settings(best)
    confirmation = Comparison(
        search.halves.confirmed_by(search.judge.measured_all(found, search.windows)),
        search.halves.confirmed_by(search.judge.measured_all(search.start, search.windows)),
        search.seed,
    )
    on_test = Comparison(later.measured_all(found, test), later.measured_all(search.start, test), search.seed)
    is_start = best.number == 0
    adjusted = 1.0 if is_start else _adjusted(search.study, best, confirmation)
    objection = "" if is_start else _objection(confirmation, on_test, adjusted)
    taken = not is_start and not objection
    return Verdict(
        taken=taken,
        reason=_start_is_best(search) if is_start else objection or _praise(best, confirmation, on_test),
        best=best,
        chosen=found if taken else search.start,
        confirmation=confirmation,
        test=on_test,
    )


def told_comparison(comparison: Comparison) -> dict[str, Any]:
    """Figures of both, and their differences with intervals."""
    return {
        "users": len(comparison.start),
        "score": asdict(comparison.score),
        **{
            protocol: {
                name: {"start": start, "tuned": tuned, "difference": asdict(difference)}
                for name, (start, tuned, difference) in metrics.items()
            }
            for protocol, metrics in comparison.metrics.items()
        },
    }


def _adjusted(study: optuna.Study, best: FrozenTrial, confirmation: Comparison) -> float:
    """The p-value of the best trial, adjusted for all winners that these users were ever asked about."""
    asked: Mapping[str, float] = study.user_attrs.get(_CONFIRMED, {})
    asked = {**asked, str(best.number): confirmation.p_value}
    study.set_user_attr(_CONFIRMED, asked)
    return holm(asked)[str(best.number)]


def _objection(confirmation: Comparison, test: Comparison, adjusted: float) -> str:
    kept = "the settings stay as they were"
    score = _told(confirmation.score)
    if confirmation.score.low <= 0:
        return (
            f"{kept}: to the users who had no say in the choice the best trial is worth {score}, "
            "which may be noise"
        )
    if adjusted >= LEVEL:
        return (
            f"{kept}: the best trial is worth {score} to the users who had no say in the choice, but they "
            f"were asked about several, and then that may be noise (p = {adjusted:.3f} after Holm)"
        )
    for where, comparison in {"to users who had no say": confirmation, "on the test windows": test}.items():
        for protocol in comparison.surely_worse:
            start, tuned, _ = comparison.metrics[protocol][OBJECTIVE]
            return (
                f"{kept}: the best trial is surely worse in {protocol} {where} "
                f"({OBJECTIVE} {tuned:.4f} against {start:.4f})"
            )
    return ""


def _start_is_best(search: Search) -> str:
    others = len(ended(search.study)) - 1
    why = f"none of {others} other trials was better" if others else "no other trial was made"
    return f"the settings stay as they were: {why}"


def _praise(best: FrozenTrial, confirmation: Comparison, test: Comparison) -> str:
    return (
        f"the settings of trial {best.number} are taken: to the users who had no say in the choice they are "
        f"worth {_told(confirmation.score)}, on the untouched test windows {_told(test.score)}"
    )


def _told(score: Interval) -> str:
    return f"{score.value:+.1%} (95 % interval {score.low:+.1%} to {score.high:+.1%})"
