"""Python interpreters on this machine, by the version that a function asks for."""

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lambda_executor.errors import NoInterpreterError

_RUNTIME = re.compile(r"python(3\.\d+)")
_PROBE = """
import importlib.util, sys
print("%d.%d" % sys.version_info[:2], importlib.util.find_spec("awslambdaric") is not None)
"""


def find_python(runtime: str) -> Path:
    """An interpreter for Lambda's `runtime`, such as `python3.12`, that has `awslambdaric`.

    Looked for: the one that runs this, PATH, and what pyenv and uv have installed. Raises
    NoInterpreterError, which tells what was found and what to install.
    """
    match = _RUNTIME.fullmatch(runtime)
    if match is None:
        raise NoInterpreterError(
            f"{runtime!r} is no runtime of Python; expected python3.N, such as python3.12"
        )
    version = match[1]
    without_client = None
    for candidate in _candidates(version):
        probed = _probe(str(candidate))
        if probed == (version, True):
            return candidate
        if probed == (version, False):
            without_client = without_client or candidate
    if without_client is None:
        raise NoInterpreterError(f"no Python {version} was found; install it, or name its path")
    raise NoInterpreterError(
        f"{without_client} lacks the runtime client; install it: {without_client} -m pip install awslambdaric"
    )


@functools.cache
def version_of(python: str) -> str:
    """Such as 3.12. Raises NoInterpreterError where it does not run."""
    if python == sys.executable:
        return "{}.{}".format(*sys.version_info)
    probed = _probe(python)
    if probed is None:
        raise NoInterpreterError(f"{python} does not run")
    return probed[0]


def _candidates(version: str) -> Iterator[Path]:
    yield Path(sys.executable)
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if found := shutil.which(f"python{version}", path=folder):
            yield Path(found)
    home = Path.home()
    yield from sorted(home.glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    yield from sorted(home.glob(f".local/share/uv/python/cpython-{version}.*/bin/python{version}"))


def _probe(python: str) -> tuple[str, bool] | None:
    """Its version and whether it has the runtime client; None where it does not run, as a mere shim."""
    try:
        probe = subprocess.run(
            [python, "-I", "-c", _PROBE], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version, has_client = probe.stdout.split()
    return version, has_client == "True"
