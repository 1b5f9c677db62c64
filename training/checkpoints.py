"""What a run has worked out so far, so that the same run, once interrupted, goes on from there.

SageMaker brings the folder `/opt/ml/checkpoints` to S3 while a job runs, and back before the job that follows
a spot interruption. Files appear whole or not at all and carry a digest. They are pickles: whoever may write
there may make the training do anything, as with its code.
"""

import hashlib
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, TypeVar

import structlog

from training.errors import BadInputError

log = structlog.get_logger()

T = TypeVar("T")
_DIGEST_LENGTH: Final = hashlib.sha256().digest_size


class Keep(Protocol):
    """Gives what was worked out under a name, or works it out and keeps it."""

    def __call__(self, name: str, make: Callable[[], T]) -> T:
        """`name` is that of a file."""


def keep_nothing(name: str, make: Callable[[], T]) -> T:  # noqa: ARG001 - as all that keeps
    """Works it out each time."""
    return make()


class Checkpoints:
    """Results by name, of one run with the inputs that `fingerprint` stands for.

    What the folder holds of other inputs is dropped: it is of no use to this run.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._root = folder
        self._folder = folder / fingerprint
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInputError(f"{folder}: checkpoints can't be kept here: {error.strerror}") from error
        for other in folder.iterdir():
            if other.is_dir() and other != self._folder:
                log.info("checkpoint of other inputs dropped", folder=other.name)
                shutil.rmtree(other)

    def __call__(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gave under this name in an earlier attempt, or gives now."""
        file = self._folder / f"{name}.pickle"
        if (known := _read(file)) is not None:
            log.info("taken from the checkpoint", part=name)
            value: T = pickle.loads(known)  # noqa: S301 - our own, see above
            return value
        made = make()
        _write(file, pickle.dumps(made, protocol=pickle.HIGHEST_PROTOCOL))
        return made

    def discard(self) -> None:
        """Nothing of it is needed any more."""
        shutil.rmtree(self._folder)


def _read(file: Path) -> bytes | None:
    """What `_write` wrote; None where there is nothing, or where it isn't whole."""
    if not file.exists():
        return None
    content = file.read_bytes()
    digest, pickled = content[:_DIGEST_LENGTH], content[_DIGEST_LENGTH:]
    if hashlib.sha256(pickled).digest() != digest:
        log.warning("checkpoint damaged, worked out anew", file=str(file))
        return None
    return pickled


def _write(file: Path, pickled: bytes) -> None:
    part = file.with_suffix(".part")
    part.write_bytes(hashlib.sha256(pickled).digest() + pickled)
    part.replace(file)
