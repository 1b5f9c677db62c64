"""What stays the same from one deployment to the next, and what every option makes of the app."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from infra.archives import Archives
from infra.config import STAGES
from infra.stage import synthesize
from tests.infra.conftest import Templates, read_templates, resources, stand_in
from tests.infra.deployed import ACCOUNT, REGION, Permissions, read_document
from tests.infra.test_api import routes

NOUNS = {
    "dev": {"network", "data", "monitoring", "training", "api", "alarms"},
    "prod": {"network", "data", "monitoring", "training", "api", "orchestration", "alarms"},
    "local": {"network", "data", "monitoring", "training", "api", "orchestration", "alarms"},
}

STATEFUL = (
    "AWS::EFS::FileSystem",
    "AWS::KMS::Key",
    "AWS::RDS::DBInstance",
    "AWS::S3::Bucket",
    "AWS::SecretsManager::Secret",
    "AWS::ECR::Repository",
    "AWS::MWAA::Environment",
)

# Whatever loses its logical id is deleted with all that is in it, and made anew, empty. Change this only
# together with a way for the data.
LOGICAL_IDS: Mapping[str, Mapping[str, str]] = {
    "dev": {
        "data AccessLogs8B620ECA": "AWS::S3::Bucket",
        "data Artifacts82DD59A1": "AWS::S3::Bucket",
        "data Dags188BE91E": "AWS::S3::Bucket",
        "data DatabaseInstanceAA8A5FDE": "AWS::RDS::DBInstance",
        "data EventsD32975C2": "AWS::S3::Bucket",
        "data Key961B73FD": "AWS::KMS::Key",
        "data MlflowSecretE7D9537B": "AWS::SecretsManager::Secret",
        "data Recommendations9D8B90D0": "AWS::S3::Bucket",
        "monitoring GrafanaAdmin809E6EA7": "AWS::SecretsManager::Secret",
        "monitoring GrafanaImageRepository6153A749": "AWS::ECR::Repository",
        "monitoring MlflowImageRepository4F1106FE": "AWS::ECR::Repository",
        "monitoring PrometheusDataFileSystem62708522": "AWS::EFS::FileSystem",
        "monitoring PrometheusImageRepository5D39518C": "AWS::ECR::Repository",
        "training ImageRepositoryD8036990": "AWS::ECR::Repository",
    },
    "prod": {
        "data AccessLogs8B620ECA": "AWS::S3::Bucket",
        "data Artifacts82DD59A1": "AWS::S3::Bucket",
        "data Dags188BE91E": "AWS::S3::Bucket",
        "data DatabaseInstanceAA8A5FDE": "AWS::RDS::DBInstance",
        "data EventsD32975C2": "AWS::S3::Bucket",
        "data Key961B73FD": "AWS::KMS::Key",
        "data MlflowSecretE7D9537B": "AWS::SecretsManager::Secret",
        "data Recommendations9D8B90D0": "AWS::S3::Bucket",
        "monitoring GrafanaAdmin809E6EA7": "AWS::SecretsManager::Secret",
        "monitoring GrafanaImageRepository6153A749": "AWS::ECR::Repository",
        "monitoring MlflowImageRepository4F1106FE": "AWS::ECR::Repository",
        "monitoring PrometheusDataFileSystem62708522": "AWS::EFS::FileSystem",
        "monitoring PrometheusImageRepository5D39518C": "AWS::ECR::Repository",
        "orchestration AirflowEnvironmentD4869977": "AWS::MWAA::Environment",
        "training ImageRepositoryD8036990": "AWS::ECR::Repository",
    },
    "local": {
        "data AccessLogs8B620ECA": "AWS::S3::Bucket",
        "data Artifacts82DD59A1": "AWS::S3::Bucket",
        "data Dags188BE91E": "AWS::S3::Bucket",
        "data EventsD32975C2": "AWS::S3::Bucket",
        "data Key961B73FD": "AWS::KMS::Key",
        "data MlflowSecretE7D9537B": "AWS::SecretsManager::Secret",
        "data Recommendations9D8B90D0": "AWS::S3::Bucket",
        "monitoring GrafanaAdmin809E6EA7": "AWS::SecretsManager::Secret",
        "monitoring PrometheusDataFileSystem62708522": "AWS::EFS::FileSystem",
        "orchestration AirflowEnvironmentD4869977": "AWS::MWAA::Environment",
    },
}

_CERTIFICATE = "arn:aws:acm:eu-central-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"

EVERYTHING = {
    "stage": "dev",
    "name": "other",
    "tags": "team=web",
    "vpc_id": "vpc-0123456789abcdef0",
    "availability_zones": "eu-central-1a,eu-central-1b",
    "private_subnet_ids": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
    "public_subnet_ids": "subnet-0123456789abcdef2,subnet-0123456789abcdef3",
    "database_snapshot": "arn:aws:rds:eu-central-1:123456789012:snapshot:before",
    "authorization": "jwt",
    "jwt_issuer": "https://issuer.example",
    "jwt_audience": "https://api.shop.example",
    "jwt_scope_prefix": "shop/",
    "snap_start": "true",
    "read_concurrency": "20",
    "write_concurrency": "10",
    "waf": "true",
    "tracing": "true",
    "api_gateway_log_role": "false",
    "domain_name": "api.shop.example",
    "domain_certificate": _CERTIFICATE,
    "hosted_zone_id": "Z123",
    "hosted_zone_name": "shop.example",
    "cors_origins": "https://www.shop.example",
    "training_image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/training@sha256:abc",
    "mwaa": "true",
    "retrain_schedule": "17 3 * * 1",
    "slack_webhook_secret": "shop/slack",
    "monitoring_certificate": _CERTIFICATE,
    "monitoring_domain": "watch.shop.example",
    "oidc_issuer": "https://issuer.example",
    "oidc_authorization_endpoint": "https://issuer.example/authorize",
    "oidc_token_endpoint": "https://issuer.example/token",
    "oidc_user_info_endpoint": "https://issuer.example/userinfo",
    "oidc_client_id": "shop",
    "oidc_client_secret": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:oidc-AbCdEf",
    "alarm_email": "oncall@shop.example",
    "budget_usd": "500",
}


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_has_its_stacks(templates: Templates, stage: str) -> None:
    assert set(templates[stage]) == NOUNS[stage]


@pytest.mark.parametrize(
    ("stage", "noun"), [(stage, noun) for stage in STAGES for noun in sorted(NOUNS[stage])]
)
def test_each_stack_is_what_it_was(
    templates: Templates, stage: str, noun: str, snapshot: SnapshotAssertion
) -> None:
    # Meant to change? `pytest tests/infra/test_app.py --snapshot-update`, and read the difference.
    assert _masked(templates[stage][noun]) == snapshot(extension_class=JSONSnapshotExtension)


def _masked(template: Mapping[str, Any]) -> Any:
    """Without hashes of what assets hold, and of what makes a version or a deployment."""
    text = json.dumps(template)
    text = re.sub(r"[0-9a-f]{64}", "<sha256>", text)
    text = re.sub(r"CODE_VERSION=[0-9a-f]+", "CODE_VERSION=<sha256>", text)
    text = re.sub(r"(CurrentVersion[0-9A-F]{8})[0-9a-f]{32}", r"\1<version>", text)
    return json.loads(re.sub(r"(Deployment[0-9A-F]{8})[0-9a-f]{32}", r"\1<deployment>", text))


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_that_holds_data_changes_its_logical_id(templates: Templates, stage: str) -> None:
    found = {
        f"{noun} {name}": kind
        for noun, template in templates[stage].items()
        for kind in STATEFUL
        for name in resources(template, kind)
    }
    assert found == LOGICAL_IDS[stage]


@pytest.mark.parametrize("stage", STAGES)
def test_everything_that_can_bear_tags_bears_application_and_stage(templates: Templates, stage: str) -> None:
    for template in templates[stage].values():
        for kind in ("AWS::S3::Bucket", "AWS::Lambda::Function", "AWS::RDS::DBInstance", "AWS::ECS::Service"):
            for name, resource in resources(template, kind).items():
                if name.startswith(("AWSCDK", "Custom")):
                    continue  # the CDK's own helpers take none
                tags = {tag["Key"]: tag["Value"] for tag in resource["Properties"].get("Tags", [])}
                assert tags.get("application") == "shop", name
                assert tags.get("stage") == stage, name


def test_stacks_with_data_cannot_be_deleted_by_a_slip_in_prod(stages_folder: Path) -> None:
    manifest = json.loads((stages_folder / "prod" / "manifest.json").read_text())
    protected = {
        name.removeprefix("shop-prod-")
        for name, artifact in manifest["artifacts"].items()
        if artifact.get("properties", {}).get("terminationProtection")
    }
    assert protected >= {"data"}


def test_stacks_know_only_those_before_them(stages_folder: Path) -> None:
    order = ["network", "data", "monitoring", "api", "training", "orchestration", "alarms"]
    manifest = json.loads((stages_folder / "prod" / "manifest.json").read_text())
    for name, artifact in manifest["artifacts"].items():
        noun = name.removeprefix("shop-prod-")
        if artifact["type"] == "aws:cloudformation:stack":
            known = {
                other.removeprefix("shop-prod-")
                for other in artifact.get("dependencies", [])
                if not other.endswith(".assets")
            }
            assert known <= set(order[: order.index(noun)]), noun


def test_the_same_input_gives_the_same_templates(stages_folder: Path, tmp_path: Path) -> None:
    synthesize({"stage": "dev"}, tmp_path / "dev", Archives(stages_folder / "archives", make=stand_in))
    assert read_templates(tmp_path / "dev", "dev") == read_templates(stages_folder / "dev", "dev")


@pytest.fixture(scope="module")
def everything(stages_folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """A stage with every option that a stage's defaults leave alone; the security rules are on."""
    synthesize(EVERYTHING, stages_folder / "everything", Archives(stages_folder / "archives", make=stand_in))
    return {
        path.name.removeprefix("other-dev-").removesuffix(".template.json"): json.loads(path.read_text())
        for path in (stages_folder / "everything").glob("*.template.json")
    }


def test_tokens_are_asked_for_but_where_operators_work(everything: Mapping[str, Mapping[str, Any]]) -> None:
    kinds = {
        route: method["AuthorizationType"]
        for route, method in routes(everything["api"]).items()
        if route[0] != "OPTIONS"
    }
    assert kinds["GET", "/v1/popular"] == kinds["POST", "/v1/events"] == "CUSTOM"
    assert kinds["DELETE", "/v1/users/{user_id}"] == "AWS_IAM"
    assert kinds["GET", "/health"] == "NONE"


def test_the_authorizer_lies_outside_the_vpc(everything: Mapping[str, Mapping[str, Any]]) -> None:
    (authorizer,) = [
        function["Properties"]
        for function in resources(everything["api"], "AWS::Lambda::Function").values()
        if function["Properties"].get("FunctionName") == "other-dev-jwt-authorizer"
    ]
    assert "VpcConfig" not in authorizer
    assert authorizer["Environment"]["Variables"]["JWT_SCOPE_PREFIX"] == "shop/"


def test_browsers_may_ask_from_the_shops_origin_alone(everything: Mapping[str, Mapping[str, Any]]) -> None:
    preflight = routes(everything["api"])["OPTIONS", "/v1/popular"]
    headers = preflight["Integration"]["IntegrationResponses"][0]["ResponseParameters"]
    assert headers["method.response.header.Access-Control-Allow-Origin"] == "'https://www.shop.example'"
    for function in resources(everything["api"], "AWS::Lambda::Function").values():
        variables = function["Properties"].get("Environment", {}).get("Variables", {})
        if "SERVES" in variables:
            assert variables["CORS_ORIGINS"] == "https://www.shop.example"


def test_browsers_may_send_what_a_signature_takes(everything: Mapping[str, Mapping[str, Any]]) -> None:
    preflight = routes(everything["api"])["OPTIONS", "/v1/popular"]
    headers = preflight["Integration"]["IntegrationResponses"][0]["ResponseParameters"]
    allowed = headers["method.response.header.Access-Control-Allow-Headers"].strip("'").split(",")
    assert {"authorization", "x-amz-date", "x-amz-security-token"} < set(allowed)


def test_the_apis_own_name_replaces_the_one_that_aws_gives(
    everything: Mapping[str, Mapping[str, Any]],
) -> None:
    (api,) = resources(everything["api"], "AWS::ApiGateway::RestApi").values()
    assert api["Properties"]["DisableExecuteApiEndpoint"] is True
    assert resources(everything["api"], "AWS::Route53::RecordSet")
    assert everything["api"]["Outputs"]["ApiUrl"]["Value"] == "https://api.shop.example"


def test_tasks_read_the_slack_webhook_and_no_other_secret(
    everything: Mapping[str, Mapping[str, Any]], stages_folder: Path, tmp_path: Path
) -> None:
    folder = stages_folder / "everything"
    document = read_document(folder, everything["orchestration"], "deployment.json", tmp_path)
    assert document["slack_webhook_secret"] == "shop/slack"
    role = Permissions(everything["orchestration"], "Role")
    secrets = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret"
    assert role.allow("secretsmanager:GetSecretValue", f"{secrets}:shop/slack-AbCdEf")
    assert not role.allow("secretsmanager:GetSecretValue", f"{secrets}:shop/slack-of-others-AbCdEf")
    assert not role.allow("secretsmanager:GetSecretValue", f"{secrets}:shop/other-AbCdEf")


def test_a_database_from_a_snapshot_keeps_its_place(
    everything: Mapping[str, Mapping[str, Any]], templates: Templates
) -> None:
    ((name, instance),) = resources(everything["data"], "AWS::RDS::DBInstance").items()
    assert instance["Properties"]["DBSnapshotIdentifier"] == EVERYTHING["database_snapshot"]
    assert instance["Properties"]["ManageMasterUserPassword"] is True
    # RDS refuses what the snapshot says itself.
    assert not {"DBName", "MasterUsername", "KmsKeyId", "StorageEncrypted"} & set(instance["Properties"])
    assert name in resources(templates["dev"]["data"], "AWS::RDS::DBInstance")


def test_an_existing_vpc_is_used_and_none_is_made(everything: Mapping[str, Mapping[str, Any]]) -> None:
    assert not resources(everything["network"], "AWS::EC2::VPC")
    (groups,) = resources(everything["data"], "AWS::RDS::DBSubnetGroup").values()
    assert groups["Properties"]["SubnetIds"] == EVERYTHING["private_subnet_ids"].split(",")


def test_whoever_is_named_is_told_of_alarms_and_of_the_budget(
    everything: Mapping[str, Mapping[str, Any]],
) -> None:
    (subscription,) = resources(everything["data"], "AWS::SNS::Subscription").values()
    assert subscription["Properties"]["Endpoint"] == "oncall@shop.example"
    (budget,) = resources(everything["alarms"], "AWS::Budgets::Budget").values()
    assert budget["Properties"]["Budget"]["BudgetLimit"] == {"Amount": 500, "Unit": "USD"}
