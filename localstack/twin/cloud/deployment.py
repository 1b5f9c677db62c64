"""The stacks of stage `local`, deployed by the CDK's own command line, and what is found in them."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from botocore.exceptions import ClientError

from infra.config import Config
from twin.cloud.clients import client
from twin.cloud.parts import Parts
from twin.localstack_installation import PROJECT
from twin.processes import Server
from twin.s3 import REGION

STAGE = "local"
ACCOUNT = "000000000000"
CDK = PROJECT / "node_modules/.bin/cdk"
_TOOLKIT = "CDKToolkit"


class DeploymentError(Exception):
    """The CDK's command line failed; the message has the end of what it said."""


class NotDeployedError(Exception):
    """Something that a deployment makes is not there."""


@dataclass(frozen=True)
class Resource:
    """A resource of a stack, as CloudFormation tells of it."""

    stack: str
    logical_id: str
    physical_id: str
    kind: str
    is_placeholder: bool
    """LocalStack has no such thing, and put a name in its place."""


def bootstrap(parts: Parts) -> None:
    """Make what the CDK needs in an account, where it is not there yet. Raises DeploymentError."""
    with client(parts.endpoint, "cloudformation") as cloudformation:
        try:
            cloudformation.describe_stacks(StackName=_TOOLKIT)
        except ClientError:
            # In a folder without an app, which would be synthesized for nothing.
            _cdk(parts, "bootstrap", f"aws://{ACCOUNT}/{REGION}", cwd=parts.folder)


def deploy(parts: Parts, settings: Mapping[str, str] | None = None) -> None:
    """Deploy every stack. `settings` are `-c` of their own. Raises DeploymentError."""
    chosen = {"stage": STAGE, **parts.settings(), **(settings or {})}
    context = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
    how = ("--require-approval", "never", "--concurrency", "4", "--progress", "events")
    _cdk(parts, "deploy", "--all", *how, *_output(parts), *context)


def destroy(parts: Parts) -> None:
    """Destroy every stack. Raises DeploymentError."""
    _cdk(parts, "destroy", "--all", "--force", *_output(parts), "-c", f"stage={STAGE}")


def _output(parts: Parts) -> tuple[str, str]:
    # Beside that of others, which hold a lock on theirs.
    return "--output", str(parts.folder / "cdk.out")


def _cdk(parts: Parts, *arguments: str, cwd: Path = PROJECT) -> None:
    log = parts.logs / "cdk.log"
    environment = parts.environment()
    # It remembers accounts by access key, and every LocalStack's is the same.
    environment["CDK_HOME"] = str(parts.folder / "cdk-home")
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    began = log.stat().st_size if log.exists() else 0
    with Server("cdk", [CDK, *arguments], log=log, environment=environment, cwd=cwd) as process:
        while process.is_running:
            if not parts.are_up:
                # The CDK itself would try to reach it for many minutes.
                raise DeploymentError(f"LocalStack ended during `cdk {arguments[0]}`: see {parts.logs}")
            time.sleep(0.2)
        status = process.status
    if status != 0:
        with log.open("rb") as said:
            said.seek(began)
            tail = said.read().decode(errors="replace").rstrip().splitlines()[-30:]
        told = f"`cdk {arguments[0]}` failed; its log is {log}, which ends:"
        raise DeploymentError("\n".join([told, *tail]))


@dataclass(frozen=True)
class Deployment:
    """What was deployed."""

    parts: Parts
    resources: Sequence[Resource]
    outputs: Mapping[str, str]

    @classmethod
    def read(cls, parts: Parts) -> Self:
        """Ask CloudFormation. Raises NotDeployedError where there are no stacks."""
        prefix = Config.of({"stage": STAGE}).prefix
        with client(parts.endpoint, "cloudformation") as cloudformation:
            stacks = [
                stack
                for page in cloudformation.get_paginator("describe_stacks").paginate()
                for stack in page["Stacks"]
                if stack["StackName"].startswith(f"{prefix}-") and "DELETE" not in stack["StackStatus"]
            ]
            resources = [
                _resource(stack["StackName"], told)
                for stack in stacks
                for told in cloudformation.describe_stack_resources(StackName=stack["StackName"])[
                    "StackResources"
                ]
            ]
        outputs = {
            output["OutputKey"]: output["OutputValue"]
            for stack in stacks
            for output in stack.get("Outputs", [])
        }
        if not stacks:
            raise NotDeployedError("nothing is deployed: `make local-deploy` does it")
        return cls(parts, resources, outputs)

    @property
    def stacks(self) -> list[str]:
        """Their names."""
        return sorted({resource.stack for resource in self.resources})

    def of_kind(self, kind: str) -> list[Resource]:
        """The resources of a kind, such as `AWS::S3::Bucket`."""
        return [resource for resource in self.resources if resource.kind == kind]

    def bucket(self, construct_id: str) -> str:
        """The name of the bucket with that construct. Raises NotDeployedError."""
        for bucket in self.of_kind("AWS::S3::Bucket"):
            if bucket.logical_id.startswith(construct_id):
                return bucket.physical_id
        raise NotDeployedError(f"there is no bucket {construct_id}: the stack of data is not deployed")

    def described(self) -> dict[str, Any]:
        """What DAGs are told of where everything is."""
        with client(self.parts.endpoint, "s3") as s3:
            found = s3.get_object(Bucket=self.bucket("Dags"), Key="dags/deployment.json")
            document: dict[str, Any] = json.loads(found["Body"].read())
        return document

    def api_url(self) -> str:
        """Where the REST API answers. Raises NotDeployedError."""
        apis = self.of_kind("AWS::ApiGateway::RestApi")
        if not apis:
            raise NotDeployedError("there is no REST API: the stack of the API is not deployed")
        return f"{self.parts.endpoint}/_aws/execute-api/{apis[0].physical_id}/{STAGE}"

    def api_key(self) -> str:
        """The value of its key."""
        with client(self.parts.endpoint, "apigateway") as gateway:
            found = gateway.get_api_key(apiKey=self.outputs["ApiKeyId"], includeValue=True)
        return str(found["value"])


def _resource(stack: str, told: Mapping[str, Any]) -> Resource:
    return Resource(
        stack=stack,
        logical_id=told["LogicalResourceId"],
        physical_id=told.get("PhysicalResourceId", ""),
        kind=told["ResourceType"],
        # LocalStack's own word.
        is_placeholder="is not supported but was deployed as a fallback"
        in told.get("ResourceStatusReason", ""),
    )
