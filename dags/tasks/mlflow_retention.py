"""Old runs and models in MLflow.

Their files, where visitors' ids and lists are, go at once. What is left are rows in MLflow's own tables
(parameters, metrics, tags), marked as deleted: a client can do no more, and `mlflow gc`, run where the server
runs, removes them for good.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from tasks.deployment import Deployment
from training.serving import list_versions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion

EXPERIMENT: Final = "shop-recommender"
"""Where trainings track their runs unless they are told otherwise."""


# MLflow's own defaults would try for many minutes.
_PATIENCE: Final = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


class MlflowError(ConnectionError):
    """MLflow can't be reached, or refuses."""


def delete_old_runs(
    deployment: Deployment, *, keep_days: int, experiment: str = EXPERIMENT, now: datetime | None = None
) -> dict[str, Any]:
    """Delete models and runs, with their files, that began more than `keep_days` days ago.

    What an alias stands for stays, and so does what Postgres holds a version of. Returns how many
    `model_versions`, `models` and `runs` were deleted. Raises MlflowError, and DatabaseError where nobody
    can say what is served; the next run goes on.
    """
    from mlflow import MlflowException  # noqa: PLC0415 - it takes seconds
    from mlflow.tracking import MlflowClient  # noqa: PLC0415

    in_postgres = {
        str(run_id)
        for info in list_versions(deployment.conninfo())
        if (run_id := info.manifest.get("mlflow", {}).get("run_id"))
    }
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    limit = (now or datetime.now(UTC)) - timedelta(days=keep_days)
    try:
        client = MlflowClient(deployment.mlflow_tracking_uri)
        retention = _Retention(client, deployment, round(limit.timestamp() * 1000), in_postgres)
        return retention.run(experiment)
    # Where files can't be deleted, MLflow leaves it at the error of its HTTP client.
    except (MlflowException, OSError) as error:
        raise MlflowError(f"MLflow at {deployment.mlflow_tracking_uri}: {error}") from error


@dataclass
class _Retention:
    client: "MlflowClient"
    deployment: Deployment
    limit_ms: int
    kept_runs: set[str]

    def run(self, experiment: str) -> dict[str, Any]:
        versions = list(self._versions())
        aliased = self._aliased()
        self.kept_runs |= {str(version.run_id) for version in versions if str(version.version) in aliased}
        # The registry first: it leads to what is deleted afterwards.
        n_versions = sum(self._delete_version(version) for version in versions)
        found = self.client.get_experiment_by_name(experiment)
        if found is None:
            return {"model_versions": n_versions, "models": 0, "runs": 0}
        n_models = sum(map(self._delete_model, list(self._models(found.experiment_id))))
        n_runs = sum(map(self._delete_run, list(self._runs(found.experiment_id))))
        return {"model_versions": n_versions, "models": n_models, "runs": n_runs}

    def _aliased(self) -> set[str]:
        """The numbers of those versions that have a name which people and programs ask for."""
        from mlflow import MlflowException  # noqa: PLC0415

        try:
            model = self.client.get_registered_model(self.deployment.mlflow_model)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # nothing was promoted yet
                return set()
            raise
        return {str(number) for number in model.aliases.values()}

    def _versions(self) -> Iterator["ModelVersion"]:
        query = f"name = '{self.deployment.mlflow_model}'"
        yield from _pages(lambda token: self.client.search_model_versions(query, page_token=token))

    def _delete_version(self, version: "ModelVersion") -> bool:
        if version.creation_timestamp >= self.limit_ms or version.run_id in self.kept_runs:
            return False
        self.client.delete_model_version(version.name, str(version.version))
        return True

    def _models(self, experiment_id: str) -> Iterator["LoggedModel"]:
        yield from _pages(lambda token: self.client.search_logged_models([experiment_id], page_token=token))

    def _delete_model(self, model: "LoggedModel") -> bool:
        if model.creation_timestamp >= self.limit_ms or model.source_run_id in self.kept_runs:
            return False
        self._delete_files(model.artifact_location)
        self.client.delete_logged_model(model.model_id)
        return True

    def _runs(self, experiment_id: str) -> Iterator["Run"]:
        query = f"attributes.start_time < {self.limit_ms}"
        yield from _pages(lambda token: self.client.search_runs([experiment_id], query, page_token=token))

    def _delete_run(self, run: "Run") -> bool:
        if run.info.run_id in self.kept_runs:
            return False
        self._delete_files(run.info.artifact_uri)
        # Last: what is marked is not found again, and its files would stay.
        self.client.delete_run(run.info.run_id)
        return True

    def _delete_files(self, uri: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import (  # noqa: PLC0415
            get_artifact_repository,
        )

        files = get_artifact_repository(uri, tracking_uri=self.deployment.mlflow_tracking_uri)
        files.delete_artifacts()  # type: ignore[no-untyped-call] # MLflow's


def _pages(search: Callable[[str | None], Any]) -> Iterator[Any]:
    """All that a search finds, page by page."""
    page = search(None)
    yield from page
    while page.token:
        page = search(page.token)
        yield from page
