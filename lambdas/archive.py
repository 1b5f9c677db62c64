"""A function's archive for Lambda: its own code and the packages of its lock, compiled; made without Docker.

The same input makes the same bytes: entries in order, one date for all, nothing of the folder it was made in.
`.pyc` files that are checked by the sources' dates are useless in an archive, which keeps no dates: these are
taken without a check. They lack what underlines the guilty part of a line, which is a sixteenth of the
archive; tracebacks have their lines.
"""

import argparse
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

PROJECT: Final = Path(__file__).parents[1]

_LEFT_OUT: Final = (
    "**/__pycache__",
    "**/*.pyi",
    "*.dist-info/INSTALLER",
    "*.dist-info/RECORD",
    "*.dist-info/REQUESTED",
    ".lock",
    "bin",
)
"""What the installation makes, and what only type checkers read."""

_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest that the format knows."""
_TASK_ROOT: Final = "/var/task"
"""Where Lambda unpacks an archive."""


class ArchiveError(Exception):
    """An archive cannot be made."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a function is made of; paths in the project."""

    code: tuple[str, ...]
    """Folders and files."""
    lock: str
    without: tuple[str, ...] = ()
    """Folders of packages that it never needs."""


_SHARED: Final = ("contract", "lambdas/__init__.py", "lambdas/database_login.py", "lambdas/rds_ca.pem")

FUNCTIONS: Final[Mapping[str, Contents]] = {
    "recommendations_api": Contents(
        code=(*_SHARED, "lambdas/recommendations_api"),
        lock="locks/api.txt",
        # FastAPI asks of every parameter whether it is of Pydantic 1, and imports it for that, but does
        # without where it isn't there.
        without=("pydantic/v1",),
    ),
    "migrate_database": Contents(code=(*_SHARED, "lambdas/migrate_database"), lock="locks/api.txt"),
    # It connects and logs as the API does.
    "housekeeping": Contents(
        code=(
            *_SHARED,
            "lambdas/deadline.py",
            "lambdas/documents.py",
            "lambdas/recommendations_api/__init__.py",
            "lambdas/recommendations_api/database.py",
            "lambdas/recommendations_api/logs.py",
            "lambdas/housekeeping",
        ),
        lock="locks/api.txt",
    ),
    "jwt_authorizer": Contents(
        code=(
            "lambdas/__init__.py",
            "lambdas/deadline.py",
            "lambdas/documents.py",
            "lambdas/recommendations_api/__init__.py",
            "lambdas/recommendations_api/logs.py",
            "lambdas/jwt_authorizer",
        ),
        lock="locks/jwt_authorizer.txt",
    ),
}
"""By name; Lambda enters `lambdas.NAME.handler.handler`."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What an archive is to run on."""

    python: str
    """Its version, such as `3.12`."""
    platform: str | None = None
    """As uv names it; None for this machine's."""


LAMBDA: Final[Mapping[str, Target]] = {
    "arm64": Target(python="3.12", platform="aarch64-manylinux_2_28"),
    "x86_64": Target(python="3.12", platform="x86_64-manylinux_2_28"),
}
"""By architecture."""

HERE: Final = Target(python=f"{sys.version_info.major}.{sys.version_info.minor}")


def build(name: str, output: Path, target: Target) -> None:
    """Make the archive of a function. Raises ArchiveError."""
    with tempfile.TemporaryDirectory(prefix="archive-") as temporary:
        folder = Path(temporary)
        lay_out(FUNCTIONS[name], folder, target, interpreter=find_interpreter(target))
        output.parent.mkdir(parents=True, exist_ok=True)
        pack(folder, output)


def lay_out(contents: Contents, folder: Path, target: Target, *, interpreter: str | None) -> None:
    """Put what an archive holds into an empty folder. Raises ArchiveError.

    `interpreter` compiles; without one sources alone have to do.
    """
    _install(PROJECT / contents.lock, folder, target)
    for pattern in (*_LEFT_OUT, *contents.without):
        for unneeded in list(folder.glob(pattern)):
            shutil.rmtree(unneeded) if unneeded.is_dir() else unneeded.unlink()
    for path in contents.code:
        _copy(PROJECT / path, folder / path)
    if interpreter is not None:
        _compile(folder, interpreter)
    else:
        logger.warning(
            "no Python %s was found, so nothing is compiled: each cold start will take nearly twice as long;"
            " install one, as by `uv python install %s`",
            target.python,
            target.python,
        )


def pack(folder: Path, output: Path) -> None:
    """Compress all files of a folder."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    with zipfile.ZipFile(output, "w") as archive:
        for name in files:
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system = 3  # Unix, where permissions mean something
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, (folder / name).read_bytes(), zipfile.ZIP_DEFLATED, 9)


def find_interpreter(target: Target) -> str | None:
    """A Python of the target's version, whose `.pyc` files it can read; None where there is none."""
    if target.python == HERE.python:
        return sys.executable
    found = _run(uv(), "python", "find", "--no-python-downloads", "--no-project", target.python)
    if found.returncode == 0:
        return found.stdout.strip()
    return next(_of_pyenv(target.python), None)


def _of_pyenv(version: str) -> Iterator[str]:
    """Those that uv doesn't see, because pyenv only shows the version that is in use."""
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    yield from map(str, sorted(root.glob(f"versions/{version}.*/bin/python{version}")))


def _install(lock: Path, folder: Path, target: Target) -> None:
    platform = ("--python-platform", target.platform) if target.platform else ()
    versions = ("--python-version", target.python, *platform)
    how = ("--only-binary", ":all:", "--no-deps", "--require-hashes", "--link-mode", "copy")
    done = _run(uv(), "pip", "install", "--quiet", "--target", str(folder), *versions, *how, "-r", str(lock))
    if done.returncode != 0:
        raise ArchiveError(f"the packages of {lock.name} could not be installed: {done.stderr.strip()}")


def _copy(source: Path, destination: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, destination, ignore=shutil.ignore_patterns("__pycache__"))
    elif source.is_file():
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, destination)
    else:
        raise ArchiveError(f"{source.relative_to(PROJECT)} is not there")


def _compile(folder: Path, interpreter: str) -> None:
    flags = ("-I", "-X", "no_debug_ranges", "-m", "compileall", "-q")
    names = ("-s", str(folder), "-p", _TASK_ROOT)
    done = _run(interpreter, *flags, *names, "--invalidation-mode", "unchecked-hash", str(folder))
    if done.returncode != 0:
        raise ArchiveError(f"{interpreter} cannot compile it: {done.stdout.strip()} {done.stderr.strip()}")


def uv() -> str:
    """The program: of this environment, else of the path."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else "uv"


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ArchiveError(f"{command[0]} cannot be started: {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Make an archive and tell where it is; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lambdas.archive", description=__doc__)
    parser.add_argument("name", choices=FUNCTIONS)
    parser.add_argument("--output", type=Path, help="default: build/NAME.zip")
    parser.add_argument("--architecture", choices=LAMBDA, default="arm64", help="default: arm64")
    given = parser.parse_args(arguments)
    output = given.output or PROJECT / "build" / f"{given.name}.zip"
    logging.basicConfig(format="%(message)s")
    try:
        build(given.name, output, LAMBDA[given.architecture])
    except ArchiveError as error:
        sys.stderr.write(f"no archive was made: {error}\n")
        return 1
    sys.stdout.write(f"{output}: {output.stat().st_size / 1e6:.2f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
