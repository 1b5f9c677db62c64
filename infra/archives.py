"""The functions' archives, each made once for the same input: code, lock, target and how it is made."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from infra.errors import MissingToolError
from lambdas import archive
from lambdas.archive import ArchiveError, Target

TARGET: Final = archive.LAMBDA["arm64"]

Make = Callable[[str, Path], None]
"""Makes the archive of a function at a path."""


def this_machine() -> Target:
    """What functions run on under LocalStack: their own Python where there is one, else this one."""
    target = Target(python=TARGET.python)
    with _told_to_the_deployer():
        return target if archive.find_interpreter(target) is not None else archive.HERE


class Archives:
    """Archives in a folder; one that is there already is not made again."""

    def __init__(self, folder: Path, make: Make | None = None, target: Target = TARGET) -> None:
        """`make` takes the place of what makes real ones for `target`."""
        self._folder = folder
        self._given = make
        self._target = target

    def made_for(self, target: Target) -> "Archives":
        """Those in the same folder that run on something else."""
        return Archives(self._folder, self._given, target)

    def path(self, name: str) -> Path:
        """Where the archive of a function is, by its name in `lambdas/`. Raises MissingToolError."""
        path = self._folder / f"{name}-{fingerprint(name, self._target)[:16]}.zip"
        if not path.is_file():
            # Beside its place until it is whole: an interrupted synthesis must not leave half of one.
            unfinished = path.with_suffix(".unfinished")
            self._make(name, unfinished)
            unfinished.rename(path)
        return path

    def _make(self, name: str, output: Path) -> None:
        if self._given is not None:
            self._given(name, output)
            return
        with _told_to_the_deployer():
            archive.build(name, output, self._target)


def is_compiled(target: Target = TARGET) -> bool:
    """Whether there is a Python here that can compile for Lambda's. Raises MissingToolError without uv."""
    with _told_to_the_deployer():
        return archive.find_interpreter(target) is not None


@contextmanager
def _told_to_the_deployer() -> Iterator[None]:
    try:
        yield
    except ArchiveError as error:
        raise MissingToolError(
            f"the functions' archives cannot be made: {error}\n`make setup` installs uv into .venv;"
            " packages that were never installed on this machine have to be downloaded once"
        ) from error


def fingerprint(name: str, target: Target = TARGET) -> str:
    """What tells whether an archive is up to date. Raises MissingToolError where a part of it is missing."""
    contents = archive.FUNCTIONS[name]
    digest = hashlib.sha256(f"{contents} {target} {is_compiled(target)}".encode())
    for path in (Path(archive.__file__), archive.PROJECT / contents.lock, *_files(contents.code)):
        if not path.is_file():
            raise MissingToolError(
                f"{path.relative_to(archive.PROJECT)} is missing: `git status` may tell why"
            )
        digest.update(path.relative_to(archive.PROJECT).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _files(code: tuple[str, ...]) -> Iterator[Path]:
    for part in code:
        path = archive.PROJECT / part
        inside = path.rglob("*") if path.is_dir() else [path]
        yield from sorted(file for file in inside if "__pycache__" not in file.parts and not file.is_dir())
