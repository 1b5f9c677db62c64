"""What SageMaker is asked for by each training: `CreateTrainingJob`, but for what a single run adds.

Whoever starts a job adds `TrainingJobName`, which begins with the deployment's prefix and a hyphen, and
`HyperParameters`; appends the run's name to `CheckpointConfig.S3Uri`, so that another try of the same run
goes on and another run starts afresh; and takes the channel `catalogue` away while the bucket has none,
because SageMaker refuses a channel of nothing.
"""

import re
from typing import Any, Final

from contract.s3_layout import CATALOGUE_PREFIX, EVENTS_PREFIX
from infra.config import Config
from infra.data import CHECKPOINTS_PREFIX, JOBS_PREFIX

CHECKPOINTS_PATH: Final = "/opt/ml/checkpoints"
PROTOCOLS: Final = ("batch", "session")
FIGURES: Final = ("users", "recall@10", "ndcg@10", "coverage")
STEPS: Final = ("read", "evaluate", "gate", "fit", "inspect", "report", "publish")

# Disks of an instance's own are encrypted by the hardware, and SageMaker refuses a key for them:
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ResourceConfig.html
_OWN_DISK: Final = re.compile(r"ml\.(?:[a-z]+\d+[a-z]*d[a-z]*|[gp][5-9][a-z]*|trn\d[a-z]*)\.")


def training_job(
    config: Config,
    *,
    image: str,
    role: str,
    key: str,
    events: str,
    recommendations: str,
    subnets: list[str],
    security_group: str,
    environment: dict[str, str],
) -> dict[str, Any]:
    """The request, with what every run has in common.

    `role` and `key` are ARNs, `events` and `recommendations` names of buckets; `environment` is what
    `training/settings.py` reads.
    """
    hours = config.training_max_hours
    request: dict[str, Any] = {
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            "MetricDefinitions": metric_definitions(),
        },
        "RoleArn": role,
        "InputDataConfig": [
            _channel("events", f"s3://{events}/{EVENTS_PREFIX}"),
            _channel("catalogue", f"s3://{events}/{CATALOGUE_PREFIX}"),
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{recommendations}/{JOBS_PREFIX}", "KmsKeyId": key},
        "ResourceConfig": {
            "InstanceType": config.training_instance,
            "InstanceCount": 1,
            "VolumeSizeInGB": config.training_volume_gb,
        },
        "VpcConfig": {"SecurityGroupIds": [security_group], "Subnets": subnets},
        "StoppingCondition": {"MaxRuntimeInSeconds": hours * 3600},
        "CheckpointConfig": {
            "S3Uri": f"s3://{recommendations}/{CHECKPOINTS_PREFIX}",
            "LocalPath": CHECKPOINTS_PATH,
        },
        "EnableManagedSpotTraining": config.training_spot,
        # A single instance has nobody to talk to; a rule of the account may ask for it all the same.
        "EnableInterContainerTrafficEncryption": True,
        "Environment": environment,
        "Tags": [
            {"Key": name, "Value": value}
            for name, value in {"application": config.name, "stage": config.stage, **config.tags}.items()
        ],
    }
    if config.training_spot:
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = 2 * hours * 3600
    if takes_volume_key(config.training_instance):
        request["ResourceConfig"]["VolumeKmsKeyId"] = key
    return request


def metric_definitions() -> list[dict[str, str]]:
    """What SageMaker reads out of the training's log, by the names that MLflow has it under."""
    figures = [
        (f"{protocol}.served.{figure.replace('@', '_at_')}", _figure(protocol, figure))
        for protocol in PROTOCOLS
        for figure in FIGURES
    ]
    steps = [(f"seconds.{step}", _seconds(step)) for step in STEPS]
    return [{"Name": name, "Regex": regex} for name, regex in (*figures, *steps)]


def takes_volume_key(instance: str) -> bool:
    """Whether the disk of such an instance is a volume that a key can be given for."""
    return _OWN_DISK.match(instance) is None


def _figure(protocol: str, figure: str) -> str:
    # The space before the name keeps `discovery_recall@10` apart from `recall@10`.
    return rf"event=evaluated protocol={protocol} model=served (?:.* )?{figure}=([0-9.e+-]+)"


def _seconds(step: str) -> str:
    return rf'event="step finished" step={step} seconds=([0-9.]+)'


def _channel(name: str, uri: str) -> dict[str, Any]:
    return {
        "ChannelName": name,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": uri,
                "S3DataDistributionType": "FullyReplicated",
            }
        },
    }
