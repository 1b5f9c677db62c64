"""A handler around another one that tells what its start took: processor time from import to first answer."""

import time

_started = time.process_time()

import importlib  # noqa: E402 - counts as the function's own
import os  # noqa: E402
from typing import Any  # noqa: E402

from benchmarks.api import WRAPPED  # noqa: E402

_module, _, _name = os.environ[WRAPPED].rpartition(".")
_handler = getattr(importlib.import_module(_module), _name)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The other one's answer, and the seconds of all threads so far."""
    answer = _handler(event, context)
    return {**answer, "cpuSeconds": time.process_time() - _started}
