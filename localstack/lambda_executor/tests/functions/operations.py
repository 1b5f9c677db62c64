"""A handler that does what its event says; the tests run it here and under AWS's emulator."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.stdout.write("the module is loaded\n")


def handler(event: dict[str, Any], context: Any) -> Any:
    operation = event.pop("do")
    return globals()[operation](context=context, **event)


def echo(context: Any, value: Any) -> Any:
    return value


def fail(context: Any) -> None:
    raise KeyError("naïve")


def fail_because(context: Any) -> None:
    try:
        fail(context)
    except KeyError as error:
        raise ValueError("because of it") from error


def no_json(context: Any) -> Any:
    return {1, 2}


def raw(context: Any) -> bytes:
    return b"not JSON at all"


def large(context: Any, size: int) -> str:
    return "x" * (size - 2)


def leave(context: Any, status: int) -> None:
    sys.exit(status)


def leave_at_once(context: Any, status: int) -> None:
    os._exit(status)


def signal_itself(context: Any, number: int) -> None:
    os.kill(os.getpid(), number)
    signal.pause()


def sleep(context: Any, seconds: float) -> None:
    time.sleep(seconds)


def pid(context: Any) -> int:
    return os.getpid()


def variables(context: Any) -> dict[str, str]:
    return dict(os.environ)


def write(context: Any) -> None:
    sys.stdout.write("to stdout: é\n")
    sys.stderr.write("to stderr\n")


def told(context: Any) -> dict[str, Any]:
    """What the context has, and how the process was started."""
    return {
        "function_name": context.function_name,
        "function_version": context.function_version,
        "memory_limit_in_mb": context.memory_limit_in_mb,
        "invoked_function_arn": context.invoked_function_arn,
        "log_group_name": context.log_group_name,
        "log_stream_name": context.log_stream_name,
        "aws_request_id": context.aws_request_id,
        "client_context": repr(context.client_context),
        "identity": repr(context.identity),
        "remaining": context.get_remaining_time_in_millis(),
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
        "folder": str(Path.cwd()),
        "arguments": sys.argv[1:],
        "path": sys.path,
        "leads_its_group": os.getpgid(0) == os.getpid(),
    }
