"""Lambda's runtimes on this machine, in the folder that `LAMBDA_RUNTIMES` names.

`pythonX.Y` and `python` are environments with `awslambdaric` and boto3; `node` has `bin/node` and
`node_modules`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = "LAMBDA_RUNTIMES"

_HERE = Path(__file__).parent


class MissingRuntimeError(Exception):
    """A function's runtime is not on this machine; the message says what to do."""


@dataclass(frozen=True)
class Runtime:
    """What starts a function's process."""

    interpreter: Path
    """What is run in place of `python`; it is given `-m awslambdaric HANDLER`."""
    variables: Mapping[str, str]
    """Beside the function's own."""


def find_runtime(name: str, opt: Path | None) -> Runtime:
    """The runtime of a function, with its layers in `opt`. Raises MissingRuntimeError."""
    folder = Path(os.environ[FOLDER])
    if match := re.fullmatch(r"python(\d\.\d+)", name):
        return _python(folder, match[1], opt)
    if name.startswith("nodejs"):
        return _node(folder, opt)
    raise MissingRuntimeError(f"{name} does not run here: Python and Node do")


def _python(folder: Path, version: str, opt: Path | None) -> Runtime:
    # Where there is no such Python, one that is newer or older has to do; archives are made for it, too.
    exact = folder / f"python{version}"
    environment = exact if exact.exists() else folder / "python"
    return Runtime(
        environment / "bin/python",
        {"PATH": _path(environment / "bin", opt), "PYTHONPATH": str(_HERE / "python"), **_opt(opt)},
    )


def _node(folder: Path, opt: Path | None) -> Runtime:
    modules = folder / "node/node_modules"
    path = [*_below(opt, "nodejs/node_modules"), str(modules)]
    return Runtime(
        _HERE / "node/runtime",
        {"PATH": _path(folder / "node/bin", opt), "NODE_PATH": os.pathsep.join(path), **_opt(opt)},
    )


def _below(opt: Path | None, name: str) -> list[str]:
    return [] if opt is None else [str(opt / name)]


def _path(first: Path, opt: Path | None) -> str:
    return os.pathsep.join([str(first), *_below(opt, "bin"), os.environ.get("PATH", os.defpath)])


def _opt(opt: Path | None) -> dict[str, str]:
    return {} if opt is None else {"LAMBDA_OPT": str(opt)}
