"""What a run leaves in MLflow: parameters, metrics, the dataset's fingerprint, artifacts, the model."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import mlflow
import mlflow.pyfunc
import pandas as pd
import pyarrow.parquet as pq
import structlog
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined] # made at import
from mlflow.entities import Metric, Run
from mlflow.models import infer_signature
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from contract.gate import GATE_NAME
from contract.s3_layout import MODEL_REPORT_NAME
from training.checkpoints import Keep, keep_nothing
from training.data_report.profile import DataProfile
from training.data_report.report import report_document
from training.data_report.report import report_page as data_report_page
from training.errors import UserError
from training.evaluation_rows import ROWS_NAME, rows_table
from training.gate import GateReport
from training.judged import Evaluation
from training.settings import Environment, Hyperparameters, text_of
from training.split import Window
from training.steps import peak_mb

log = structlog.get_logger()

CHALLENGER = "challenger"
NOTES_NAME = "notes.json"
METRICS_A_REQUEST = 1000
"""As many as MLflow takes at once."""
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


@dataclass(frozen=True)
class Tracked:
    """The run that is being recorded."""

    run_id: str
    in_mlflow: Mapping[str, str]
    """Where MLflow has it: `run_id`, `experiment`; empty where nobody records it."""


@contextlib.contextmanager
def tracked_run(environment: Environment, keep: Keep = keep_nothing) -> Iterator[Tracked]:
    """A run that ends as FINISHED, as FAILED when the block raises, or as KILLED when it is stopped.

    The run of an earlier attempt, where `keep` knows one, goes on. Where MLflow can't be reached, and isn't
    required, the run is told to a folder that is thrown away. Raises TrackingError where it is required.
    """
    with contextlib.ExitStack() as stack:
        try:
            run = _begin(environment, environment.mlflow_tracking_uri, keep)
            in_mlflow = {"run_id": run.info.run_id, "experiment": environment.mlflow_experiment}
        except mlflow.MlflowException as error:
            if environment.mlflow_required:
                raise TrackingError(f"MLflow at {environment.mlflow_tracking_uri}: {error}") from error
            log.warning("not recorded", mlflow=environment.mlflow_tracking_uri, reason=str(error))
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="unrecorded-"))
            # MLflow asks for it, because nobody should keep runs in one.
            os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
            run, in_mlflow = _begin(environment, Path(folder).as_uri(), keep_nothing), {}
        try:
            yield Tracked(run.info.run_id, in_mlflow)
        except Exception:
            mlflow.end_run("FAILED")
            raise
        except BaseException:  # what is no failure of the run's own
            mlflow.end_run("KILLED")
            raise
        mlflow.end_run()


def _begin(environment: Environment, tracking_uri: str, keep: Keep) -> Run:
    mlflow.set_tracking_uri(tracking_uri)
    experiment = mlflow.set_experiment(environment.mlflow_experiment)

    def create() -> str:
        created = MlflowClient().create_run(experiment.experiment_id, run_name=environment.training_job_name)
        return str(created.info.run_id)

    return mlflow.start_run(run_id=keep("run", create))


def log_parameters(settings: Hyperparameters, *, tags: dict[str, str]) -> None:
    """Every hyperparameter by its name, and tags such as the dataset's fingerprint and the code's version."""
    mlflow.log_params({name: text_of(value) for name, value in settings})
    mlflow.set_tags(tags)


def log_dataset(channel: Path, fingerprint: str, *, counts: Mapping[str, int]) -> None:
    """The events that the run learnt from, as MLflow lists datasets, and how many there are."""
    # MLflow keeps 36 characters of a digest; the tag `dataset_fingerprint` has them all.
    dataset = MetaDataset(  # type: ignore[abstract] # MLflow's own, and meant to be used so
        LocalArtifactDatasetSource(str(channel)), name=channel.name, digest=fingerprint[:36]
    )
    mlflow.log_input(dataset, context="training")
    mlflow.log_metrics({f"data.{name}": count for name, count in counts.items()})


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


def log_rows(evaluation: Evaluation, windows: Sequence[Window]) -> None:
    """The evaluation row by row, for `training.compare`."""
    with tempfile.TemporaryDirectory(prefix="rows-") as folder:
        file = Path(folder) / ROWS_NAME
        pq.write_table(rows_table(evaluation, windows), file, compression="zstd")
        mlflow.log_artifact(str(file))


def log_steps(seconds: Mapping[str, float]) -> None:
    """How long each step took, in seconds, and the most memory so far, in MB."""
    mlflow.log_metrics({f"seconds.{name}": value for name, value in seconds.items()})
    mlflow.log_metric("peak_memory_mb", peak_mb())


def log_gate(report: GateReport) -> None:
    """What the gate said, as tags, its figures as metrics, all of it as `gate.json`."""
    outcome, reason = report.verdict.outcome.value, report.verdict.reason
    description = f"{outcome.capitalize()}: {reason}."  # what the run's page begins with
    mlflow.set_tags({"gate.outcome": outcome, "gate.reason": reason, MLFLOW_RUN_NOTE: description})
    metrics = {}
    for each in report.recipe.differences:
        name = f"gate.{'.'.join(each.labels.values()).replace('@', '_at_')}"
        for suffix, value in zip(("", "_low", "_high"), astuple(each.difference), strict=True):
            metrics[name + suffix] = value
    mlflow.log_metrics(metrics)
    mlflow.log_text(report.to_json(), GATE_NAME)


def log_data_profile(profile: DataProfile) -> None:
    """What the events look like, for people and for programs."""
    mlflow.log_text(data_report_page(profile), "data_report.html")
    mlflow.log_text(report_document(profile), "data_report.json")


def log_report(page: str) -> None:
    """The report of the whole run."""
    mlflow.log_text(page, MODEL_REPORT_NAME)


def log_notes(notes: Mapping[str, Any]) -> None:
    """The ranker and why it serves as tags, NDCG of those tried as metrics, all notes as `notes.json`."""
    ranking = notes["ranking"]
    mlflow.set_tags({"ranking.ranker": ranking["ranker"], "ranking.reason": ranking["reason"]})
    mlflow.log_metrics({f"ranking.{name}.ndcg_at_10": value for name, value in ranking["ndcg@10"].items()})
    mlflow.log_metrics({f"importance.{name}": share for name, share in ranking["importance"].items()})
    _log_curves(ranking["curves"])
    mlflow.log_dict(dict(notes), NOTES_NAME)


def _log_curves(curves: Mapping[str, Sequence[float]]) -> None:
    """The boosted ranker's loss by tree: `ranking.boosted.logloss_learnt`, `…_unseen`; a step is a tree."""
    run, now = mlflow.active_run(), round(time.time() * 1000)
    if run is None:
        raise AssertionError("there is no run to log to")
    points = [
        Metric(f"ranking.boosted.logloss_{name}", loss, now, step)
        for name, losses in curves.items()
        for step, loss in enumerate(losses, start=1)
    ]
    for start in range(0, len(points), METRICS_A_REQUEST):
        MlflowClient().log_batch(run.info.run_id, points[start : start + METRICS_A_REQUEST])


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
