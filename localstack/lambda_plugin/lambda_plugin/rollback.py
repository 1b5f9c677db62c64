"""An update that fails is taken back, as CloudFormation does.

LocalStack itself leaves what has changed by then, goes on to delete what the new template has no more, and
remembers the new template, so that the next update changes nothing.
"""

import logging
from dataclasses import dataclass
from typing import Any

from localstack.aws.api.cloudformation import ChangeAction, ChangeSetType, StackStatus
from localstack.services.cloudformation.engine.v2.change_set_model import is_nothing
from localstack.services.cloudformation.engine.v2.change_set_model_preproc import PreprocProperties

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """What was to be done to a resource; `before` or `after` is nothing where it is made or deleted."""

    name: str
    before: Any
    after: Any


def execute(executor: Any, original: Any) -> Any:
    """Execute a change set, and where an update fails leave the stack as it was.

    `executor.changes` is filled while the change set is executed.
    """
    change_set, stack = executor._change_set, executor._change_set.stack  # noqa: SLF001
    if change_set.change_set_type != ChangeSetType.UPDATE:
        return original(executor)
    before = dict(stack.resolved_resources)
    process = executor.process

    def process_or_take_back() -> Any:
        try:
            return process()
        except Exception:
            _take_back(executor)
            raise

    executor.process = process_or_take_back
    result = original(executor)
    if result.failure_message:
        for name in ("template", "template_body", "processed_template"):
            setattr(change_set, name, getattr(stack, name))
        result.resources.clear()
        result.resources.update(before)
    return result


def _take_back(executor: Any) -> None:
    """Undo what was done, the last first; deletions were put off, and are forgotten.

    The one that failed stays as it is: what became of it nobody knows. CloudFormation would ask it to change
    back.
    """
    executor._change_set.stack.set_stack_status(StackStatus.UPDATE_ROLLBACK_IN_PROGRESS)  # noqa: SLF001
    executor._deferred_actions.clear()  # noqa: SLF001
    for change in reversed(executor.changes):
        resource = executor.resources.get(change.name)
        if is_nothing(change.after) or resource is None or resource["ResourceStatus"].endswith("_FAILED"):
            continue
        now = PreprocProperties(properties=resource["Properties"])
        is_new = is_nothing(change.before) or change.after.requires_replacement
        event = executor._execute_resource_action(  # noqa: SLF001
            action=ChangeAction.Remove if is_new else ChangeAction.Modify,
            logical_resource_id=change.name,
            resource_type=change.after.resource_type,
            before_properties=now,
            after_properties=None if is_new else change.before.properties,
            part_of_replacement=is_new,
        )
        logger.info("took %s back: %s %s", change.name, event.status, event.message or "")
