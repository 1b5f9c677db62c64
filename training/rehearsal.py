"""The recipe on days held out: how good it would have been, and what it learnt before the latest of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from training.checkpoints import Keep
from training.errors import TooLittleDataError
from training.evaluation import DEFAULT_MODELS, evaluate
from training.explanation import ExplainedUser
from training.inputs import Inputs
from training.judged import Evaluation
from training.lists import Lists
from training.moments import MILLISECONDS_A_DAY
from training.served import Served
from training.settings import Hyperparameters
from training.split import Window, windows

log = structlog.get_logger()

REPORTED_MODELS: Final = (*DEFAULT_MODELS, "item_item")


@dataclass(frozen=True)
class Insight:
    """What is told of a fit, beside what it serves."""

    notes: Mapping[str, Any]
    examples: tuple[ExplainedUser, ...]
    category_of: Mapping[str, str]

    @classmethod
    def of(cls, served: Served[Lists]) -> "Insight":
        """Of all that a fit gave."""
        return cls(served.notes, served.examples, served.category_of)

    @classmethod
    def of_nothing(cls) -> "Insight":
        """Where nothing was fitted."""
        return cls({}, (), {})


@dataclass(frozen=True)
class Rehearsal:
    """The windows that the events' span can fill, the latest first, and what came of them."""

    windows: tuple[Window, ...]
    evaluation: Evaluation
    insight: Insight
    """Into what was learnt before the latest window."""


def rehearse(
    inputs: Inputs, fit_before: Callable[[int], Served[Lists]], *, settings: Hyperparameters, keep: Keep
) -> Rehearsal:
    """Let `fit_before` learn before each window, and judge it there by both protocols."""
    held_out = _held_out(inputs, settings)
    if not held_out:
        return Rehearsal((), Evaluation.of_nothing(), Insight.of_nothing())
    latest: list[Insight] = []

    def served_at(window: Window) -> Served[Lists]:
        served = fit_before(window.start)
        if window is held_out[0]:
            latest.append(keep("insight", lambda: Insight.of(served)))
        return served

    evaluation = evaluate(
        held_out,
        events=inputs.events,
        served_at=served_at,
        max_users=settings.evaluation_max_users,
        seed=settings.seed,
        models=REPORTED_MODELS,
        keep=keep,
    )
    # Where an earlier attempt judged the latest window, it kept this, too.
    insight = latest[0] if latest else keep("insight", Insight.of_nothing)
    return Rehearsal(tuple(held_out), evaluation, insight)


def _held_out(inputs: Inputs, settings: Hyperparameters) -> list[Window]:
    days, count = settings.evaluation_days, settings.evaluation_windows
    try:
        held_out = windows(inputs.events, days=days, count=count, end=inputs.now)
    except TooLittleDataError as error:
        log.warning("not evaluated", reason=str(error))
        return []
    filled = (held_out[0].end - held_out[0].start) / MILLISECONDS_A_DAY
    if len(held_out) < count or filled < days:
        log.warning(
            "evaluation shrunk to what the events' span can fill",
            windows=len(held_out),
            windows_asked=count,
            days=round(filled, 2),
            days_asked=days,
        )
    return held_out
