"""Where LocalStack itself has to do otherwise; each says why."""

import tempfile
from pathlib import Path
from typing import Any

from localstack.services.cloudformation.engine.v2.change_set_model_executor import ChangeSetModelExecutor
from localstack.services.cloudformation.engine.v2.change_set_model_preproc import (
    MOCKED_REFERENCE,
    ChangeSetModelPreproc,
)
from localstack.services.cloudformation.resource_provider import ResourceProviderExecutor, convert_payload
from localstack.services.lambda_.invocation.execution_environment import ExecutionEnvironment
from localstack.services.s3 import provider as s3

from lambda_plugin import rollback
from lambda_plugin.updates import UPDATES


def apply() -> None:
    """Once, while LocalStack starts."""
    _give_placeholders_arns()
    _obey_log_groups()
    _take_failed_updates_back()
    _keep_objects_apart()
    _replace_only_what_must_be()
    _update_what_can_be()


def _give_placeholders_arns() -> None:
    # Attributes of what stands in for a resource are all `unknown`, which no policy takes for an ARN.
    attribute = ChangeSetModelPreproc._deployed_property_value_of  # noqa: SLF001

    def with_arns(self: Any, resource_logical_id: str, property_name: str, *rest: Any, **named: Any) -> Any:
        value = attribute(self, resource_logical_id, property_name, *rest, **named)
        if value == MOCKED_REFERENCE and property_name.endswith("Arn"):
            return f"arn:aws:placeholder:::{resource_logical_id}"
        return value

    ChangeSetModelPreproc._deployed_property_value_of = with_arns  # noqa: SLF001


def _obey_log_groups() -> None:
    # A function may be told where to log; else log groups would come to be that no stack knows.
    default = ExecutionEnvironment.get_log_group_name

    def log_group(self: Any) -> Any:
        return self.function_version.config.logging_config.get("LogGroup") or default(self)

    ExecutionEnvironment.get_log_group_name = log_group


def _take_failed_updates_back() -> None:
    execute = ChangeSetModelExecutor.execute
    change = ChangeSetModelExecutor._execute_resource_change  # noqa: SLF001

    def with_rollback(self: Any) -> Any:
        self.changes = []
        return rollback.execute(self, execute)

    def with_notes(self: Any, name: str, before: Any, after: Any) -> None:
        self.changes.append(rollback.Change(name, before, after))
        change(self, name, before, after)

    ChangeSetModelExecutor.execute = with_rollback
    ChangeSetModelExecutor._execute_resource_change = with_notes  # noqa: SLF001


def _keep_objects_apart() -> None:
    # Whatever TMPDIR says, S3's objects lie in one folder of /tmp, which each LocalStack empties as it ends.
    s3.DEFAULT_S3_TMP_DIR = str(Path(tempfile.gettempdir(), "s3"))


def _replace_only_what_must_be() -> None:
    # A property that refers to a changed resource counts as changed, whatever it comes to: an alias would be
    # made a second time because its function has another variable.
    change = ChangeSetModelExecutor._execute_resource_change  # noqa: SLF001

    def with_values(self: Any, name: str, before: Any, after: Any) -> None:
        if getattr(before, "properties", None) and getattr(after, "requires_replacement", False):
            provider = ResourceProviderExecutor.try_load_resource_provider(after.resource_type)
            fixed = [path.split("/")[2] for path in provider.SCHEMA.get("createOnlyProperties", [])]
            old, new = before.properties.properties, after.properties.properties
            after.requires_replacement = any(old.get(each) != new.get(each) for each in fixed)
        change(self, name, before, after)

    ChangeSetModelExecutor._execute_resource_change = with_values  # noqa: SLF001


def _update_what_can_be() -> None:
    execute = ResourceProviderExecutor.execute_action

    def with_updates(self: Any, resource_provider: Any, raw_payload: Any) -> Any:
        update = UPDATES.get(raw_payload["resourceType"])
        if update is None or raw_payload["action"] not in {"Modify", "Dynamic"}:
            return execute(self, resource_provider, raw_payload)
        request = convert_payload(stack_name=self.stack_name, stack_id=self.stack_id, payload=raw_payload)
        return update(resource_provider, request)

    ResourceProviderExecutor.execute_action = with_updates
