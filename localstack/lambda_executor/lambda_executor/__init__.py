"""Lambda functions as processes on this machine, under the runtime client that AWS uses itself.

A `Function` keeps warm execution environments. Each is a process that runs `awslambdaric`, with a
server of the Lambda Runtime API on a loopback port of its own.
"""

from lambda_executor.environment import Environment
from lambda_executor.errors import (
    ExecutorError,
    FunctionStoppedError,
    ImpatientError,
    NoInterpreterError,
    RequestTooLargeError,
    StartError,
    TooManyRequestsError,
)
from lambda_executor.function import Function
from lambda_executor.interpreter import find_python
from lambda_executor.invocation import InvocationResult

__all__ = [
    "Environment",
    "ExecutorError",
    "Function",
    "FunctionStoppedError",
    "ImpatientError",
    "InvocationResult",
    "NoInterpreterError",
    "RequestTooLargeError",
    "StartError",
    "TooManyRequestsError",
    "find_python",
]
