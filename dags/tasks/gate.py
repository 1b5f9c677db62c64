"""What the gate of a training said."""

import tarfile
from typing import Any

from contract.gate import GATE_NAME, GateDecision, GateDecisionError
from training.errors import BadInputError
from training.storage import Folder


def read_decision(model_uri: str) -> dict[str, Any]:
    """The decision in a job's `model.tar.gz`: `version`, `outcome`, `reason`.

    Raises BadInputError where there is none that can be read: without it nothing may be loaded.
    """
    place, _, name = model_uri.rpartition("/")
    folder = Folder(place)
    try:
        with (
            folder.filesystem.open_input_stream(folder.path(name), compression=None) as stream,
            # As a stream: the archive may be larger than the worker's disk, and is read once.
            tarfile.open(fileobj=stream, mode="r|gz") as archive,
        ):
            decision = GateDecision.from_json(_content(archive))
    except (OSError, tarfile.TarError, EOFError, GateDecisionError) as error:
        raise BadInputError(
            f"{model_uri}: holds no {GATE_NAME} that can be read ({error}): was it this training's image?"
        ) from error
    return {"version": decision.version, "outcome": decision.outcome.value, "reason": decision.reason}


def _content(archive: tarfile.TarFile) -> bytes:
    for member in archive:
        if member.name.removeprefix("./") == GATE_NAME and (file := archive.extractfile(member)):
            return file.read()
    raise FileNotFoundError(f"there is no {GATE_NAME} in it")
