"""Imported by every Python of a function as it starts: programs that layers bring are where they lie here.

Lambda has layers at `/opt` and Python at `/var/lang`. A process of this machine sees neither, so a program
that a function starts by such a path is started by the real one.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_OPT = "/opt/"
_PYTHON = b"#!/var/lang/bin/python"


class _Popen(subprocess.Popen):  # type: ignore[type-arg]
    def __init__(self, args: Any, *rest: Any, **named: Any) -> None:
        super().__init__(_where_it_is(args), *rest, **named)


def _where_it_is(args: Any) -> Any:
    if not isinstance(args, list) or not str(args[0]).startswith(_OPT):
        return args
    program = Path(os.environ["LAMBDA_OPT"], str(args[0]).removeprefix(_OPT))
    with program.open("rb") as file:
        is_python = file.readline().startswith(_PYTHON)
    return [*([sys.executable] if is_python else []), str(program), *args[1:]]


if "LAMBDA_OPT" in os.environ:
    subprocess.Popen = _Popen  # type: ignore[misc]
