"""What a search leaves in MLflow: a parent run, a nested one for each trial, the verdict and the settings."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import mlflow
import optuna
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from optuna.trial import FrozenTrial, TrialState

from training.settings import MlflowPlace
from training.tracking import TrackingError
from training.tuning.objective import TOLD_METRICS, Comparison
from training.tuning.report import Report
from training.tuning.search import SECONDS, Search
from training.tuning.study import ended

TRIAL_TAG = "trial"
_RUN = "mlflow_run"


@dataclass
class Tracking:
    """The runs of one study."""

    client: MlflowClient
    experiment: str
    """Its id."""
    parent: str
    """The id of the parent run."""
    logged: set[str] = field(default_factory=set)
    """The numbers of the trials that have a run."""

    def log_trials(self, search: Search) -> None:
        """A nested run for each trial that ended and has none yet."""
        for trial in ended(search.study):
            if str(trial.number) not in self.logged:
                self._log_trial(search, trial)
                self.logged.add(str(trial.number))

    def log_report(self, report: Report) -> None:
        """What was chosen, why, how it did on the test windows, and the file."""
        verdict = report.verdict
        chosen = {f"tuned.{name}": str(getattr(verdict.chosen, name)) for name in report.search.space}
        tags = {"verdict.taken": str(verdict.taken).lower(), "verdict.reason": verdict.reason}
        self._log(
            self.parent,
            {"trials": len(ended(report.search.study)), **_intervals("confirmation", verdict.confirmation)}
            | _intervals("test", verdict.test),
            {"best_trial": str(verdict.best.number)},
            # Going on may choose other settings, which parameters of MLflow could not follow.
            tags | chosen,
        )
        self.client.log_text(self.parent, report.toml(), "tuned.toml")
        self.client.log_dict(self.parent, report.document(), "report.json")

    def _log_trial(self, search: Search, trial: FrozenTrial) -> None:
        tags = {MLFLOW_PARENT_RUN_ID: self.parent, "state": trial.state.name.lower()}
        run = self.client.create_run(self.experiment, run_name=f"trial {trial.number}", tags=tags)
        measured = search.judge.measured_all(
            search.settings(trial), search.windows[: len(trial.intermediate_values)]
        )
        metrics = {
            f"{protocol}.{name}": float(column.mean())
            for protocol, of_protocol in measured.values.items()
            for name, column in of_protocol.items()
        }
        metrics |= {"score": search.told(trial)["score"], SECONDS: trial.user_attrs[SECONDS]}
        self._log(run.info.run_id, metrics, trial.params, {TRIAL_TAG: str(trial.number)})
        status = "FINISHED" if trial.state is TrialState.COMPLETE else "KILLED"
        self.client.set_terminated(run.info.run_id, status)

    def _log(
        self,
        run: str,
        metrics: Mapping[str, float],
        parameters: Mapping[str, object],
        tags: Mapping[str, str],
    ) -> None:
        now = round(time.time() * 1000)
        self.client.log_batch(
            run,
            metrics=[Metric(name.replace("@", "_at_"), value, now, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)) for name, value in parameters.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )


@contextmanager
def tracked(place: MlflowPlace, study: optuna.Study, search: Search) -> Iterator[Tracking | None]:
    """The runs of the study, new or those that it had; None where no MLflow is set.

    The parent run ends as FINISHED, as KILLED where the search was interrupted, or as FAILED.
    Raises TrackingError where MLflow can't be reached, or refuses.
    """
    if place.mlflow_tracking_uri is None:
        yield None
        return
    try:
        tracking = _opened(place, study, search)
        status = "KILLED"
        try:
            yield tracking
            status = "FINISHED"
        except Exception:
            status = "FAILED"
            raise
        finally:
            tracking.client.set_terminated(tracking.parent, status)
    except mlflow.MlflowException as error:
        raise TrackingError(f"MLflow at {place.mlflow_tracking_uri}: {error}") from error


def _opened(place: MlflowPlace, study: optuna.Study, search: Search) -> Tracking:
    client = MlflowClient(place.mlflow_tracking_uri)
    found = client.get_experiment_by_name(place.mlflow_experiment)
    experiment = found.experiment_id if found else client.create_experiment(place.mlflow_experiment)
    run_id = study.user_attrs.get(_RUN)
    if run_id is None:
        parameters = [Param(f"start.{name}", text) for name, text in search.start.strings().items()]
        run_id = client.create_run(experiment, run_name="tune").info.run_id
        study.set_user_attr(_RUN, run_id)
        client.log_batch(run_id, params=parameters)
        return Tracking(client, experiment, run_id)
    client.update_run(run_id, status="RUNNING")
    experiment = client.get_run(run_id).info.experiment_id
    return Tracking(client, experiment, run_id, _logged(client, experiment, run_id))


def _logged(client: MlflowClient, experiment: str, parent: str) -> set[str]:
    """Which trials have a run; one that was left half-way is removed, so that it comes anew."""
    logged: set[str] = set()
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment], f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent}'", page_token=token
        )
        for run in page:
            if TRIAL_TAG in run.data.tags:
                logged.add(run.data.tags[TRIAL_TAG])
            else:
                client.delete_run(run.info.run_id)
        token = page.token
        if not token:
            return logged


def _intervals(where: str, comparison: Comparison) -> dict[str, float]:
    values: dict[str, float] = {}
    for protocol, metrics in comparison.metrics.items():
        for name in TOLD_METRICS:
            start, tuned, difference = metrics[name]
            prefix = f"{where}.{protocol}.{name}"
            values |= {
                f"{prefix}.start": start,
                f"{prefix}.best": tuned,
                f"{prefix}.difference": difference.value,
                f"{prefix}.difference_low": difference.low,
                f"{prefix}.difference_high": difference.high,
            }
    return values
