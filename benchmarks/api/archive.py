"""What is deployed: the function's archive, and the naive one's as tutorials make it, unpacked or weighed."""

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.bars import FOLDER
from lambdas.archive import (
    FUNCTIONS,
    HERE,
    LAMBDA,
    PROJECT,
    ArchiveError,
    Contents,
    find_interpreter,
    lay_out,
    pack,
    uv,
)

OURS = FUNCTIONS["recommendations_api"]
ARCHITECTURE = "arm64"

_MEASURING = ("benchmarks/__init__.py", "benchmarks/api")
_NAIVE_PACKAGES = ("boto3", "fastapi", "mangum", "prometheus-client", "psycopg[binary,pool]")


class ArchiveSize(NamedTuple):
    """Compressed, in 10⁶ bytes."""

    compiled_mb: float
    """With the `.pyc` files, without which every cold start compiles everything that it imports."""
    sources_mb: float
    """Without them."""


def archive_size() -> ArchiveSize:
    """What the archive weighs. Raises ArchiveError."""
    target = LAMBDA[ARCHITECTURE]
    # Where there is no Python of the version that Lambda has: what its files weigh is nearly the same.
    interpreter = find_interpreter(target) or sys.executable
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        lay_out(OURS, folder, target, interpreter=interpreter)
        compiled_mb = compressed_mb(folder)
        for path in list(folder.rglob("*.pyc")):
            path.unlink()
        return ArchiveSize(compiled_mb=compiled_mb, sources_mb=compressed_mb(folder))


def compressed_mb(folder: Path) -> float:
    """What all files of a folder weigh in one archive, in 10⁶ bytes."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        archive = Path(name) / "function.zip"
        pack(folder, archive)
        return archive.stat().st_size / 1e6


def unpack_ours(folder: Path) -> None:
    """What Lambda would unpack, for this machine, and what measures beside it. Raises ArchiveError."""
    contents = replace(OURS, code=(*OURS.code, *_MEASURING))
    lay_out(contents, folder, HERE, interpreter=sys.executable)


def unpack_peers(folder: Path) -> None:
    """The same of both peers: the packages of the naive one, in the versions that ours has."""
    contents = Contents(code=("contract", *_MEASURING), lock=str(_naive_lock()))
    lay_out(contents, folder, HERE, interpreter=sys.executable)


def _naive_lock() -> Path:
    lock = FOLDER.absolute() / "naive.txt"
    command = [uv(), "pip", "compile", "--quiet", "--generate-hashes", "--python-version", HERE.python]
    done = subprocess.run(
        [*command, "--constraint", str(PROJECT / "locks/dev.txt"), "--output-file", str(lock), "-"],
        input="\n".join(_NAIVE_PACKAGES),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ArchiveError(f"the naive function's packages were not found: {done.stderr.strip()}")
    return lock
