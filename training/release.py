"""A version into the world: beside the model, into MLflow's registry, to where it is loaded from."""

from dataclasses import replace
from pathlib import Path

from contract.recommendations import Manifest
from contract.s3_layout import manifest_key, ranker_key, version_prefix
from training.checkpoints import Keep
from training.errors import VersionError
from training.lists import Lists
from training.publish import copy_version, publish_version, read_manifest
from training.ranking.stored import ranker_to_json
from training.served import Served
from training.settings import Environment
from training.storage import Folder
from training.tracking import RegisteredModel, log_model


def release(
    served: Served[Lists], manifest: Manifest, *, model_folder: Path, environment: Environment, keep: Keep
) -> Manifest:
    """Write the version beside the model, register the model, copy the version to where it is loaded from.

    Whatever of it an earlier attempt at the same run did stays as it is.
    """
    beside_model, output = Folder(model_folder), Folder(environment.recommendations_uri)
    key = manifest_key(manifest.version)
    if output.exists(key):
        return read_manifest(output, manifest.version)
    if beside_model.exists(key):
        manifest = read_manifest(beside_model, manifest.version)
    else:
        manifest = publish_version(beside_model, served.lists.tables(), manifest=manifest)

    def register() -> RegisteredModel:
        return log_model(model_folder / version_prefix(manifest.version), name=environment.mlflow_model)

    # A run that MLflow doesn't have can have no model there.
    if manifest.mlflow:
        model = keep("registered", register)
        manifest = replace(
            manifest, mlflow={**manifest.mlflow, "model": model.name, "model_version": model.version}
        )
    write_ranker(served, output, manifest.version)
    copy_version(beside_model, output, manifest)
    return manifest


def write_ranker(served: Served[Lists], output: Folder, version: str) -> None:
    """What ranked the lists, beside them: answers are explained by it. Raises VersionError."""
    if served.ranker is None:
        raise AssertionError("a fit without a ranker")
    key = ranker_key(version)
    try:
        output.write(key, ranker_to_json(served.ranker).encode())
    except OSError as error:
        raise VersionError(f"{output.uri_of(key)}: can't be written: {error}") from error
