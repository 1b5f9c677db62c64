"""Resources that a function makes, as CloudFormation has it made: it sends an event, and waits for an answer.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref.html
"""

import json
import threading
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from botocore.config import Config
from localstack.aws.connect import connect_to
from localstack.config import GATEWAY_LISTEN
from localstack.http import Request, Response
from localstack.services.cloudformation.resource_provider import (
    OperationStatus,
    ProgressEvent,
    ResourceProvider,
    ResourceRequest,
)
from localstack.services.edge import ROUTER

_ANSWERS: Final = "/_cloudformation/custom-resources"
_LONGEST_FUNCTION: Final = 900
_PATIENCE: Final = 10
"""Seconds for the answer to arrive after the function has ended; functions answer before they do."""

Properties = dict[str, Any]


class CustomResourceProvider(ResourceProvider[Properties]):
    """Fails with the function's own reason.

    Where the function itself fails, it does so at once; CloudFormation waits an hour for an answer then.
    """

    SCHEMA: ClassVar = {"primaryIdentifier": ["/properties/PhysicalResourceId"]}

    def create(self, request: ResourceRequest[Properties]) -> ProgressEvent[Properties]:
        """Ask for a new one."""
        return _answered(request, "Create")

    def update(self, request: ResourceRequest[Properties]) -> ProgressEvent[Properties]:
        """Ask for a change; where the answer names another resource, the old one is to be deleted."""
        before = request.previous_state or {}
        event = _answered(request, "Update", before=before)
        old, new = before.get("PhysicalResourceId"), event.resource_model.get("PhysicalResourceId")
        if event.status is OperationStatus.SUCCESS and old != new:
            request.desired_state = before
            deleted = _answered(request, "Delete", before=before)
            if deleted.status is OperationStatus.FAILED:
                return deleted
        return event

    def delete(self, request: ResourceRequest[Properties]) -> ProgressEvent[Properties]:
        """Ask for its end."""
        return _answered(request, "Delete", before=request.previous_state or {})


def _answered(
    request: ResourceRequest[Properties], kind: str, *, before: Mapping[str, Any] | None = None
) -> ProgressEvent[Properties]:
    # What a function answered lies beside what the template says: a GetAtt reads it there.
    given = (before or {}).get("Given") if kind == "Delete" else _texts(request.desired_state)
    answer = _ask(request, _event(request, kind, given or {}, before))
    if answer.get("Status") != "SUCCESS":
        return ProgressEvent(
            OperationStatus.FAILED, resource_model={}, message=answer.get("Reason") or "no reason given"
        )
    model = {
        **(answer.get("Data") or {}),
        "Given": given,
        "PhysicalResourceId": answer["PhysicalResourceId"],
    }
    return ProgressEvent(OperationStatus.SUCCESS, resource_model=model)


def _event(
    request: ResourceRequest[Properties], kind: str, given: Properties, before: Mapping[str, Any] | None
) -> Properties:
    event = {
        "RequestType": kind,
        "RequestId": str(uuid.uuid4()),
        "StackId": request.stack_id,
        "ResourceType": request.resource_type,
        "LogicalResourceId": request.logical_resource_id,
        "ServiceToken": given.get("ServiceToken"),
        "ResourceProperties": given,
    }
    if before is not None:
        event["PhysicalResourceId"] = before.get("PhysicalResourceId")
    if kind == "Update" and before is not None:
        event["OldResourceProperties"] = before.get("Given")
    return event


def _ask(request: ResourceRequest[Properties], event: Properties) -> Properties:
    path = f"{_ANSWERS}/{event['RequestId']}"
    arrived = threading.Event()
    answer: Properties = {}

    def take(arriving: Request, **_: object) -> Response:
        answer.update(json.loads(arriving.get_data()))
        arrived.set()
        return Response("", 200)

    rule = ROUTER.add(path, take, methods=["PUT"])
    try:
        url = f"http://127.0.0.1:{GATEWAY_LISTEN[0].port}{path}"
        failure = _invoke(request, {**event, "ResponseURL": url})
        if failure is not None:
            return {"Status": "FAILED", "Reason": failure}
        if not arrived.wait(_PATIENCE):
            return {"Status": "FAILED", "Reason": f"{event['ServiceToken']} ended without an answer"}
    finally:
        ROUTER.remove(rule)
    return answer


def _invoke(request: ResourceRequest[Properties], event: Properties) -> str | None:
    """What went wrong inside of the function, if anything."""
    client = connect_to(
        aws_access_key_id=request.account_id,
        region_name=request.region_name,
        config=Config(read_timeout=_LONGEST_FUNCTION + 60, retries={"total_max_attempts": 1}),
    ).lambda_
    result = client.invoke(FunctionName=event["ServiceToken"], Payload=json.dumps(event).encode())
    if "FunctionError" not in result:
        return None
    error = json.loads(result["Payload"].read())
    return f"{error.get('errorType')}: {error.get('errorMessage')}"


def _texts(value: Any) -> Any:
    """CloudFormation makes texts of numbers and truth values."""
    if isinstance(value, dict):
        return {name: _texts(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_texts(each) for each in value]
    if isinstance(value, bool):
        return str(value).lower()
    return value if value is None or isinstance(value, str) else str(value)
