"""Everything that a training run can be told, typed and validated, and read at the edge alone."""

import difflib
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from contract.events import TARGET_EVENT_TYPES
from training.errors import BadInputError
from training.moments import parse_moment

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


def _absent_where_empty(value: Any) -> Any:
    # A DAG passes the name of what is served, and before the first version there is none.
    return None if value == "" else value


def _names(value: Any) -> Any:
    return tuple(filter(None, value.split(","))) if isinstance(value, str) else value


class Hyperparameters(BaseModel):
    """What shapes the model. SageMaker passes each as a string; the names are the same everywhere."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    as_of: str | None = None
    """The moment to take for now, ISO 8601; events after it are left out. Default: the data's own end."""
    seed: int = 0
    """Of everything random."""
    targets: Annotated[tuple[str, ...], BeforeValidator(_names), Field(min_length=1)] = TARGET_EVENT_TYPES
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
    history_length: Count = 50
    """How many of a visitor's latest events the blend looks at."""
    recent_items: Count = 20
    """How many of a visitor's latest distinct items lend their similar lists."""
    personal_length: Count = 100
    """Items in a user's stored list."""
    similar_length: Count = 50
    """Items in an item's stored list of similar ones."""
    popular_length: Count = 200
    """Items in the list of popular ones."""
    item_item_history: Count = 200
    """How many of a user's latest distinct items tell which items go together."""
    als_factors: Count = 64
    """Length of ALS' vectors of users and items."""
    als_iterations: Count = 15
    """Passes of ALS over the data."""
    als_regularization: Annotated[float, Field(ge=0)] = 0.05
    """How strongly ALS keeps its vectors short."""
    als_alpha: Annotated[float, Field(gt=0)] = 1.0
    """How much an event raises ALS' confidence above that in its absence."""
    category_length: Count = 100
    """Items in a category's list of popular ones."""
    candidates_per_source: Count = 40
    """How many items each source proposes for a user, for the ranker to choose from."""
    without_sources: Annotated[tuple[str, ...], BeforeValidator(_names)] = ()
    """Candidate sources to leave out, by name, separated by commas."""
    fit_windows: Count = 6
    """At most so many windows of `evaluation_days` before now teach the ranker and the blend."""
    fit_users: Count = 10_000
    """With so many users who carted or bought, no earlier window is looked at."""
    ranker: Literal["auto", "linear", "boosted"] = "auto"
    """What ranks the candidates; `auto` takes what ranks better on the days that it has not seen."""
    ranker_iterations: Count = 100
    """Trees of the boosted ranker."""
    ranker_depth: Annotated[int, Field(ge=1, le=16)] = 6
    """Their depth."""
    ranker_learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    """How much each tree adds."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads to compute with; 0 takes all that the machine has."""

    @classmethod
    def from_strings(cls, values: dict[str, Any]) -> Self:
        """Hyperparameters out of strings.

        Raises BadInputError that names the field, what is wrong with it, and the nearest known name.
        """
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            problems = "; ".join(_explain(dict(problem), cls) for problem in error.errors())
            raise BadInputError(f"hyperparameters: {problems}") from error
        if settings.as_of is not None:
            parse_moment(settings.as_of)
        return settings


class Environment(BaseSettings):
    """What the run finds around it, from environment variables of the same names in capitals."""

    model_config = SettingsConfigDict(frozen=True, use_attribute_docstrings=True)

    recommendations_uri: str
    """The bucket, or a folder, that the version is written to, below `recommendations/`."""
    mlflow_tracking_uri: str
    """The MLflow server."""
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


def _explain(problem: dict[str, Any], model: type[BaseModel]) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        return f"{name}={problem['input']!r}: {problem['msg']}"
    near = difflib.get_close_matches(name, model.model_fields, n=1, cutoff=0)
    return f"{name} is unknown; the nearest is {near[0]}"
