"""Airflow's environment, what its tasks may do and reach, and the files that it finds."""

import ast
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tasks.deployment import Deployment

from infra.config import Config
from infra.constructs.airflow import sizes
from infra.constructs.dag_files import (
    PACKAGES,
    PROJECT,
    REQUIREMENTS,
    imported_files,
    imported_modules,
    requirements_key,
)
from lambdas.database_login import DatabaseSettings
from tests.infra.conftest import Templates, resources
from tests.infra.deployed import ACCOUNT, REGION, Permissions, deployed_files, listed, value
from training.settings import Environment

STAGES = ("prod", "local")
"""Where Airflow runs by default."""
README = REQUIREMENTS.with_name("README.md")

AIRFLOW = PROJECT / "build/airflow/bin/python"

PROGRAM = """
import importlib, json, sys

root, modules = json.loads(sys.argv[1])
sys.path.insert(0, root)
for module in modules:
    importlib.import_module(module)
files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
print(json.dumps(files), file=sys.__stdout__)
"""


def environment(templates: Templates, stage: str) -> dict[str, Any]:
    (found,) = resources(templates[stage]["orchestration"], "AWS::MWAA::Environment").values()
    resource: dict[str, Any] = found
    return resource


@pytest.fixture
def dags(stages_folder: Path, templates: Templates, tmp_path: Path) -> dict[str, Path]:
    """By stage: what Airflow has in `/usr/local/airflow/dags`, but for what a training is."""
    return {
        stage: deployed_files(stages_folder / stage, templates[stage]["orchestration"], tmp_path / stage)
        for stage in STAGES
    }


def pinned() -> dict[str, str]:
    """The requirements: by package, the version."""
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(each.name): str(each.specifier) for each in requirements}


def imported(root: Path, *modules: str) -> subprocess.CompletedProcess[str]:
    """Import modules of a folder where Airflow and the requirements are installed, and nothing else."""
    if not AIRFLOW.exists():
        pytest.skip("Airflow is not installed: `make build/airflow/installed` does it")
    return subprocess.run(
        [AIRFLOW, "-I", "-c", PROGRAM, json.dumps([str(root), modules])],
        env={"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet", "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )


def packages_of(folder: Path) -> set[str]:
    """What the files of a folder import, wherever they do it, by the names of packages."""
    trees = [ast.parse(path.read_text()) for path in folder.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_reaches_the_environment_from_outside_the_vpc(templates: Templates, stage: str) -> None:
    properties = environment(templates, stage)["Properties"]
    assert properties["WebserverAccessMode"] == "PRIVATE_ONLY"
    subnets = value(properties["NetworkConfiguration"]["SubnetIds"])
    assert len(set(subnets)) == 2
    assert all("private" in subnet for subnet in subnets)
    (group,) = value(properties["NetworkConfiguration"]["SecurityGroupIds"])
    template = templates[stage]["orchestration"]
    (security_group,) = resources(template, "AWS::EC2::SecurityGroup").values()
    assert "SecurityGroupIngress" not in security_group["Properties"]
    let_in = [
        rule["Properties"]
        for rule in resources(template, "AWS::EC2::SecurityGroupIngress").values()
        if value(rule["Properties"]["GroupId"]) == group
    ]
    assert [(value(rule["SourceSecurityGroupId"]), rule["IpProtocol"]) for rule in let_in] == [(group, "-1")]


def ways_out(templates: Templates, stage: str) -> set[int]:
    """The ports of others that the environment reaches, each opened at both ends."""
    template = templates[stage]["orchestration"]
    out, into = (
        {
            (rule["Properties"]["Description"], rule["Properties"]["FromPort"])
            for rule in resources(template, f"AWS::EC2::SecurityGroup{direction}").values()
            if "FromPort" in rule["Properties"]
        }
        for direction in ("Egress", "Ingress")
    )
    assert out == into
    return {port for _, port in out}


def test_the_environment_reaches_the_database_and_the_servers_that_machines_ask(templates: Templates) -> None:
    assert ways_out(templates, "prod") == {5432, 5000, 9090, 9091}
    assert ways_out(templates, "local") == {5000, 9090, 9091}


@pytest.mark.parametrize("stage", STAGES)
def test_what_the_environment_needs_while_it_is_made_is_there_before_it(
    templates: Templates, stage: str
) -> None:
    template = templates[stage]["orchestration"]
    before = set(environment(templates, stage)["DependsOn"])
    for kind in ("Custom::CDKBucketDeployment", "Custom::AWS", "AWS::Logs::LogGroup"):
        needed = {name for name in resources(template, kind) if name.startswith(("Files", "Airflow"))}
        assert needed
        assert needed <= before
    assert {name for name in resources(template, "AWS::IAM::Policy") if name.startswith("Role")} <= before


@pytest.mark.parametrize("stage", STAGES)
def test_the_environment_is_encrypted_and_its_logs_are_kept_as_long_as_all(
    templates: Templates, stage: str
) -> None:
    properties = environment(templates, stage)["Properties"]
    assert ":key/" in value(properties["KmsKey"])
    assert {each["Enabled"] for each in properties["LoggingConfiguration"].values()} == {True}
    assert len(properties["LoggingConfiguration"]) == 5
    groups = {
        group["Properties"]["LogGroupName"]: group["Properties"]["RetentionInDays"]
        for group in resources(templates[stage]["orchestration"], "AWS::Logs::LogGroup").values()
        if "LogGroupName" in group["Properties"]
    }
    name = properties["Name"]
    kinds = ("DAGProcessing", "Scheduler", "Task", "WebServer", "Worker")
    days = Config.of({"stage": stage}).log_retention_days
    assert groups == {f"airflow-{name}-{kind}": days for kind in kinds}


@pytest.mark.parametrize("stage", STAGES)
def test_cloudwatch_may_use_the_key_for_the_environment_s_logs_alone(
    templates: Templates, stage: str
) -> None:
    (key,) = resources(templates[stage]["data"], "AWS::KMS::Key").values()
    statements = key["Properties"]["KeyPolicy"]["Statement"]
    (logs,) = [value(each) for each in statements if each.get("Sid") == "AirflowLogs"]
    assert logs["Principal"] == {"Service": f"logs.{REGION}.amazonaws.com"}
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:airflow-shop-{stage}-*"
    assert logs["Condition"] == {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": group}}


@pytest.mark.parametrize("stage", STAGES)
def test_the_requirements_are_pinned_by_the_version_of_the_object_that_the_deployment_writes(
    templates: Templates, stage: str
) -> None:
    template = templates[stage]["orchestration"]
    properties = environment(templates, stage)["Properties"]
    ((name, writing),) = resources(template, "Custom::AWS").items()
    call = json.loads(value(writing["Properties"]["Update"]))
    assert properties["RequirementsS3ObjectVersion"] == {"Fn::GetAtt": [name, "VersionId"]}
    assert (call["service"], call["action"], call["outputPaths"]) == ("S3", "putObject", ["VersionId"])
    assert call["parameters"] == {
        "Bucket": "dags",
        "Key": properties["RequirementsS3Path"],
        "Body": REQUIREMENTS.read_text(),
    }
    assert value(properties["SourceBucketArn"]) == "arn:aws:s3:::dags"
    assert writing["Properties"]["Create"] == writing["Properties"]["Update"]


def test_other_requirements_are_another_object_so_that_the_environment_changes(
    templates: Templates, tmp_path: Path
) -> None:
    changed = tmp_path / "requirements.txt"
    changed.write_text(REQUIREMENTS.read_text() + "duckdb==1.5.0\n")
    path = environment(templates, "prod")["Properties"]["RequirementsS3Path"]
    assert path == requirements_key(REQUIREMENTS)
    assert requirements_key(changed) != path


def test_requirements_are_exact_and_leave_the_constraints_to_airflow() -> None:
    assert all(re.fullmatch(r"==[0-9.]+", version) for version in pinned().values())
    # MWAA's own way of looking, which sees comments, too: with such a line it applies no constraints.
    assert not re.search(r"-c |--constraint ", REQUIREMENTS.read_text())


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_deployed_suffices_for_every_task(dags: dict[str, Path], stage: str) -> None:
    tasks = [f"tasks.{path.stem}" for path in (dags[stage] / "tasks").glob("*.py") if path.stem != "__init__"]
    assert "tasks.versions" in tasks
    ended = imported(dags[stage], *tasks, *imported_modules())
    assert ended.returncode == 0, ended.stderr
    files = json.loads(ended.stdout)
    ours = [name for name in files if name.partition(".")[0] in (*PACKAGES, "tasks")]
    assert {*tasks, *imported_modules()} <= set(ours)
    assert all(files[name].startswith(str(dags[stage])) for name in ours)


def test_each_requirement_is_one_of_what_is_deployed(dags: dict[str, Path]) -> None:
    # Psycopg's letters in C are a distribution of their own.
    used = {canonicalize_name(name) for name in packages_of(dags["prod"])} | {"psycopg"}
    called = {"mlflow-skinny": "mlflow", "slack-sdk": "slack-sdk"}
    assert {called.get(name, name) for name in pinned()} <= used


def test_a_module_that_is_too_heavy_for_airflow_would_be_told() -> None:
    ended = imported(PROJECT, "training.features.aggregates")
    assert ended.returncode != 0
    assert "No module named 'ibis'" in ended.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_airflow_gets_no_more_of_the_project_than_tasks_import(dags: dict[str, Path], stage: str) -> None:
    files = {path.relative_to(dags[stage]).as_posix() for path in dags[stage].rglob("*") if path.is_file()}
    own = {path for path in files if path.startswith(("contract/", "lambdas/", "training/"))}
    expected = imported_files()
    assert {path for path in own if not path.startswith("contract/")} == {
        path for path in expected if not path.startswith("contract")
    }
    assert {"contract/tombstones.py", "contract/routes.py"} <= own
    assert "training/train.py" not in own
    assert files - own >= {".airflowignore", "deployment.json"}
    assert not [path for path in files if "__pycache__" in path or path.endswith((".md", ".txt"))]


def test_airflow_looks_for_no_dags_in_the_project_s_own_packages(dags: dict[str, Path]) -> None:
    ignored = (dags["prod"] / ".airflowignore").read_text().split()
    folders = {f"{path.name}/" for path in dags["prod"].iterdir() if path.is_dir()}
    assert folders == {name for name in ignored if name.endswith("/")}
    read = {path.name for path in dags["prod"].glob("*.py")} - set(ignored)
    assert read == {path.name for path in dags["prod"].glob("*.py") if "@dag(" in path.read_text()}


@pytest.mark.parametrize("stage", STAGES)
def test_a_deployment_leaves_what_the_stack_that_trains_has_put_beside_it(
    templates: Templates, stage: str
) -> None:
    ours, training = (
        next(iter(resources(templates[stage][noun], "Custom::CDKBucketDeployment").values()))["Properties"]
        for noun in ("orchestration", "training")
    )
    assert (ours["Prune"], ours["Exclude"]) == (True, ["training_job.json"])
    assert training["Prune"] is False
    for name in ("DestinationBucketName", "DestinationBucketKeyPrefix"):
        assert value(ours[name]) == value(training[name])


def test_the_document_of_a_deployment_holds_what_its_description_lists(dags: dict[str, Path]) -> None:
    table = README.read_text().partition("## `deployment.json`")[2].partition("## `training_job.json`")[0]
    described = [
        name
        for row in table.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`(\w+)`", row.split("|")[1])
    ]
    assert set(described) == set(Deployment.model_fields)
    documents = [set(json.loads((dags[stage] / "deployment.json").read_text())) for stage in STAGES]
    # Slack is told only where a setting says so, and MLflow's model is called as trainings call it.
    assert set(described) - set().union(*documents) == {"slack_webhook_secret", "mlflow_model"}
    assert Deployment.model_fields["mlflow_model"].default == Environment.model_fields["mlflow_model"].default


def test_the_document_of_a_deployment_tells_where_everything_is(dags: dict[str, Path]) -> None:
    document = json.loads((dags["prod"] / "deployment.json").read_text())
    assert document["events_uri"] == "s3://events"
    assert document["recommendations_uri"] == "s3://recommendations"
    assert document["region"] == REGION
    assert document["pushgateway_url"] == "http://pushgateway.shop-prod.internal:9091"
    assert document["prometheus_url"].startswith("http://prometheus.shop-prod.internal:9090")
    assert document["read_function"].endswith(":live")
    assert document["retrain_schedule"] == "17 3 * * *"
    assert document["notification_topic"].startswith("arn:aws:sns:")


@pytest.mark.parametrize("stage", STAGES)
def test_tasks_log_in_to_postgres_as_the_document_says(dags: dict[str, Path], stage: str) -> None:
    document = json.loads((dags[stage] / "deployment.json").read_text())
    ca = document.get("database_ca")
    settings = DatabaseSettings(
        database_url=document["database_url"],
        database_auth=document["database_auth"],
        database_secret=document.get("database_secret"),
        database_ca=dags[stage] / ca if ca else None,
    )
    assert settings.database_auth == ("iam" if stage == "prod" else "secret")
    if stage == "prod":
        url = settings.database_url.get_secret_value()
        assert re.fullmatch(r"postgresql://retrain@\S+:5432/shop\?sslmode=verify-full", url)


@pytest.fixture
def role(templates: Templates) -> Permissions:
    return Permissions(templates["prod"]["orchestration"], "Role")


def test_airflow_alone_takes_its_role_and_for_this_account(role: Permissions) -> None:
    trusted = value(role.role["AssumeRolePolicyDocument"]["Statement"])
    services = [service for each in trusted for service in listed(each["Principal"]["Service"])]
    assert sorted(services) == ["airflow-env.amazonaws.com", "airflow.amazonaws.com"]
    for each in trusted:
        assert each["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


LOGS = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group"
JOBS = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job"


@pytest.mark.parametrize(
    ("action", "resource", "expected"),
    [
        ("s3:GetObject", "arn:aws:s3:::dags/dags/retrain.py", True),
        ("s3:PutObject", "arn:aws:s3:::dags/dags/retrain.py", False),
        ("s3:PutObject", "arn:aws:s3:::events/events/dt=2026-11-30/export.parquet", True),
        ("s3:DeleteObject", "arn:aws:s3:::events/events/dt=2026-11-30/export.parquet", True),
        ("s3:PutObject", "arn:aws:s3:::events/events/deleted_users.json", True),
        ("s3:PutObject", "arn:aws:s3:::events/data_reports/1.json", True),
        ("s3:GetObject", "arn:aws:s3:::events/catalogue/1/items.parquet", True),
        ("s3:PutObject", "arn:aws:s3:::events/catalogue/1/items.parquet", True),
        ("s3:DeleteObject", "arn:aws:s3:::events/catalogue/1/items.parquet", False),
        ("s3:PutObject", "arn:aws:s3:::events/rejected/import-1.parquet", True),
        ("s3:GetObject", "arn:aws:s3:::events/backfill/2025/events.csv", True),
        ("s3:DeleteObject", "arn:aws:s3:::events/backfill/2025/events.csv", False),
        ("s3:AbortMultipartUpload", "arn:aws:s3:::events/anything", True),
        ("s3:ListBucketMultipartUploads", "arn:aws:s3:::events", True),
        ("s3:GetObject", "arn:aws:s3:::recommendations/recommendations/1/manifest.json", True),
        ("s3:GetObject", "arn:aws:s3:::recommendations/training-jobs/1/output/model.tar.gz", True),
        ("s3:PutObject", "arn:aws:s3:::recommendations/recommendations/1/manifest.json", True),
        ("s3:DeleteObject", "arn:aws:s3:::recommendations/recommendations/1/manifest.json", True),
        ("s3:DeleteObject", "arn:aws:s3:::recommendations/gates/1.json", True),
        ("s3:DeleteObject", "arn:aws:s3:::recommendations/model_reports/1.html", True),
        ("s3:PutObject", "arn:aws:s3:::recommendations/gates/1.json", False),
        ("s3:PutObject", "arn:aws:s3:::recommendations/gates/", True),
        ("s3:PutObject", "arn:aws:s3:::recommendations/training-jobs/1/output/model.tar.gz", False),
        ("s3:DeleteObject", "arn:aws:s3:::recommendations/training-jobs/1/output/model.tar.gz", False),
        ("s3:AbortMultipartUpload", "arn:aws:s3:::recommendations/anything", True),
        ("s3:ListBucketMultipartUploads", "arn:aws:s3:::recommendations", True),
        ("s3:AbortMultipartUpload", "arn:aws:s3:::artifacts/anything", False),
        ("s3:GetObject", "arn:aws:s3:::artifacts/1", False),
        ("logs:PutLogEvents", f"{LOGS}:airflow-shop-prod-Task:log-stream:1", True),
        ("logs:PutLogEvents", f"{LOGS}:airflow-shop-dev-Task:log-stream:1", False),
        ("logs:GetLogEvents", f"{LOGS}:/aws/sagemaker/TrainingJobs:log-stream:shop-prod-1/algo-1", True),
        ("logs:GetLogEvents", f"{LOGS}:/aws/sagemaker/TrainingJobs:log-stream:shop-dev-1/algo-1", False),
        ("airflow:PublishMetrics", f"arn:aws:airflow:{REGION}:{ACCOUNT}:environment/shop-prod", True),
        ("airflow:PublishMetrics", f"arn:aws:airflow:{REGION}:{ACCOUNT}:environment/shop-dev", False),
        ("sqs:SendMessage", f"arn:aws:sqs:{REGION}:999999999999:airflow-celery-1", True),
        ("sqs:SendMessage", f"arn:aws:sqs:{REGION}:{ACCOUNT}:orders", False),
        ("sagemaker:CreateTrainingJob", f"{JOBS}/shop-prod-retrain-1", True),
        ("sagemaker:AddTags", f"{JOBS}/shop-prod-retrain-1", True),
        ("sagemaker:CreateTrainingJob", f"{JOBS}/shop-dev-retrain-1", False),
        ("rds-db:connect", f"arn:aws:rds-db:{REGION}:{ACCOUNT}:dbuser:db-1/postgres", False),
        ("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:other:live", False),
    ],
)
def test_what_tasks_may_do(role: Permissions, action: str, resource: str, expected: bool) -> None:
    assert role.allow(action, resource) is expected


def test_tasks_connect_as_retrain_and_try_versions_by_the_alias_that_the_api_invokes(
    role: Permissions, dags: dict[str, Path]
) -> None:
    document = json.loads((dags["prod"] / "deployment.json").read_text())
    (connecting,) = [each for each in role.statements if each["Action"] == "rds-db:connect"]
    assert connecting["Resource"].endswith("/retrain")
    assert "databaseresourceid" in connecting["Resource"].lower()
    assert role.allow("lambda:InvokeFunction", document["read_function"])
    assert role.allow("sns:Publish", document["notification_topic"])


def test_tasks_pass_the_training_s_role_to_sagemaker_and_to_nobody_else(
    role: Permissions, templates: Templates
) -> None:
    (passing,) = [each for each in role.statements if each["Action"] == "iam:PassRole"]
    training = Permissions(templates["prod"]["training"], "Role")
    assert passing["Resource"] == value({"Fn::GetAtt": [training.name, "Arn"]})
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_airflow_names_each_resource_but_where_a_service_has_nothing_finer(role: Permissions) -> None:
    assert role.on_anything() == {
        "cloudwatch:PutMetricData",
        "logs:DescribeLogGroups",
        "s3:GetAccountPublicAccessBlock",
    }
    wide = {action for each in role.statements for action in each["Action"] if action.endswith("*")}
    assert wide == {"kms:GenerateDataKey*", "s3:GetBucket*", "s3:GetObject*", "s3:List*"}


def test_the_key_serves_through_services_alone(role: Permissions) -> None:
    (key,) = [each for each in role.statements if "kms:Decrypt" in each["Action"]]
    services = [f"{service}.{REGION}.amazonaws.com" for service in ("s3", "sns", "sqs")]
    assert key["Condition"] == {"StringEquals": {"kms:ViaService": services}}


def test_the_policy_is_no_longer_than_iam_takes(role: Permissions) -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    assert len(json.dumps(role.statements, separators=(",", ":"))) < 10_240


def test_the_smallest_class_has_one_of_each_part() -> None:
    micro = Config.of({"stage": "dev", "mwaa": "true", "mwaa_class": "mw1.micro"})
    assert set(sizes(micro).values()) == {1}
    assert sizes(Config.of({"stage": "prod"})) == {"min_workers": 1, "max_workers": 2}


def test_there_is_no_airflow_where_it_is_off(templates: Templates) -> None:
    assert "orchestration" not in templates["dev"]
    assert "training" in templates["dev"]
