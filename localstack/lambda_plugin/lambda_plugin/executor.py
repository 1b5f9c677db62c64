"""An execution environment of Lambda as a process of this machine."""

import dataclasses
import time
from typing import Any

from lambda_executor import Function
from lambda_executor.memory import can_tell
from localstack.config import GATEWAY_LISTEN
from localstack.services.lambda_.invocation.lambda_models import FunctionVersion, InvocationResult
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

from lambda_plugin import layers
from lambda_plugin.runtimes import find_runtime

_HOST = "127.0.0.1"
# Images have these, and what stands in their place would mislead a function.
_NOT_HERE = ("LAMBDA_RUNTIME_DIR", "AWS_EXECUTION_ENV")


class ProcessExecutor(RuntimeExecutor):
    """One environment; LocalStack decides how many there are, and for how long.

    Its process starts with the first invocation, whose result tells what went wrong where it doesn't.
    """

    def __init__(self, id: str, function_version: FunctionVersion) -> None:  # noqa: A002 - LocalStack's
        super().__init__(id=id, function_version=function_version)
        self._function: Function | None = None

    def start(self, env_vars: dict[str, Any]) -> None:
        """Take the variables."""
        version = self.function_version
        opt = layers.layers_folder(version)
        runtime = find_runtime(str(version.config.runtime), opt)
        given = {name: str(value) for name, value in env_vars.items() if name not in _NOT_HERE}
        function = Function(
            handler=version.config.handler,
            code=version.config.code.get_unzipped_code_location(),
            environment={**runtime.variables, **given},
            python=runtime.interpreter,
            concurrency=1,
            timeout=version.config.timeout,
            memory_mb=version.config.memory_size,
            limit_memory=can_tell(),
            layers=[opt] if opt is not None else [],
            name=version.id.function_name,
        )
        function.configuration = dataclasses.replace(
            function.configuration,
            region=version.id.region,
            account=version.id.account,
            version=version.id.qualifier,
        )
        self._function = function

    def stop(self) -> None:
        """End the process, in the middle of an invocation, too."""
        if self._function is not None:
            self._function.stop()

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        """Hand an event to the process; `logs` has what it wrote, between the lines that Lambda writes."""
        assert self._function is not None  # noqa: S101 - LocalStack invokes what it has started
        request_id = payload["invoke-id"]
        began = time.monotonic()
        result = self._function.invoke(
            payload["payload"].encode(), request_id=request_id, trace_id=payload["trace-id"]
        )
        milliseconds = 1000 * (time.monotonic() - began)
        return InvocationResult(
            request_id=request_id,
            payload=result.payload,
            is_error=result.is_error,
            logs=self._framed(result.logs, request_id, milliseconds),
        )

    def _framed(self, logs: str, request_id: str, milliseconds: float) -> str:
        version = self.function_version
        body = logs if logs.endswith("\n") or not logs else f"{logs}\n"
        return (
            f"START RequestId: {request_id} Version: {version.id.qualifier}\n{body}"
            f"END RequestId: {request_id}\n"
            f"REPORT RequestId: {request_id}\tDuration: {milliseconds:.2f} ms"
            f"\tBilled Duration: {int(milliseconds) + 1} ms\tMemory Size: {version.config.memory_size} MB\n"
        )

    def get_address(self) -> str:
        """Loopback."""
        return _HOST

    def get_endpoint_from_executor(self) -> str:
        """Where functions find LocalStack."""
        return _HOST

    def get_runtime_endpoint(self) -> str:
        """Nobody calls LocalStack back: the Runtime API is the executor's own."""
        return f"http://{_HOST}:{GATEWAY_LISTEN[0].port}"

    def get_logs(self) -> str:
        """Nothing that an invocation has not told already."""
        return ""

    @classmethod
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        """Unpack code and layers. What it raises is told as the reason of the function's state."""
        find_runtime(str(function_version.config.runtime), None)
        function_version.config.code.prepare_for_execution()
        layers.lay_out(function_version)

    @classmethod
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        """Delete the layers; the code is LocalStack's to delete."""
        layers.remove(function_version)
