"""What the function's archive weighs: the code, and the packages that Lambda's arm64 Python would get."""

import compileall
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from training.errors import UserError

PROJECT = Path(__file__).parents[2]
CODE = ("contract", "lambdas")
LOCK = PROJECT / "locks/api.txt"

_UV = Path(sys.executable).with_name("uv")
_PLATFORM = ("--python-platform", "aarch64-manylinux_2_28", "--python-version", "3.12")


class ArchiveError(UserError):
    """The packages cannot be had."""


class ArchiveSize(NamedTuple):
    """Compressed, in 10⁶ bytes."""

    compiled_mb: float
    """With the `.pyc` files, without which every cold start compiles everything that it imports."""
    sources_mb: float
    """Without them."""


def archive_size() -> ArchiveSize:
    """What the archive weighs. Raises ArchiveError."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name) / "function"
        _install(folder)
        for code in CODE:
            shutil.copytree(PROJECT / code, folder / code, ignore=shutil.ignore_patterns("__pycache__"))
        sources_mb = compressed_mb(folder)
        # By this Python, which may not be Lambda's: what they weigh is nearly the same.
        compileall.compile_dir(folder, quiet=2)
        return ArchiveSize(compiled_mb=compressed_mb(folder), sources_mb=sources_mb)


def compressed_mb(folder: Path) -> float:
    """What all files of a folder weigh in one archive, in 10⁶ bytes."""
    with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                archive.write(path, path.relative_to(folder))
        return Path(file.name).stat().st_size / 1e6


def _install(folder: Path) -> None:
    command: list[str | Path] = [_UV, "pip", "install", "--quiet", "--target", folder, *_PLATFORM]
    options: list[str | Path] = ["--only-binary", ":all:", "--no-deps", "--require-hashes", "-r", LOCK]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ArchiveError(
            f"the packages of {LOCK.name} could not be installed for Lambda: {done.stderr.strip()}"
        )
