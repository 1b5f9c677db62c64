"""MLflow's registry: which of its models is the one that is live."""

import os
from typing import Any, Final

from contract.recommendations import DEFAULT_VARIANT
from tasks.deployment import Deployment
from training.publish import read_manifest

CHAMPION: Final = "champion"
# MLflow's own defaults would try for many minutes.
_PATIENCE: Final = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


def follow(deployment: Deployment, variant: str, version: str) -> dict[str, Any]:
    """Let the alias follow a move of a variant; it only ever follows what everybody is served."""
    if variant != DEFAULT_VARIANT:
        return {"not_moved": f"the alias follows the variant {DEFAULT_VARIANT}, not {variant}"}
    return crown(deployment, version)


def crown(deployment: Deployment, version: str) -> dict[str, Any]:
    """Let the alias `champion` follow the version that is live.

    MLflow tells, Postgres decides: where MLflow is down, or knows nothing of the version, nothing fails, and
    `not_moved` says why.
    """
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowException  # noqa: PLC0415
    from mlflow.tracking import MlflowClient  # noqa: PLC0415

    run_id = read_manifest(deployment.recommendations, version).mlflow.get("run_id")
    if not run_id:
        return {"not_moved": f"version {version} was trained without MLflow"}
    try:
        client = MlflowClient(deployment.mlflow_tracking_uri)
        found = client.search_model_versions(f"run_id = '{run_id}'")
        if not found:
            return {"not_moved": f"MLflow has no model of the run {run_id}"}
        client.set_registered_model_alias(found[0].name, CHAMPION, found[0].version)
        experiment = client.get_run(run_id).info.experiment_id
    except MlflowException as error:
        return {"not_moved": f"MLflow at {deployment.mlflow_tracking_uri}: {error}"}
    return {
        "alias": CHAMPION,
        "model": found[0].name,
        "model_version": str(found[0].version),
        "run_url": f"{deployment.mlflow_tracking_uri}/#/experiments/{experiment}/runs/{run_id}",
    }
