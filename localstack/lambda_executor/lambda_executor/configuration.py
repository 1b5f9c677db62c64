"""What a function is made of, and the variables that its processes see."""

import datetime as dt
import os
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    """Told to the function; not a limit."""
    name: str
    region: str = "us-east-1"
    account: str = "000000000000"
    version: str = "$LATEST"

    @property
    def arn(self) -> str:
        """The name that the handler's context shows."""
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.name}"

    def variables(self, *, runtime_api: str) -> dict[str, str]:
        """The whole environment of a process; nothing of this one's leaks into it."""
        today = dt.datetime.now(dt.UTC).strftime("%Y/%m/%d")
        code = str(self.code)
        paths = [code, *filter(None, [self.environment.get("PYTHONPATH")])]
        if sys.platform != "linux":
            paths.append(str(NATIVE_STAND_IN))
        return {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            **self.environment,
            "PYTHONPATH": os.pathsep.join(paths),
            "LAMBDA_TASK_ROOT": code,
            "_HANDLER": self.handler,
            "AWS_EXECUTION_ENV": EXECUTION_ENV,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": self.version,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"{today}/[{self.version}]{uuid.uuid4().hex}",
            "AWS_LAMBDA_RUNTIME_API": runtime_api,
        }
