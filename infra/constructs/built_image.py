"""A container image: one that is given, or one that CodeBuild makes during the deploy."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aws_cdk import IgnoreMode, RemovalPolicy, Stack, aws_ecr, aws_ecs
from aws_cdk.aws_ecr_assets import Platform
from constructs import Construct
from deploy_time_build import ContainerImageBuild

from infra.config import Config
from infra.constructs.image_builders import settle_builders

_ECR: Final = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/"
    r"(?P<name>[^:@]+)(:(?P<tag>[^@]+))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_KEPT_IMAGES: Final = 10
"""What runs is the newest; going back builds the older one anew."""


class BuiltImage(Construct):
    """An image for ECS, by `container_image`, and for others, by `uri`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        name: str,
        directory: Path,
        dockerfile: str,
        files: tuple[str, ...],
        build_args: Mapping[str, str] | None = None,
        platform: Platform = Platform.LINUX_ARM64,
        image: str | None,
    ) -> None:
        """`image` is run as it is; None builds one, whose tags begin with `name`.

        `dockerfile` and `files`, files or whole folders, are paths in `directory`; nothing else goes to the
        build. Where `.dockerignore` is among them, it is obeyed. Build arguments are known at synthesis.
        """
        super().__init__(scope, construct_id)
        self.repository: aws_ecr.IRepository | None
        """Where who runs the image has to be allowed to pull; None where that is not ECR."""
        self.container_image: aws_ecs.ContainerImage
        if image is not None:
            self._take(image)
            return
        self.repository = self._make_repository(config)
        build = ContainerImageBuild(
            self,
            "Build",
            directory=str(directory),
            file=dockerfile,
            # In Docker's mode folders that can't hold what is wanted, as .venv, are never entered.
            exclude=["*", *(f"!{path}" for path in (dockerfile, *files)), "**/__pycache__"],
            ignore_mode=IgnoreMode.DOCKER,
            build_args=dict(build_args or {}),
            platform=platform,
            repository=self.repository,
            tag_prefix=f"{name}-",
        )
        self.uri = build.image_uri
        self.container_image = build.to_ecs_docker_image_code()
        settle_builders(build, config)

    def _take(self, image: str) -> None:
        self.uri = image
        in_ecr = _ECR.fullmatch(image)
        if in_ecr is None:
            self.repository = None
            self.container_image = aws_ecs.ContainerImage.from_registry(image)
            return
        arn = f"arn:{Stack.of(self).partition}:ecr:{in_ecr['region']}:{in_ecr['account']}"
        self.repository = aws_ecr.Repository.from_repository_attributes(
            self,
            "Repository",
            repository_arn=f"{arn}:repository/{in_ecr['name']}",
            repository_name=in_ecr["name"],
        )
        self.container_image = aws_ecs.ContainerImage.from_ecr_repository(
            self.repository, in_ecr["digest"] or in_ecr["tag"]
        )

    def _make_repository(self, config: Config) -> aws_ecr.Repository:
        return aws_ecr.Repository(
            self,
            "Repository",
            image_scan_on_push=True,
            # Each build has a tag of its own, also one that goes back to what was before.
            image_tag_mutability=aws_ecr.TagMutability.IMMUTABLE,
            lifecycle_rules=[
                aws_ecr.LifecycleRule(description=f"the newest {_KEPT_IMAGES}", max_image_count=_KEPT_IMAGES)
            ],
            removal_policy=RemovalPolicy.RETAIN if config.protected else RemovalPolicy.DESTROY,
            empty_on_delete=not config.protected,
        )
