"""A function's layers, laid over each other as Lambda does it at `/opt`."""

import shutil
import tempfile
from pathlib import Path

from localstack.services.lambda_.invocation.lambda_models import FunctionVersion


def layers_folder(version: FunctionVersion) -> Path | None:
    """Where the layers of a version of a function are; None where it has none."""
    if not version.config.layers:
        return None
    return Path(tempfile.gettempdir(), "lambda", "layers", version.config.internal_revision)


def lay_out(version: FunctionVersion) -> None:
    """Unpack the layers of a version: later ones over earlier ones."""
    folder = layers_folder(version)
    if folder is None or folder.exists():
        return
    unfinished = folder.with_suffix(".unfinished")
    for layer in version.config.layers:
        layer.code.prepare_for_execution()
        shutil.copytree(layer.code.get_unzipped_code_location(), unfinished, dirs_exist_ok=True)
    unfinished.rename(folder)


def remove(version: FunctionVersion) -> None:
    """Delete what `lay_out` made."""
    folder = layers_folder(version)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
