"""The schemas that the OpenAPI document refers to, made from the models of bodies and answers.

Only the document needs all of them, so that only who asks for it waits until they are made.
"""

from collections.abc import Sequence
from typing import Any, Final

from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from lambdas.recommendations_api.bodies import BatchIn, VisitorIn
from lambdas.recommendations_api.models import (
    DeletedUser,
    EventsAnswer,
    EventsBatch,
    Health,
    ItemsAnswer,
    ItemsBatch,
    Model,
    ProblemOut,
    Readiness,
    Recommendations,
    RecommendationsBatch,
    StatsOut,
    StoredUserOut,
)
from lambdas.recommendations_api.routing import SCHEMAS

BODIES: Final[tuple[type[BaseModel], ...]] = (EventsBatch, ItemsBatch, VisitorIn, BatchIn)
ANSWERS: Final[tuple[type[BaseModel], ...]] = (
    Recommendations,
    RecommendationsBatch,
    EventsAnswer,
    ItemsAnswer,
    StoredUserOut,
    DeletedUser,
    Model,
    StatsOut,
    Health,
    Readiness,
    ProblemOut,
)


def schemas() -> dict[str, Any]:
    """Each schema by the name of its model."""
    # Answers as FastAPI writes them where it makes their schemas: without defaults that are null.
    answers = jsonable_encoder(_schemas(ANSWERS, "serialization"), exclude_none=True)
    return {**_schemas(BODIES, "validation"), **answers}


def _schemas(models: Sequence[type[BaseModel]], mode: JsonSchemaMode) -> dict[str, Any]:
    _, document = models_json_schema([(model, mode) for model in models], ref_template=f"{SCHEMAS}{{model}}")
    definitions: dict[str, Any] = document["$defs"]
    return definitions
