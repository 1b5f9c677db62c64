"""Updates of resources that LocalStack leaves as they were, and calls that a success."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from localstack.services.cloudformation.resource_provider import (
    OperationStatus,
    ProgressEvent,
    ResourceProvider,
    ResourceRequest,
)

Properties = dict[str, Any]
Update = Callable[[ResourceProvider, ResourceRequest[Properties]], ProgressEvent[Properties]]


def _alias(_: ResourceProvider, request: ResourceRequest[Properties]) -> ProgressEvent[Properties]:
    model = _merged(request)
    names = ("FunctionName", "FunctionVersion", "Name", "Description", "RoutingConfig")
    asked = {name: model[name] for name in names if name in model}
    request.aws_client_factory.lambda_.update_alias(**asked)
    return ProgressEvent(OperationStatus.SUCCESS, resource_model=model)


def _stage(_: ResourceProvider, request: ResourceRequest[Properties]) -> ProgressEvent[Properties]:
    model = _merged(request)
    request.aws_client_factory.apigateway.update_stage(
        restApiId=model["RestApiId"],
        stageName=model["StageName"],
        patchOperations=[{"op": "replace", "path": "/deploymentId", "value": model["DeploymentId"]}],
    )
    return ProgressEvent(OperationStatus.SUCCESS, resource_model=model)


def _put_again(provider: ResourceProvider, request: ResourceRequest[Properties]) -> ProgressEvent[Properties]:
    # They are made by a put, of the same name, and a put of what is there changes it.
    before = request.previous_state or {}
    for name, known in {"AlarmName": "AlarmName", "Name": "Id"}.items():
        if known in before:
            request.desired_state.setdefault(name, before[known])
    return provider.create(request)


def _merged(request: ResourceRequest[Properties]) -> Properties:
    return {**(request.previous_state or {}), **request.desired_state}


UPDATES: Final[Mapping[str, Update]] = {
    "AWS::ApiGateway::GatewayResponse": _put_again,
    "AWS::ApiGateway::Stage": _stage,
    "AWS::CloudWatch::Alarm": _put_again,
    "AWS::Events::Rule": _put_again,
    "AWS::Lambda::Alias": _alias,
}
"""By type."""
