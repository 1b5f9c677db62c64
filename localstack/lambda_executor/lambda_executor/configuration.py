"""What a function is made of, and the variables that its processes see."""

import datetime as dt
import os
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lambda_executor.interpreter import version_of

# From 3.12 on the runtime client waits for events in a thread, so that the main thread can run signal
# handlers meanwhile; it decides by this variable, not by the interpreter's version.
EXECUTION_ENV = "AWS_Lambda_python3.12"

NATIVE_STAND_IN = Path(__file__).with_name("native_stand_in")
"""Joins the path of processes where `awslambdaric` comes without its native half."""

# Without these some interpreters do not start, or do not find their temporary folder.
_INHERITED = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True)
class Configuration:
    """A function's settings."""

    handler: str
    code: Path
    """The folder that Lambda would unpack the function's archive into."""
    environment: Mapping[str, str]
    python: str
    timeout: float
    """Seconds an invocation may take."""
    init_timeout: float
    """Seconds a process may take until it asks for its first event."""
    memory_mb: int
    limit_memory: bool
    """Whether that is a limit, or only told to the function."""
    name: str
    opt: Path | None = None
    """What Lambda has at /opt: the layers."""
    region: str = "us-east-1"
    account: str = "000000000000"
    version: str = "$LATEST"

    @property
    def arn(self) -> str:
        """The name that the handler's context shows."""
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.name}"

    @property
    def memory(self) -> int:
        """The limit in bytes."""
        return self.memory_mb << 20

    def extensions(self) -> list[Path]:
        """The programs of the external extensions, in the order of their names."""
        folder = None if self.opt is None else self.opt / "extensions"
        return (
            sorted(file for file in folder.iterdir() if file.is_file()) if folder and folder.is_dir() else []
        )

    def variables(self, *, runtime_api: str) -> dict[str, str]:
        """The whole environment of the runtime; nothing of this process' leaks into it."""
        today = dt.datetime.now(dt.UTC).strftime("%Y/%m/%d")
        return {
            **self._shared_variables(runtime_api),
            "PYTHONPATH": os.pathsep.join(self._python_path()),
            "LAMBDA_TASK_ROOT": str(self.code),
            "_HANDLER": self.handler,
            "AWS_EXECUTION_ENV": EXECUTION_ENV,
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"{today}/[{self.version}]{uuid.uuid4().hex}",
        }

    def extension_variables(self, *, runtime_api: str) -> dict[str, str]:
        """The whole environment of an external extension: it sees less than the runtime.

        https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html
        """
        return self._shared_variables(runtime_api)

    def _shared_variables(self, runtime_api: str) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        if self.opt is not None:
            for name, folder in (("PATH", "bin"), ("LD_LIBRARY_PATH", "lib")):
                inherited[name] = os.pathsep.join(filter(None, [inherited.get(name), str(self.opt / folder)]))
        return {
            **inherited,
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            **self.environment,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": self.version,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_RUNTIME_API": runtime_api,
        }

    def _python_path(self) -> list[str]:
        """Where imports are looked for before the interpreter's own places, in Lambda's order."""
        paths = [str(self.code)]
        if self.opt is not None:
            folder = self.opt / "python"
            sites = sorted(folder.glob("lib/python3.*/site-packages"))
            if sites:  # asked only where it matters: it takes a start of the interpreter
                paths += [
                    str(site) for site in sites if site.parent.name == f"python{version_of(self.python)}"
                ]
            paths.append(str(folder))
        paths += filter(None, [self.environment.get("PYTHONPATH")])
        if sys.platform != "linux":
            paths.append(str(NATIVE_STAND_IN))
        return paths
