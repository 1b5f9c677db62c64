"""What the executor itself can fail with; what a function does wrong is an `InvocationResult` instead.

ExecutorError
├── StartError              no process could be started
├── NoInterpreterError      no Python of the wanted version
├── TooManyRequestsError    every environment stayed busy
├── ImpatientError          the caller's patience ended before the invocation did
├── RequestTooLargeError    the event is larger than Lambda takes
└── FunctionStoppedError    the function was stopped meanwhile, or before
"""


class ExecutorError(Exception):
    """Base of all errors of the executor."""


class StartError(ExecutorError):
    """The process of an execution environment could not be started."""


class NoInterpreterError(ExecutorError):
    """No interpreter of the wanted version is there, or none that has the runtime client."""


class TooManyRequestsError(ExecutorError):
    """All environments were busy for as long as a caller may wait."""


class ImpatientError(ExecutorError):
    """The caller stopped waiting; the invocation goes on until it ends or times out."""


class RequestTooLargeError(ExecutorError):
    """The event is larger than a synchronous invocation may be."""


class FunctionStoppedError(ExecutorError):
    """The function was stopped; it takes no invocations any more."""
