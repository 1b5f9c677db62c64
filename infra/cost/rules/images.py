"""Images: built by CodeBuild, kept in ECR."""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from infra.cost.assumptions import Assumptions
from infra.cost.deployment import Deployment, Resource
from infra.cost.usage import Rule, Usage

BUILD: Final = "Custom::CDKContainerImageBuild"
IMAGES: Final = "Training and images"


def repository(repository: Resource, _: Deployment, assumptions: Assumptions) -> Iterator[Usage]:
    """As many images as its rule keeps, though they share layers."""
    text = repository.properties.get("LifecyclePolicy", {}).get("LifecyclePolicyText", "{}")
    rules = json.loads(text).get("rules", [])
    kept = max((rule["selection"]["countNumber"] for rule in rules), default=1)
    yield Usage(IMAGES, "ECR", "ecr.gb", kept * assumptions.image_gb)


def project(project: Resource, deployment: Deployment, assumptions: Assumptions) -> Iterator[Usage]:
    """By the minute of its kind of machine, for each image that it builds."""
    environment = project.properties["Environment"]
    kind, size = environment["Type"].lower(), environment["ComputeType"].lower()
    images = len(deployment.referring_to(project, BUILD))
    minutes = images * assumptions.builds_per_month * assumptions.build_minutes
    yield Usage(IMAGES, f"CodeBuild, {kind}", f"codebuild.{kind}.{size}_minute", minutes)


RULES: Final[Mapping[str, Rule]] = {
    "AWS::ECR::Repository": repository,
    "AWS::CodeBuild::Project": project,
}
