"""Where Lambda enters."""
# ruff: noqa: E402 - imports are most of what the start takes

import gc

# What imports make stays: looking for garbage among it takes a tenth of the start.
gc.disable()

import os
import signal
import sys
from types import FrameType
from typing import Any

from mangum.types import LambdaContext, LambdaEvent

from lambdas.recommendations_api.environment import Environment
from lambdas.recommendations_api.extension import start_extension
from lambdas.recommendations_api.logs import configure_logs
from lambdas.recommendations_api.settings import Settings

configure_logs()
_environment = Environment(Settings())


def handler(event: LambdaEvent, context: LambdaContext) -> dict[str, Any]:
    """Answer one request."""
    return _environment(event, context)


def _end(_signal: int, _frame: FrameType | None) -> None:
    _environment.stop()
    sys.stdout.flush()
    # Not sys.exit: that would wait for the runtime client's thread, which waits for the next event.
    os._exit(0)


if start_extension(os.environ.get("AWS_LAMBDA_RUNTIME_API")):
    signal.signal(signal.SIGTERM, _end)

gc.freeze()
gc.enable()
