"""A Python 3.13, the only one that LocalStack runs on."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lambdas.archive import uv
from twin.errors import MissingProgramError

VERSION = "3.13"
SETTING = "PYTHON313"
_PROBE = "import sys; print('%d.%d' % sys.version_info[:2])"


def find_python313() -> Path:
    """The setting's, else the first on this machine that runs. Raises MissingProgramError."""
    given = os.environ.get(SETTING)
    if given:
        if not _is_the_version(given):
            raise MissingProgramError(
                f"{SETTING}={given} is no Python {VERSION} that runs: expected the path of one"
            )
        return Path(given)
    found = next((candidate for candidate in _candidates() if _is_the_version(candidate)), None)
    if found is None:
        raise MissingProgramError(
            f"there is no Python {VERSION} on this machine, and LocalStack runs on no other: install it "
            f"(`uv python install {VERSION}`, `pyenv install {VERSION}`, or your system's package), or name "
            f"one: {SETTING}=/path/to/python{VERSION}"
        )
    return Path(found)


def fetch_python313() -> Path:
    """One that is there, or else one that uv downloads for this user. Raises MissingProgramError."""
    try:
        return find_python313()
    except MissingProgramError as error:
        if os.environ.get(SETTING):
            raise
        command = [uv(), "python", "install", VERSION]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        if told.returncode != 0:
            said = told.stderr.strip().splitlines() or ["it did not say why"]
            raise MissingProgramError(f"{error}; uv could not download it: {said[-1].strip()}") from error
        return find_python313()


def _candidates() -> Iterator[str]:
    # A version manager's shim may only pretend, and uv stumbles over it: each is tried, uv comes last.
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        yield str(Path(folder, f"python{VERSION}"))
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    yield from map(str, sorted(pyenv.glob(f"versions/{VERSION}*/bin/python{VERSION}"), reverse=True))
    command = [uv(), "python", "find", "--no-python-downloads", "--no-project", VERSION]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode == 0:
        yield told.stdout.strip()


def _is_the_version(candidate: str) -> bool:
    try:
        told = subprocess.run(
            [candidate, "-c", _PROBE], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.returncode == 0 and told.stdout.strip() == VERSION
