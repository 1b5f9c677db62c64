"""docs/deploy.md fails here when it is wrong about the app."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.validate import ParamValidator

from infra.advice import advice
from infra.config import STAGE_DEFAULTS, Config
from tests.infra.conftest import Templates, resources
from tests.infra.deployed import read_document
from tests.infra.test_training import asked_for, objections
from training.settings import Hyperparameters

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "deploy.md").read_text()
ON_AWS = ("dev", "prod")

JOB = "shop-dev-20260131-020000"

SERVICES = {
    "AWS::EFS": "elasticfilesystem",
    "AWS::ElasticLoadBalancingV2": "elasticloadbalancing",
    "AWS::MWAA": "airflow",
}
"""As permissions call a service, where that is another name than CloudFormation's."""


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first column bears a heading."""
    lines = PAGE[PAGE.index(f"| {heading} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def shown(value: Any) -> str:
    if value in (None, "", (), {}):
        return "–"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def test_every_setting_is_documented_with_its_defaults() -> None:
    expected = []
    for name, field in Config.model_fields.items():
        if name != "stage":
            default = field.get_default(call_default_factory=True)
            defaults = [shown(STAGE_DEFAULTS[stage].get(name, default)) for stage in ON_AWS]  # type: ignore[index]
            expected.append([f"`{name}`", *defaults, " ".join((field.description or "").split())])
    assert rows("Setting") == expected


@pytest.mark.parametrize("given", blocks("toml"))
def test_every_example_of_settings_is_possible(given: str, tmp_path: Path) -> None:
    file = tmp_path / "prod.toml"
    file.write_text(given)
    Config.of({"settings": str(file), "stage": "prod"})


def test_every_stack_is_described(templates: Templates) -> None:
    assert {name.strip("`") for name, *_ in rows("Stack")} == set(templates["prod"])


def test_the_warnings_are_those_of_the_app() -> None:
    careless = [
        {"stage": "dev", "authorization": "api_key", "training_image": "training:1"},
        {"stage": "prod", "waf": "false", "database_multi_az": "false"},
    ]
    told = {name for settings in careless for name, _ in advice(Config.of(settings), compiled=False)}
    assert {name.strip("`").removeprefix("shop:") for name, *_ in rows("Warning")} == told


@pytest.mark.parametrize("stage", ON_AWS)
@pytest.mark.parametrize("asked", sorted(set(re.findall(r"\$\(resource (\w+) ([\w:]+) (\w+)\)", PAGE))))
def test_what_is_asked_of_a_stack_is_one_resource(
    templates: Templates, stage: str, asked: tuple[str, str, str]
) -> None:
    noun, kind, name = asked
    (found,) = [each for each in resources(templates[stage][noun], f"AWS::{kind}") if each.startswith(name)]
    assert found


@pytest.mark.parametrize("commented_out", [True, False])
def test_sagemaker_takes_the_request_that_the_page_makes(
    stages_folder: Path, templates: Templates, tmp_path: Path, commented_out: bool
) -> None:
    (program,) = re.findall(r"<<'END'\n(.*?)^END$", PAGE, re.MULTILINE | re.DOTALL)
    if not commented_out:
        program = program.replace("# job[", "job[")
    folder = tmp_path / "files"
    read_document(stages_folder / "dev", templates["dev"]["training"], "training_job.json", folder)
    subprocess.run([sys.executable, "-", JOB], input=program, cwd=folder, text=True, check=True)
    request = json.loads((folder / "job.json").read_text())

    shape = asked_for()
    assert ParamValidator().validate(request, shape).generate_report() == ""
    assert list(objections(request, shape)) == []
    assert request["TrainingJobName"] == JOB
    assert request["CheckpointConfig"]["S3Uri"].endswith(f"/checkpoints/{JOB}")
    channels = [channel["ChannelName"] for channel in request["InputDataConfig"]]
    assert channels == (["events", "catalogue"] if commented_out else ["events"])
    Hyperparameters.from_strings(request.get("HyperParameters", {}))


@pytest.mark.parametrize("stage", ON_AWS)
def test_who_loads_by_hand_reaches_postgres_and_aws(templates: Templates, stage: str) -> None:
    template = templates[stage]["data"]
    prefix = "shop-dev-data-MigrateDatabaseSecurityGroup"
    assert f"`{prefix}`" in PAGE
    (group,) = [
        name
        for name in resources(template, "AWS::EC2::SecurityGroup")
        if f"shop-dev-data-{name}".startswith(prefix)
    ]
    itself = {"Fn::GetAtt": [group, "GroupId"]}
    (outside,) = resources(template, "AWS::EC2::SecurityGroup")[group]["Properties"]["SecurityGroupEgress"]
    assert (outside["FromPort"], outside["CidrIp"]) == (443, "0.0.0.0/0")
    rules = [*resources(template, "AWS::EC2::SecurityGroupEgress").values()]
    (to_postgres,) = [each["Properties"] for each in rules if each["Properties"]["GroupId"] == itself]
    rules = [*resources(template, "AWS::EC2::SecurityGroupIngress").values()]
    from_here = [
        each["Properties"]["GroupId"]
        for each in rules
        if each["Properties"]["SourceSecurityGroupId"] == itself and each["Properties"]["ToPort"] == 5432
    ]
    assert [to_postgres["DestinationSecurityGroupId"]] == from_here


@pytest.mark.parametrize("stage", ON_AWS)
def test_the_execution_policy_has_every_service_of_the_templates(templates: Templates, stage: str) -> None:
    policies = [json.loads(block) for block in blocks("json") if '"Version"' in block]
    allowed = {
        action.partition(":")[0]
        for policy in policies
        for statement in policy["Statement"]
        if statement["Resource"] == "*"
        for action in statement["Action"]
    }
    needed = {
        kind.rpartition("::")[0]
        for template in templates[stage].values()
        for kind in (resource["Type"] for resource in template["Resources"].values())
        if kind.startswith("AWS::")
    }
    assert {SERVICES.get(name, name.removeprefix("AWS::").lower()) for name in needed} <= allowed


def test_the_quota_of_lambda_is_what_prod_reserves_and_what_lambda_keeps_free(templates: Templates) -> None:
    reserved = [
        function["Properties"].get("ReservedConcurrentExecutions", 0)
        for function in resources(templates["prod"]["api"], "AWS::Lambda::Function").values()
    ]
    (needed,) = [needed for quota, needed, _ in rows("Quota") if quota.startswith("Lambda")]
    assert f"`prod`: {sum(reserved) + 100}," in needed


@pytest.mark.parametrize("stage", ON_AWS)
def test_costs_are_those_that_were_estimated(stage: str) -> None:
    printed = (DOCS / "cost.md").read_text().split(f"\n{stage}: ")[1]
    (for_what,) = re.findall(r"^([\d,]+) requests a month, ([\d,]+) users", printed)
    total, floor = (
        re.findall(rf"^{name} +([\d.,]+) a month", printed, re.MULTILINE)[0] for name in ("Total", "Floor")
    )
    assert [f"`{stage}`", *for_what, total, floor] in rows("Stage")


@pytest.mark.parametrize("stage", ON_AWS)
@pytest.mark.parametrize(
    ("bucket", "prefix", "place"),
    [
        ("Events", "rejected/", "| S3, `rejected/` |"),
        ("Events", "data_reports/", "| MLflow and S3, `data_reports/` |"),
        ("Recommendations", "training-jobs/", "| S3, the training's `model/` folder"),
        ("Recommendations", "checkpoints/", "| training, `/opt/ml/checkpoints` |"),
        ("Recommendations", None, "| backups and snapshots of Postgres"),
    ],
)
def test_what_privacy_says_of_expiry_is_what_the_buckets_do(
    templates: Templates, stage: str, bucket: str, prefix: str | None, place: str
) -> None:
    (found,) = [
        each["Properties"]
        for name, each in resources(templates[stage]["data"], "AWS::S3::Bucket").items()
        if name.startswith(bucket)
    ]
    (rule,) = [each for each in found["LifecycleConfiguration"]["Rules"] if each.get("Prefix") == prefix]
    days = rule["ExpirationInDays"] if prefix else rule["NoncurrentVersionExpiration"]["NoncurrentDays"]
    (line,) = [line for line in (DOCS / "privacy.md").read_text().splitlines() if line.startswith(place)]
    assert re.search(rf"\b{days} days", line)


@pytest.mark.parametrize("commands", blocks("sh"))
def test_the_shell_can_read_every_command(commands: str) -> None:
    subprocess.run(["bash", "-n"], input=commands, text=True, check=True)
