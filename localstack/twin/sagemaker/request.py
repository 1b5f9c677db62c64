"""What a CreateTrainingJob must be like before a job is made of it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from twin.sagemaker.api_model import RequestError, refuse_violations

BASE: Final = "/opt/ml"
SPOT: Final = "EnableManagedSpotTraining is set to true"


def refuse(request: Mapping[str, Any]) -> None:
    """Raise RequestError for what the real service refuses, and for what only the real one can do."""
    refuse_violations("CreateTrainingJob", request)
    for told in _broken_rules(request):
        raise RequestError(told)
    for what in _impossible(request):
        raise RequestError(f"The local SageMaker can't do this: {what}")


def _broken_rules(request: Mapping[str, Any]) -> Iterator[str]:
    required = (
        "AlgorithmSpecification",
        "RoleArn",
        "OutputDataConfig",
        "ResourceConfig",
        "StoppingCondition",
    )
    for name in required:
        if name not in request:
            yield f"{name} is required"
    limits = request["StoppingCondition"]
    wait = limits.get("MaxWaitTimeInSeconds")
    if not request.get("EnableManagedSpotTraining"):
        if wait is not None:
            yield "Invalid MaxWaitTimeInSeconds. It is only supported when " + SPOT
    elif wait is None or wait < limits.get("MaxRuntimeInSeconds", 0):
        yield (
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
            f"MaxRuntimeInSeconds when {SPOT}"
        )
    channels = [channel["ChannelName"] for channel in request.get("InputDataConfig", [])]
    for name in sorted({name for name in channels if channels.count(name) > 1}):
        yield f"Channel names must be unique; {name} is there {channels.count(name)} times"
    for metric in request["AlgorithmSpecification"].get("MetricDefinitions", []):
        yield from _broken_metric(metric)


def _broken_metric(metric: Mapping[str, str]) -> Iterator[str]:
    try:
        groups = re.compile(metric["Regex"]).groups
    except re.error as error:
        yield f"Invalid regular expression of the metric {metric['Name']}: {error}"
    else:
        if groups < 1:
            yield f"Invalid regular expression of the metric {metric['Name']}: it has no group for the value"


def _impossible(request: Mapping[str, Any]) -> Iterator[str]:
    algorithm, resources = request["AlgorithmSpecification"], request["ResourceConfig"]
    if resources.get("InstanceCount", 1) != 1 or "InstanceGroups" in resources:
        yield "ResourceConfig of more than one instance"
    for name in ("AlgorithmName", "ContainerEntrypoint", "ContainerArguments"):
        if name in algorithm:
            yield f"AlgorithmSpecification.{name}: the program of this checkout runs in place of an image"
    if "Pipe" in (algorithm.get("TrainingInputMode"), *_values(request, "InputMode")):
        yield "the input mode Pipe"
    if "Gzip" in _values(request, "CompressionType"):
        yield "channels that are compressed"
    if request["OutputDataConfig"].get("CompressionType") == "NONE":
        yield "a model that isn't compressed"
    for source in _values(request, "DataSource"):
        if source.get("S3DataSource", {}).get("S3DataType") != "S3Prefix":
            yield "a channel that is no S3Prefix"
    for uri in _places(request):
        if not uri.startswith("s3://"):
            yield f"{uri}, which doesn't begin with s3://"
    place = request.get("CheckpointConfig", {}).get("LocalPath", BASE)
    if not f"{place}/".startswith(f"{BASE}/"):
        yield f"CheckpointConfig.LocalPath {place}, which isn't below {BASE}"


def _places(request: Mapping[str, Any]) -> Iterator[str]:
    """All that the request names in S3."""
    yield request["OutputDataConfig"]["S3OutputPath"]
    if "CheckpointConfig" in request:
        yield request["CheckpointConfig"]["S3Uri"]
    for source in _values(request, "DataSource"):
        yield source["S3DataSource"]["S3Uri"]


def _values(request: Mapping[str, Any], name: str) -> list[Any]:
    """What the channels have under `name`."""
    return [channel[name] for channel in request.get("InputDataConfig", []) if name in channel]
