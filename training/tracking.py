"""What a run leaves in MLflow: parameters, metrics, the dataset's fingerprint, artifacts, the model."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import mlflow
import mlflow.pyfunc
import pandas as pd
import structlog
from mlflow.entities import Run
from mlflow.models import infer_signature
from mlflow.tracking import MlflowClient

from contract.gate import GATE_NAME
from training.errors import UserError
from training.evaluation import Evaluation
from training.gate import GateReport
from training.settings import Environment

log = structlog.get_logger()

CHALLENGER = "challenger"
NOTES_NAME = "notes.json"
CODE = Path(__file__).parents[1]

# What the logged model needs where it is loaded; explicit, because inferring takes half a minute.
MODEL_REQUIREMENTS = ["mlflow-skinny", "pandas", "pyarrow"]


class TrackingError(UserError):
    """MLflow could not be reached, or refused."""


@dataclass(frozen=True)
class RegisteredModel:
    """A version of the model in MLflow's registry."""

    name: str
    version: str


@contextlib.contextmanager
def tracked_run(environment: Environment) -> Iterator[Run]:
    """A run that ends as FINISHED, or as FAILED when the block raises."""
    mlflow.set_tracking_uri(environment.mlflow_tracking_uri)
    try:
        mlflow.set_experiment(environment.mlflow_experiment)
        run = mlflow.start_run(run_name=environment.training_job_name)
    except mlflow.MlflowException as error:
        raise TrackingError(f"MLflow at {environment.mlflow_tracking_uri}: {error}") from error
    with run:
        yield run


def log_parameters(parameters: dict[str, Any], *, tags: dict[str, str]) -> None:
    """Parameters of the run, and tags such as the dataset's fingerprint and the code's version."""
    mlflow.log_params(parameters)
    mlflow.set_tags(tags)


def log_evaluation(evaluation: Evaluation) -> None:
    """Every metric as `protocol.model.metric`, its interval as `…_low` and `…_high`.

    MLflow allows no `@` in a name, so it is `precision_at_10`.
    """
    values: dict[str, float] = {}
    for protocol, models in evaluation.judged.items():
        for model, judged in models.items():
            values |= {f"{protocol}.{model}.{name}": value for name, value in judged.metrics().items()}
            for part, rows in {"": judged.rows, "discovery_": judged.discovery}.items():
                for name, interval in rows.intervals().items():
                    metric = f"{protocol}.{model}.{part}{name}"
                    values |= {
                        metric: interval.value,
                        f"{metric}_low": interval.low,
                        f"{metric}_high": interval.high,
                    }
    mlflow.log_metrics({name.replace("@", "_at_"): value for name, value in values.items()})


def log_gate(report: GateReport) -> None:
    """What the gate said, as tags, its figures as metrics, all of it as `gate.json`."""
    mlflow.set_tags({"gate.outcome": report.verdict.outcome.value, "gate.reason": report.verdict.reason})
    metrics = {}
    for each in report.recipe.differences:
        name = f"gate.{'.'.join(each.labels.values()).replace('@', '_at_')}"
        for suffix, value in zip(("", "_low", "_high"), astuple(each.difference), strict=True):
            metrics[name + suffix] = value
    mlflow.log_metrics(metrics)
    mlflow.log_text(report.to_json(), GATE_NAME)


def log_notes(notes: Mapping[str, Any]) -> None:
    """The ranker and why it serves as tags, NDCG of those tried as metrics, all notes as `notes.json`."""
    ranking = notes["ranking"]
    mlflow.set_tags({"ranking.ranker": ranking["ranker"], "ranking.reason": ranking["reason"]})
    mlflow.log_metrics({f"ranking.{name}.ndcg_at_10": value for name, value in ranking["ndcg@10"].items()})
    mlflow.log_dict(dict(notes), NOTES_NAME)


def log_model(version_folder: Path, *, name: str, alias: str = CHALLENGER) -> RegisteredModel:
    """Register the lists in `version_folder` as the next version of the model, under `alias`."""
    signature = infer_signature(
        pd.DataFrame({"user_id": ["user-1"]}),
        pd.DataFrame({"user_id": ["user-1"], "item_ids": [["item-1"]], "scores": [[1.0]]}),
        params={"limit": 10},
    )
    logged = mlflow.pyfunc.log_model(
        name="recommender",
        python_model=str(CODE / "training/model.py"),
        artifacts={"version": str(version_folder)},
        code_paths=[str(CODE / "contract")],
        signature=signature,
        pip_requirements=MODEL_REQUIREMENTS,
        registered_model_name=name,
    )
    number = str(logged.registered_model_version)
    MlflowClient().set_registered_model_alias(name, alias, number)
    return RegisteredModel(name, number)
