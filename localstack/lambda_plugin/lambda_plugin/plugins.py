"""What LocalStack loads by entry point; the parts behind are imported when they are first needed."""

from localstack.runtime import hooks
from localstack.services.cloudformation.resource_provider import (
    CloudFormationResourceProviderPlugin,
    ResourceProvider,
)
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor


class ProcessExecutorPlugin(RuntimeExecutorPlugin):
    """Chosen by `LAMBDA_RUNTIME_EXECUTOR=process`."""

    name = "process"

    def load(self, *_: object, **__: object) -> type[RuntimeExecutor]:
        """Functions as processes."""
        from lambda_plugin.executor import ProcessExecutor  # noqa: PLC0415

        return ProcessExecutor


class CustomResourcePlugin(CloudFormationResourceProviderPlugin):
    """For `AWS::CloudFormation::CustomResource` and every `Custom::…`."""

    name = "AWS::CloudFormation::CustomResource"

    def __init__(self) -> None:
        self.factory: type[ResourceProvider] | None = None

    def load(self, *_: object, **__: object) -> None:
        """Resources that a function makes."""
        from lambda_plugin.custom_resource import CustomResourceProvider  # noqa: PLC0415

        self.factory = CustomResourceProvider


@hooks.on_infra_start()  # type: ignore[untyped-decorator]
def patch() -> None:
    """Called while LocalStack starts."""
    from lambda_plugin import patches  # noqa: PLC0415

    patches.apply()
