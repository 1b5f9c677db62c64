"""Everything that a training run can be told, typed and validated, and read at the edge alone.

`python -m training.settings` tells every hyperparameter, its value and where that came from.
"""

import difflib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from contract.events import TARGET_EVENT_TYPES
from training.errors import BadInputError
from training.moments import parse_moment

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Tunable:
    """Mark of a hyperparameter that is worth a search: `training.tune` looks from `low` to `high`."""

    low: float
    high: float
    log: bool = False
    """Whether a step is a factor instead of a summand."""


def _absent_where_empty(value: Any) -> Any:
    # A DAG passes the name of what is served, and before the first version there is none.
    return None if value == "" else value


def _split(value: Any) -> Any:
    """Names separated by commas, as strings have them."""
    return (
        tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value
    )


def _without_commas(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not name or name != name.strip() or "," in name:
            raise ValueError(f"expected names without commas or spaces around them, found {name!r}")
    return names


def _known_moment(text: str | None) -> str | None:
    if text is not None:
        try:
            parse_moment(text)
        except BadInputError as error:
            raise ValueError(str(error)) from error
    return text


Names = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_without_commas)]


class Hyperparameters(BaseModel):
    """What shapes the model. SageMaker passes each as a string; the names are the same everywhere."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    as_of: Annotated[str | None, BeforeValidator(_absent_where_empty), AfterValidator(_known_moment)] = None
    """The moment to take for now, ISO 8601; events after it are left out. Default: the data's own end."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of everything random."""
    targets: Annotated[Names, Field(min_length=1)] = TARGET_EVENT_TYPES
    """The kinds of events to bring about, separated by commas; recommendations are judged by them."""
    evaluation_days: Annotated[float, Field(gt=0)] = 14
    """Length of a window of days held out, whose carts and purchases are to be foretold."""
    evaluation_windows: Count = 3
    """How many such windows are pooled, stepping back from the data's end."""
    evaluation_max_users: Count = 20_000
    """At most so many users a window are evaluated; a random sample where there are more."""
    served_version: Annotated[str | None, BeforeValidator(_absent_where_empty)] = None
    """The version that is served now, which the gate compares with. Default: none, this is the first."""
    gate_min_users: Count = 100
    """Where fewer users cart or buy after the served version's cut-off, the gate doesn't compare with it."""
    gate_min_floor_users: Count = 20
    """Where fewer users cart or buy within the days held out, the gate doesn't compare with popularity."""
    gate_tolerance: Share = 0.01
    """The served version stays where the new one is surely worse by more than this share of its metric."""
    gate_min_users_with_list: Share = 0.9
    """The least share of the users who must have a personal list."""
    gate_min_fill: Share = 0.3
    """How full the first ten places of personal lists must be in the mean."""
    gate_min_coverage: Share = 0.5
    """The least ratio of how many items personal lists show in their first ten to the served version's."""
    gate_min_overlap: Share = 0.01
    """The least share of a user's ten items that must stay, in the mean, against what is served now."""
    history_length: Annotated[Count, Tunable(10, 200, log=True)] = 50
    """How many of a visitor's latest events the blend looks at."""
    recent_items: Annotated[Count, Tunable(5, 50, log=True)] = 20
    """How many of a visitor's latest distinct items lend their similar lists."""
    personal_length: Count = 100
    """Items in a user's stored list."""
    similar_length: Annotated[Count, Tunable(20, 100, log=True)] = 50
    """Items in an item's stored list of similar ones."""
    popular_length: Count = 200
    """Items in the list of popular ones."""
    item_item_history: Annotated[Count, Tunable(20, 500, log=True)] = 200
    """How many of a user's latest distinct items tell which items go together."""
    als_factors: Annotated[Count, Tunable(16, 128, log=True)] = 64
    """Length of ALS' vectors of users and items."""
    als_iterations: Count = 15
    """Passes of ALS over the data."""
    als_regularization: Annotated[float, Field(ge=0), Tunable(0.001, 1.0, log=True)] = 0.05
    """How strongly ALS keeps its vectors short."""
    als_alpha: Annotated[float, Field(gt=0), Tunable(0.1, 20.0, log=True)] = 1.0
    """How much an event raises ALS' confidence above that in its absence."""
    category_length: Count = 100
    """Items in a category's list of popular ones, and in each list of what was bought lately."""
    candidates_per_source: Annotated[Count, Tunable(15, 120, log=True)] = 40
    """How many items each source proposes for a user, for the ranker to choose from."""
    without_sources: Names = ()
    """Candidate sources to leave out, by name, separated by commas."""
    fit_windows: Annotated[Count, Tunable(1, 8)] = 6
    """At most so many windows of `evaluation_days` before now teach the ranker and the blend."""
    fit_users: Count = 10_000
    """With so many users who carted or bought, no earlier window is looked at."""
    ranker: Literal["auto", "linear", "boosted"] = "auto"
    """What ranks the candidates; `auto` takes what ranks better on the days that it has not seen."""
    ranker_iterations: Annotated[Count, Tunable(30, 400, log=True)] = 100
    """Trees of the boosted ranker."""
    ranker_depth: Annotated[int, Field(ge=1, le=16), Tunable(3, 8)] = 6
    """Their depth."""
    ranker_learning_rate: Annotated[float, Field(gt=0, le=1), Tunable(0.02, 0.3, log=True)] = 0.1
    """How much each tree adds."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads to compute with; 0 takes all that the machine has."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value(cls, value: Any) -> Any:
        # Pydantic takes true for 1.
        if isinstance(value, bool):
            raise ValueError("expected a number or a text, not a truth value")  # noqa: TRY004 - pydantic's
        return value

    @classmethod
    def from_strings(cls, values: Mapping[str, Any]) -> Self:
        """Hyperparameters as SageMaker passes them.

        Raises BadInputError that names every field with a problem, what is wrong, and the nearest known name.
        """
        return cls.of(values, dict.fromkeys(values, "hyperparameters"))

    @classmethod
    def of(cls, values: Mapping[str, Any], places: Mapping[str, str]) -> Self:
        """Hyperparameters out of strings or native values; `places` tells where each came from.

        Raises BadInputError that tells all problems at once, each with its place.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            problems = [(problem["loc"][0], _explain(dict(problem), cls)) for problem in error.errors()]
            raise BadInputError(
                "; ".join(f"{places[str(name)]}: {told}" for name, told in problems)
            ) from error

    def strings(self) -> dict[str, str]:
        """As SageMaker passes them; those that are absent aren't in it."""
        return {name: text_of(value) for name, value in self if value is not None}


def text_of(value: Any) -> str:
    """A hyperparameter's value as `--set` and SageMaker have it; an absent one is empty."""
    if value is None:
        return ""
    return ",".join(value) if isinstance(value, tuple) else str(value)


class Environment(BaseSettings):
    """What the run finds around it, from environment variables of the same names in capitals."""

    model_config = SettingsConfigDict(frozen=True, use_attribute_docstrings=True)

    recommendations_uri: str
    """The bucket, or a folder, that the version is written to, below `recommendations/`."""
    mlflow_tracking_uri: str
    """The MLflow server."""
    mlflow_required: bool = True
    """Whether a run fails where MLflow can't be reached; else it goes on, and is not recorded."""
    mlflow_experiment: str = "shop-recommender"
    """The MLflow experiment that the run belongs to."""
    mlflow_model: str = "shop-recommender"
    """The name of the registered model."""
    pushgateway_url: str | None = None
    """Where metrics are pushed to; nowhere when it is not set."""
    code_version: str = "unknown"
    """The commit that the image was built from."""
    training_job_name: str = "local"
    """The name of the SageMaker job, which names the MLflow run."""

    @classmethod
    def read(cls) -> Self:
        """From the environment. Raises BadInputError that names what is missing."""
        try:
            return cls()
        except ValidationError as error:
            names = ", ".join(str(problem["loc"][0]).upper() for problem in error.errors())
            raise BadInputError(f"environment variables are missing or wrong: {names}") from error


class MlflowPlace(BaseSettings):
    """Where a search for settings is recorded, from the environment variables that a training reads, too."""

    model_config = SettingsConfigDict(frozen=True, use_attribute_docstrings=True)

    mlflow_tracking_uri: Annotated[str | None, BeforeValidator(_absent_where_empty)] = None
    """The MLflow server; nothing is recorded when it is not set."""
    mlflow_experiment: str = "shop-recommender"
    """The MLflow experiment that the runs belong to."""


def _explain(problem: dict[str, Any], model: type[BaseModel]) -> str:
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"{name} is unknown; the nearest is {_nearest(name, tuple(model.model_fields))}"
    given = f"{name}={_shown(problem['input'])}"
    if problem["type"] == "literal_error":
        allowed = get_args(model.model_fields[name].annotation)
        nearest = _nearest(str(problem["input"]), allowed)
        return f"{given}: expected one of {', '.join(allowed)}; the nearest is {nearest}"
    told = problem["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    return f"{given}: {told}"


def _shown(value: Any) -> str:
    return text_of(value) if isinstance(value, str | tuple) else repr(value)


def _nearest(name: str, known: tuple[str, ...]) -> str:
    return difflib.get_close_matches(name, known, n=1, cutoff=0)[0]


if __name__ == "__main__":
    # The listing reads this very module: imported a second time, its fields would lose their docstrings.
    sys.modules["training.settings"] = sys.modules[__name__]
    from training.settings_listing import main

    sys.exit(main())
