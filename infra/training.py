"""Stack: what trains. The image, what a job may do and reach, and what SageMaker is asked for."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aws_cdk import Stack, aws_ec2, aws_s3_deployment
from aws_cdk.aws_ecr_assets import Platform
from constructs import Construct

from infra.config import Config
from infra.constructs.bucket_files import BucketFiles
from infra.constructs.built_image import BuiltImage
from infra.constructs.dag_files import FOLDER as DAGS_FOLDER
from infra.constructs.dag_files import TRAINING_JOB
from infra.constructs.training_role import TrainingRole
from infra.data import DataStack
from infra.network import NetworkStack
from infra.training_job import training_job

if TYPE_CHECKING:
    from infra.monitoring import MonitoringStack

PROJECT: Final = Path(__file__).parents[1]
DOCKERFILE: Final = "training/Dockerfile"
FILES: Final = ("contract", "locks/training.txt", "training")
"""What the image is built from; `.dockerignore` leaves parts of it out."""


class TrainingStack(Stack):
    """What SageMaker trains with."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        network: NetworkStack,
        data: DataStack,
        monitoring: "MonitoringStack",
    ) -> None:
        super().__init__(scope, construct_id, description="Shop recommender: what trains")
        self.image = BuiltImage(
            self,
            "Image",
            config=config,
            name="training",
            directory=PROJECT,
            dockerfile=DOCKERFILE,
            files=(*FILES, ".dockerignore"),
            build_args={"BASE": base_image(), "CODE_VERSION": code_version()},
            # What SageMaker trains on.
            platform=Platform.LINUX_AMD64,
            image=config.training_image,
        )
        self.security_group = aws_ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=network.vpc,
            allow_all_outbound=False,
            description=f"{config.prefix}: training jobs",
        )
        self._open_ways(monitoring)
        subnets = network.vpc.select_subnets(subnet_type=network.subnets.subnet_type)
        self.role = TrainingRole(
            self,
            "Role",
            config=config,
            events=data.events_bucket,
            recommendations=data.recommendations_bucket,
            key=data.key,
            image=self.image.repository,
            subnets=subnets,
            security_group=self.security_group,
        )
        job = training_job(
            config,
            image=self.image.uri,
            role=self.role.role_arn,
            key=data.key.key_arn,
            events=data.events_bucket.bucket_name,
            recommendations=data.recommendations_bucket.bucket_name,
            subnets=subnets.subnet_ids,
            security_group=self.security_group.security_group_id,
            environment={
                "RECOMMENDATIONS_URI": f"s3://{data.recommendations_bucket.bucket_name}",
                "MLFLOW_TRACKING_URI": monitoring.mlflow.url,
                # The night's retrain is worth more than its record.
                "MLFLOW_REQUIRED": "false",
                "PUSHGATEWAY_URL": monitoring.pushgateway.url,
            },
        )
        BucketFiles(
            self,
            "Job",
            config=config,
            bucket=data.dags_bucket,
            folder=DAGS_FOLDER,
            sources=[aws_s3_deployment.Source.json_data(TRAINING_JOB, job, escape=False)],
            # The DAGs are another stack's.
            prune=False,
        )

    def _open_ways(self, monitoring: "MonitoringStack") -> None:
        reach = self.security_group.connections
        for name, server in {"MLflow": monitoring.mlflow, "pushgateway": monitoring.pushgateway}.items():
            reach.allow_to(server.security_group, aws_ec2.Port.tcp(server.port), name)
        # S3 by its gateway, whose addresses differ by region; the rest through the NAT.
        self.security_group.add_egress_rule(aws_ec2.Peer.any_ipv4(), aws_ec2.Port.tcp(443), "AWS")


def base_image() -> str:
    """What the Dockerfile is built on, out of AWS's copy of Docker's library, which counts no pulls."""
    (base,) = re.findall(r"^ARG BASE=(\S+)$", (PROJECT / DOCKERFILE).read_text(), re.MULTILINE)
    return f"public.ecr.aws/docker/library/{base}"


def code_version(project: Path = PROJECT) -> str:
    """What manifests and MLflow call the code: a hash of it, since a deployment need not be of a commit."""
    digest = hashlib.sha256()
    for file in _sources(project):
        digest.update(f"{file.relative_to(project).as_posix()}\n".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _sources(project: Path) -> Iterator[Path]:
    for name in FILES:
        path = project / name
        files = path.rglob("*") if path.is_dir() else [path]
        yield from sorted(
            file
            for file in files
            if file.is_file() and "__pycache__" not in file.parts and "notebooks" not in file.parts
        )
