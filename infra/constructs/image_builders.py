"""What builds a stack's images during a deployment: a project of CodeBuild, and a function that starts it."""

from typing import Final

from aws_cdk import RemovalPolicy, Stack, aws_codebuild, aws_lambda, aws_logs
from deploy_time_build import ContainerImageBuild

from infra.config import Config
from infra.constructs.acknowledgement import acknowledge
from infra.constructs.log_group import LogGroup

_STARTER: Final = "DeployTimeBuildCustomResourceHandler"


def settle_builders(build: ContainerImageBuild, config: Config) -> None:
    """Keep logs as long as others, and accept findings; called for each build, which share their builders."""
    for child in Stack.of(build).node.children:
        if isinstance(child, aws_codebuild.Project):
            _keep_logs(child, build, config)
            _explain_project(child)
        elif isinstance(child, aws_lambda.Function) and child.node.id.startswith(_STARTER):
            _keep_logs_of_starter(child, build, config)
            _explain_starter(child)


def _keep_logs(project: aws_codebuild.Project, build: ContainerImageBuild, config: Config) -> None:
    # CodeBuild would make the group by itself, to be kept for ever: it has to be there before a build is.
    logs = project.node.try_find_child("Logs") or LogGroup(
        project, "Logs", config=config, name=f"/aws/codebuild/{project.project_name}"
    )
    build.node.find_child("Resource").node.add_dependency(logs)


def _keep_logs_of_starter(starter: aws_lambda.Function, build: ContainerImageBuild, config: Config) -> None:
    group = starter.node.find_child("LogGroup").node.default_child
    assert isinstance(group, aws_logs.CfnLogGroup)  # noqa: S101 - a feature flag in cdk.json makes it
    group.retention_in_days = config.log_retention_days
    group.apply_removal_policy(RemovalPolicy.DESTROY)
    # So would Lambda by the first call, and CloudFormation would then find the name taken.
    build.node.find_child("Resource").node.add_dependency(group)


def _explain_project(project: aws_codebuild.Project) -> None:
    stack = Stack.of(project)
    resource = project.node.default_child
    assert isinstance(resource, aws_codebuild.CfnProject)  # noqa: S101 - for the types
    name = f"<{stack.get_logical_id(resource)}>"
    here = "<AWS::Region>:<AWS::AccountId>"
    assets = f"arn:<AWS::Partition>:s3:::cdk-{stack.synthesizer.bootstrap_qualifier}-assets-"
    logs = f"arn:<AWS::Partition>:logs:{here}:log-group:/aws/codebuild/{name}:*"
    reports = f"arn:<AWS::Partition>:codebuild:{here}:report-group/{name}-*"
    source = "The source of the image lies among CDK's assets, which it reads and doesn't write."
    acknowledge(
        project,
        {
            "AwsSolutions-CB4": "It leaves no artifacts that a key would be for: images go to ECR.",
            "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/"
            "AmazonElasticContainerRegistryPublicReadOnly]": "Base images come from ECR's public gallery.",
            "AwsSolutions-IAM5[Resource::*]": "ecr:GetAuthorizationToken knows no resource.",
            "AwsSolutions-IAM5[Action::s3:GetBucket*]": source,
            "AwsSolutions-IAM5[Action::s3:GetObject*]": source,
            "AwsSolutions-IAM5[Action::s3:List*]": source,
            f"AwsSolutions-IAM5[Resource::{assets}<AWS::AccountId>-<AWS::Region>/*]": source,
            f"AwsSolutions-IAM5[Resource::{logs}]": "The streams of its own log group.",
            f"AwsSolutions-IAM5[Resource::{reports}]": "CDK grants every project reports of its own; it makes"
            " none.",
        },
    )


def _explain_starter(starter: aws_lambda.Function) -> None:
    runtime = "The library's code, for the runtime that it is tested with; it runs in deployments alone."
    acknowledge(
        starter,
        {
            "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/"
            "AWSLambdaBasicExecutionRole]": "It may write logs, and beside that start builds.",
            "AwsSolutions-L1": runtime,
            "Serverless-LambdaLatestVersion": runtime,
            "Serverless-LambdaDefaultMemorySize": "It makes a single call.",
            "Serverless-LambdaDLQ": "CloudFormation invokes it and waits for its answer: a failure fails the"
            " deployment.",
            "Serverless-LambdaTracing": "It makes a single call, which CloudTrail tells of.",
        },
    )
