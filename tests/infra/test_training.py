"""The training's image, what a job may do and reach, and what SageMaker is asked for."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.session import Session
from botocore.validate import ParamValidator

from infra.config import STAGES, Config
from infra.training import base_image, code_version
from infra.training_job import FIGURES, PROTOCOLS, STEPS, metric_definitions, takes_volume_key, training_job
from tests.infra.conftest import Templates, resources
from tests.infra.deployed import ACCOUNT, REGION, Permissions, read_document, value
from training import judged, ranking_metrics
from training.container import configure_logging
from training.settings import Environment, Hyperparameters
from training.steps import Steps
from training.train import log_headline

ON_AWS = [stage for stage in STAGES if stage != "local"]
RUN = {
    "TrainingJobName": "shop-dev-retrain-20261130",
    "HyperParameters": Hyperparameters(as_of="2026-11-30T00:00:00Z").strings(),
}
GIVEN: dict[str, Any] = {
    "image": "training:1",
    "role": f"arn:aws:iam::{ACCOUNT}:role/training",
    "key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1",
    "events": "events-bucket",
    "recommendations": "recommendations-bucket",
    "subnets": ["subnet-1", "subnet-2"],
    "security_group": "sg-1",
    "environment": {},
}


@pytest.fixture
def jobs(stages_folder: Path, templates: Templates, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """By stage: the document that the DAG reads, as it is in the bucket."""
    return {
        stage: read_document(
            stages_folder / stage, templates[stage]["training"], "training_job.json", tmp_path / stage
        )
        for stage in STAGES
    }


def asked_for() -> Shape:
    shape = Session().get_service_model("sagemaker").operation_model("CreateTrainingJob").input_shape
    assert shape is not None
    return shape


def objections(request: Any, shape: Shape, path: str = "") -> Iterator[str]:
    """What SageMaker's own description has against texts; types and lengths are botocore's to look at."""
    if isinstance(shape, StructureShape):
        for name, each in request.items():
            yield from objections(each, shape.members[name], f"{path}.{name}")
    elif isinstance(shape, ListShape):
        for each in request:
            yield from objections(each, shape.member, path)
    elif isinstance(shape, MapShape):
        for name, each in request.items():
            yield from objections(name, shape.key, f"{path} {name}")
            yield from objections(each, shape.value, f"{path}.{name}")
    else:
        known = shape.metadata.get("enum")
        if known and request not in known:
            yield f"{path}: {request} is none of {known}"
        # Of Unicode's letters, spaces and digits these are all that occur here.
        pattern = shape.metadata.get("pattern", "").replace(r"\p{L}\p{Z}\p{N}", "a-zA-Z 0-9")
        if pattern and not re.fullmatch(pattern, request):
            yield f"{path}: {request} is not like {pattern}"


def refused(request: Mapping[str, Any]) -> list[str]:
    report = ParamValidator().validate(dict(request), asked_for())
    return [*filter(None, [report.generate_report()]), *objections(request, asked_for())]


@pytest.mark.parametrize("stage", STAGES)
def test_sagemaker_takes_the_request_once_a_run_has_added_its_own(
    jobs: dict[str, dict[str, Any]], stage: str
) -> None:
    assert refused({**jobs[stage], **RUN}) == []


def test_what_a_run_adds_is_all_that_is_missing(jobs: dict[str, dict[str, Any]]) -> None:
    (told,) = refused(jobs["prod"])
    assert told.splitlines() == ['Missing required parameter in input: "TrainingJobName"']


def test_a_request_that_sagemaker_would_refuse_is_told(jobs: dict[str, dict[str, Any]]) -> None:
    wrong = {**jobs["prod"], **RUN, "RoleArn": "training", "Tags": [{"Key": "team"}]}
    told = "\n".join(refused(wrong))
    assert 'Missing required parameter in Tags[0]: "Value"' in told
    assert ".RoleArn: training is not like arn" in told


@pytest.mark.parametrize("stage", ON_AWS)
def test_a_job_is_encrypted_in_the_vpc_and_goes_on_when_spot_capacity_goes(
    jobs: dict[str, dict[str, Any]], templates: Templates, stage: str
) -> None:
    job = jobs[stage]
    (key,) = {
        value({"Fn::GetAtt": [name, "Arn"]}) for name in resources(templates[stage]["data"], "AWS::KMS::Key")
    }
    assert job["OutputDataConfig"]["KmsKeyId"] == job["ResourceConfig"]["VolumeKmsKeyId"] == key
    assert job["EnableInterContainerTrafficEncryption"] is True
    assert job["EnableManagedSpotTraining"] is True
    assert job["CheckpointConfig"] == {
        "S3Uri": "s3://recommendations/checkpoints/",
        "LocalPath": "/opt/ml/checkpoints",
    }
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 21600, "MaxWaitTimeInSeconds": 43200}
    assert len(job["VpcConfig"]["Subnets"]) == 2
    assert all("private" in subnet for subnet in job["VpcConfig"]["Subnets"])
    assert len(job["VpcConfig"]["SecurityGroupIds"]) == 1


def test_a_job_reads_the_two_channels_that_the_container_knows(jobs: dict[str, dict[str, Any]]) -> None:
    channels = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in jobs["prod"]["InputDataConfig"]
    }
    assert channels == {"events": "s3://events/events/", "catalogue": "s3://events/catalogue/"}


def test_a_job_finds_around_it_what_the_training_asks_for(
    jobs: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, each in jobs["prod"]["Environment"].items():
        monkeypatch.setenv(name, each)
    environment = Environment.read()
    assert environment.recommendations_uri == "s3://recommendations"
    assert environment.mlflow_tracking_uri.startswith("http://mlflow.shop-prod.internal:5000")
    assert environment.pushgateway_url == "http://pushgateway.shop-prod.internal:9091"


def test_without_spot_a_job_waits_for_no_capacity() -> None:
    job = training_job(Config.of({"stage": "dev", "training_spot": "false"}), **GIVEN)
    assert job["EnableManagedSpotTraining"] is False
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 21600}
    assert refused({**job, **RUN}) == []


def test_an_instance_with_a_disk_of_its_own_gets_no_key_for_it() -> None:
    job = training_job(Config.of({"stage": "dev", "training_instance": "ml.r5d.xlarge"}), **GIVEN)
    assert "VolumeKmsKeyId" not in job["ResourceConfig"]
    assert refused({**job, **RUN}) == []


@pytest.mark.parametrize(
    ("instance", "expected"),
    [
        ("ml.m7i.xlarge", True),
        ("ml.c5n.4xlarge", True),
        ("ml.r5.large", True),
        ("ml.p3.2xlarge", True),
        ("ml.t3.medium", True),
        ("ml.r5d.large", False),
        ("ml.g4dn.xlarge", False),
        ("ml.g5.xlarge", False),
        ("ml.g6e.2xlarge", False),
        ("ml.p4de.24xlarge", False),
        ("ml.p5.4xlarge", False),
        ("ml.trn1n.32xlarge", False),
    ],
)
def test_which_instances_take_a_key_for_their_disk(instance: str, expected: bool) -> None:
    assert takes_volume_key(instance) is expected


def test_metrics_are_read_out_of_the_training_s_own_log(capsys: pytest.CaptureFixture[str]) -> None:
    known = {"users": 120, "recall@10": 0.25, "ndcg@10": 0.125, "coverage": 0.5, "discovery_recall@10": 0.75}
    other = dict.fromkeys(known, 0.0)
    before = structlog.get_config()
    configure_logging()
    try:
        # Small numbers are written with an exponent.
        log_headline(
            {
                "batch": {"served": known, "popular": other},
                "session": {"served": {**known, "ndcg@10": 0.00001}, "popular": other},
            }  # type: ignore[arg-type] # as a mapping alone
        )
        steps = Steps()
        for name in STEPS:
            with steps.step(name):
                pass
    finally:
        structlog.configure(**before)
    lines = capsys.readouterr().out.splitlines()
    found = {
        each["Name"]: [float(match[1]) for line in lines if (match := re.search(each["Regex"], line))]
        for each in metric_definitions()
    }
    expected = {
        f"{protocol}.served.{name}": [number]
        for protocol in judged.PROTOCOLS
        for name, number in {"users": 120, "recall_at_10": 0.25, "ndcg_at_10": 0.125, "coverage": 0.5}.items()
    }
    expected["session.served.ndcg_at_10"] = [0.00001]
    assert {name: values for name, values in found.items() if name in expected} == expected
    assert {name for name in found if name not in expected} == {f"seconds.{name}" for name in STEPS}
    assert all(len(values) == 1 for values in found.values())


def test_metrics_go_by_names_that_the_training_has() -> None:
    assert PROTOCOLS == judged.PROTOCOLS
    assert {"recall@10", "ndcg@10"} <= set(ranking_metrics.METRICS)
    assert set(FIGURES) <= {"users", "coverage", *ranking_metrics.METRICS}
    assert judged.SERVED == "served"


@pytest.mark.parametrize("stage", STAGES)
def test_a_job_may_read_events_and_write_versions_and_nothing_else_of_the_buckets(
    templates: Templates, stage: str
) -> None:
    role = Permissions(templates[stage]["training"], "Role")
    read, written, deleted = (f"s3:{each}Object" for each in ("Get", "Put", "Delete"))
    events, versions = "arn:aws:s3:::events", "arn:aws:s3:::recommendations"
    assert role.allow(read, f"{events}/events/dt=2026-11-30/export.parquet")
    assert role.allow(read, f"{events}/catalogue/1/manifest.json")
    assert not role.allow(read, f"{events}/rejected/export.parquet")
    assert not role.allow(written, f"{events}/events/dt=2026-11-30/export.parquet")
    for name in ("recommendations", "gates", "model_reports", "checkpoints", "training-jobs"):
        assert role.allow(read, f"{versions}/{name}/1")
        assert role.allow(written, f"{versions}/{name}/1")
        assert role.allow(deleted, f"{versions}/{name}/1") == (
            name in {"gates", "model_reports", "checkpoints"}
        )
    for bucket in ("artifacts", "dags"):
        assert not role.allow(read, f"arn:aws:s3:::{bucket}/1")


@pytest.mark.parametrize("stage", STAGES)
def test_a_job_names_each_resource_but_where_a_service_has_nothing_finer(
    templates: Templates, stage: str
) -> None:
    role = Permissions(templates[stage]["training"], "Role")
    expected = {
        "cloudwatch:PutMetricData",
        "ec2:DeleteNetworkInterfacePermission",
        "ec2:DescribeDhcpOptions",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets",
        "ec2:DescribeVpcs",
    }
    if stage != "local":  # whose image comes from no registry
        expected.add("ecr:GetAuthorizationToken")
    assert role.on_anything() == expected
    assert not [each for each in role.statements if "*" in "".join(each["Action"])]
    (metrics,) = role.of("cloudwatch:PutMetricData", "anything")
    assert metrics["Condition"] == {"StringEquals": {"cloudwatch:namespace": "/aws/sagemaker/TrainingJobs"}}


def test_a_job_writes_to_streams_of_its_own_deployment(templates: Templates) -> None:
    role = Permissions(templates["prod"]["training"], "Role")
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/sagemaker/TrainingJobs"
    assert role.allow("logs:PutLogEvents", f"{group}:log-stream:shop-prod-1/algo-1-1700000000")
    assert not role.allow("logs:PutLogEvents", f"{group}:log-stream:shop-dev-1/algo-1-1700000000")


def test_a_job_s_interface_is_made_in_its_subnets_alone(
    templates: Templates, jobs: dict[str, dict[str, Any]]
) -> None:
    role = Permissions(templates["prod"]["training"], "Role")
    network, ec2 = jobs["prod"]["VpcConfig"], f"arn:aws:ec2:{REGION}:{ACCOUNT}"
    within = [f"{ec2}:subnet/{subnet}" for subnet in network["Subnets"]]
    assert all(role.allow("ec2:CreateNetworkInterface", subnet) for subnet in within)
    assert not role.allow("ec2:CreateNetworkInterface", f"{ec2}:subnet/subnet-public")
    assert not role.allow("ec2:CreateNetworkInterface", f"{ec2}:security-group/sg-other")
    (handling,) = role.of("ec2:DeleteNetworkInterface", f"{ec2}:network-interface/eni-1")
    assert handling["Condition"] == {"ArnEquals": {"ec2:Subnet": within}}


def test_only_sagemaker_takes_the_role_for_this_account_and_lends_the_key_to_itself(
    templates: Templates,
) -> None:
    role = Permissions(templates["prod"]["training"], "Role")
    (trust,) = value(role.role["AssumeRolePolicyDocument"]["Statement"])
    assert trust["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    (lending,) = [each for each in role.statements if each["Action"] == "kms:CreateGrant"]
    assert lending["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_reaches_a_job_and_a_job_reaches_mlflow_pushgateway_and_aws(
    templates: Templates, stage: str
) -> None:
    template = templates[stage]["training"]
    (name, group), *_ = resources(template, "AWS::EC2::SecurityGroup").items()
    assert "SecurityGroupIngress" not in group["Properties"]
    (aws,) = group["Properties"]["SecurityGroupEgress"]
    assert (aws["CidrIp"], aws["FromPort"], aws["ToPort"]) == ("0.0.0.0/0", 443, 443)
    ways = {
        rule["Properties"]["FromPort"]
        for rule in resources(template, "AWS::EC2::SecurityGroupEgress").values()
    }
    assert ways == {5000, 9091}
    opened = resources(template, "AWS::EC2::SecurityGroupIngress").values()
    assert {rule["Properties"]["FromPort"] for rule in opened} == ways
    for rule in opened:
        assert rule["Properties"]["SourceSecurityGroupId"] == {"Fn::GetAtt": [name, "GroupId"]}


@pytest.mark.parametrize("stage", ON_AWS)
def test_the_image_is_built_for_sagemaker_s_machines_under_tags_that_stay(
    templates: Templates, stage: str
) -> None:
    template = templates[stage]["training"]
    (repository,) = resources(template, "AWS::ECR::Repository").values()
    assert repository["Properties"]["ImageTagMutability"] == "IMMUTABLE"
    assert repository["Properties"]["ImageScanningConfiguration"] == {"ScanOnPush": True}
    (build,) = resources(template, "Custom::CDKContainerImageBuild").values()
    command = json.dumps(build["Properties"]["buildCommand"])
    assert "linux/amd64" in command
    assert f"CODE_VERSION={code_version()}" in command
    assert f"BASE={base_image()}" in command


@pytest.mark.parametrize("stage", STAGES)
def test_no_stack_is_told_the_image_s_tag_which_could_then_never_change(
    templates: Templates, stage: str
) -> None:
    assert "ImageTag" not in json.dumps(templates[stage]["training"].get("Outputs", {}))


def test_the_base_is_the_dockerfile_s_from_a_registry_that_counts_no_pulls() -> None:
    assert re.fullmatch(r"public\.ecr\.aws/docker/library/python:3\.\d+\.\d+-slim-bookworm", base_image())


def test_the_code_s_version_is_that_of_what_is_in_the_image(tmp_path: Path) -> None:
    for name in ("contract/events.py", "locks/training.txt", "training/train.py"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(name)
    version = code_version(tmp_path)
    assert re.fullmatch("[0-9a-f]{12}", version)
    for name in ("training/notebooks/a.ipynb", "training/__pycache__/train.pyc", "docs/a.md"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("other")
    assert code_version(tmp_path) == version
    (tmp_path / "training/train.py").write_text("changed")
    assert code_version(tmp_path) != version
