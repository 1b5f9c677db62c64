"""What is searched: the hyperparameters whose fields carry a `Tunable`, from its low to its high."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from training.errors import BadInputError
from training.settings import Hyperparameters, Tunable

Space = Mapping[str, BaseDistribution]
"""Under each name what values it may take."""


def tunables() -> dict[str, Tunable]:
    """The hyperparameters that are worth a search, in their order."""
    return {
        name: mark
        for name, field in Hyperparameters.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Tunable)
    }


def search_space(start: Hyperparameters, only: Sequence[str] = ()) -> Space:
    """All that is tunable, or `only` some of it; each range reaches as far as the value to start from.

    Raises BadInputError for a name that isn't tunable.
    """
    known = tunables()
    for name in only:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            raise BadInputError(f"--only: {name} is not tunable; the nearest is {nearest}")
    return {
        name: _distribution(mark, getattr(start, name))
        for name, mark in known.items()
        if not only or name in only
    }


def values_of(settings: Hyperparameters, space: Space) -> dict[str, Any]:
    """Of settings that which is searched."""
    return {name: getattr(settings, name) for name in space}


def with_values(settings: Hyperparameters, values: Mapping[str, Any]) -> Hyperparameters:
    """The settings, but for the values."""
    return Hyperparameters.model_validate({**settings.model_dump(), **values})


def _distribution(mark: Tunable, value: float) -> BaseDistribution:
    low, high = min(mark.low, value), max(mark.high, value)
    if isinstance(value, int):
        return IntDistribution(int(low), int(high), log=mark.log)
    # A logarithm has no zero, from which als_regularization may start.
    return FloatDistribution(low, high, log=mark.log and low > 0)
