"""What the security rules and the linter say about every stage, and what each acknowledgement is worth."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack, aws_s3, aws_sns, aws_sns_subscriptions

from infra.archives import Archives
from infra.config import STAGES
from infra.nist import findings
from infra.stage import enforce_rules, feature_flags
from tests.infra.conftest import Templates, resources, stand_in

PACKS = {"AwsSolutions", "Serverless"}

# `*` as the resource, where the service has nothing finer; by action, the reason.
ANY_RESOURCE = {
    "ecr:GetAuthorizationToken": "a token is for the whole registry",
    "ec2:DescribeNetworkInterfaces": "EC2 lists, and knows no single interface for it",
    "ec2:DescribeSubnets": "as above",
    "ec2:DescribeSecurityGroups": "as above",
    "ec2:DescribeVpcs": "as above",
    "ec2:DescribeDhcpOptions": "as above",
    "ec2:DeleteNetworkInterfacePermission": "EC2 knows no resource for it",
    "logs:DescribeLogGroups": "MWAA looks for its groups so, by its documentation",
    "xray:PutTraceSegments": "X-Ray's segments belong to no resource",
    "xray:PutTelemetryRecords": "as above",
    "cloudwatch:PutMetricData": "CloudWatch knows no resource for it; a condition names the namespace",
    "s3:GetAccountPublicAccessBlock": "it is the account's",
}


def reports(stages_folder: Path, stage: str) -> Iterator[Mapping[str, Any]]:
    yield from json.loads((stages_folder / stage / "validation-report.json").read_text())["pluginReports"]


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_unexplained_is_found_at_a_stage(stages_folder: Path, stage: str) -> None:
    # A pack that finds nothing is not in the report; that both look is the next test's.
    found = {report["pluginName"]: report["violations"] for report in reports(stages_folder, stage)}
    assert not PACKS & set(found)


def test_a_stage_that_breaks_a_rule_of_either_pack_is_not_synthesized(tmp_path: Path) -> None:
    app = App(outdir=str(tmp_path), context=feature_flags())
    stack = Stack(app, "Careless")
    aws_s3.Bucket(stack, "Open")
    aws_sns.Topic(stack, "Plain").add_subscription(aws_sns_subscriptions.EmailSubscription("a@b.example"))
    enforce_rules(app)
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()
    found = {
        violation["ruleName"]
        for report in json.loads((tmp_path / "validation-report.json").read_text())["pluginReports"]
        for violation in report["violations"]
    }
    assert {"AwsSolutions-S1", "AwsSolutions-SNS3", "Serverless-SNSRedrivePolicy"} <= found


@pytest.mark.parametrize("stage", STAGES)
def test_there_is_no_warning_but_our_own(stages_folder: Path, stage: str) -> None:
    rules = {
        violation["ruleName"]
        for report in reports(stages_folder, stage)
        for violation in report["violations"]
    }
    assert not [rule for rule in rules if not rule.startswith("Annotation::shop:")]


def test_no_stage_warns_of_what_it_cannot_be(stages_folder: Path) -> None:
    warned = {
        stage: {
            violation["ruleName"].removeprefix("Annotation::shop:")
            for report in reports(stages_folder, stage)
            for violation in report["violations"]
        }
        - {"bytecode"}  # of this machine, not of the stage
        for stage in STAGES
    }
    assert warned == {
        "dev": {"concurrency"},
        "prod": {"alarm-email", "budget", "monitoring-certificate", "nat"},
        "local": set(),
    }


@pytest.fixture(scope="session")
def acknowledged(stages_folder: Path) -> list[tuple[str, str, str]]:
    """Every acknowledgement: construct path, rule, reason."""
    found = []
    for stage in STAGES:
        for file in (stages_folder / stage).glob("*.metadata.json"):
            metadata = json.loads(file.read_text())
            for path, entries in metadata.items():
                for entry in entries:
                    if "acknowledge" in str(entry.get("type", "")).lower():
                        found += [(path, *pair) for pair in _pairs(entry["data"])]
    return found


def _pairs(data: Any) -> list[tuple[str, str]]:
    if isinstance(data, Mapping):
        if "id" in data and "reason" in data:
            return [(data["id"], data["reason"])]
        return [(str(rule), str(reason)) for rule, reason in data.items()]
    return [pair for each in data for pair in _pairs(each)]


def test_each_acknowledgement_gives_a_reason_in_a_sentence(acknowledged: list[tuple[str, str, str]]) -> None:
    assert acknowledged
    assert not [entry for entry in acknowledged if len(entry[2].split()) < 4]


def test_findings_at_single_statements_are_accepted_one_by_one(
    acknowledged: list[tuple[str, str, str]],
) -> None:
    # Without brackets a rule would be accepted for whatever comes into that policy later.
    wholesale = [
        path for path, rule, _ in acknowledged if re.fullmatch(r"(\w+::)?AwsSolutions-IAM[45]", rule)
    ]
    assert not wholesale


def statements(templates: Templates) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for stage, stacks in templates.items():
        for noun, template in stacks.items():
            for name, resource in template["Resources"].items():
                for statement in _statements(resource.get("Properties", {})):
                    yield f"{stage} {noun} {name}", statement


def _statements(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if "Effect" in value and ("Action" in value or "NotAction" in value):
            yield value
        for each in value.values():
            yield from _statements(each)
    elif isinstance(value, list):
        for each in value:
            yield from _statements(each)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_no_policy_allows_every_action_of_a_service(templates: Templates) -> None:
    all_statements = list(statements(templates))
    assert len(all_statements) > 50
    allowed = [
        (where, action)
        for where, statement in all_statements
        if statement["Effect"] == "Allow"
        for action in _listed(statement.get("Action", "*"))
        if re.fullmatch(r"\*|[a-z0-9-]+:\*", action) and not _is_key_policy(statement)
    ]
    assert not allowed


def _is_key_policy(statement: Mapping[str, Any]) -> bool:
    """A key's own policy has to leave it to the account, or nobody could ever manage it."""
    return statement.get("Action") == "kms:*" and ":root" in json.dumps(statement.get("Principal", ""))


def test_every_resource_is_named_but_where_a_service_has_nothing_finer(templates: Templates) -> None:
    unnamed = [
        (where, action)
        for where, statement in statements(templates)
        if statement["Effect"] == "Allow"
        and "*" in _listed(statement.get("Resource"))
        and "Principal" not in statement
        for action in _listed(statement.get("Action"))
        if action not in ANY_RESOURCE and not where.split()[-1].startswith(_HELPERS)
    ]
    assert not unnamed


_HELPERS = ("LogRetention", "CustomS3AutoDelete", "CustomCDKBucketDeployment")
"""Of the CDK; what they may do is accepted in infra/constructs/custom_resources.py."""


def test_no_security_group_is_open_to_the_world_but_the_load_balancers(templates: Templates) -> None:
    opened = []
    for stage, stacks in templates.items():
        for noun, template in stacks.items():
            for name, group in resources(template, "AWS::EC2::SecurityGroup").items():
                rules = group["Properties"].get("SecurityGroupIngress", [])
                opened += [(stage, noun, name, rule) for rule in rules if rule.get("CidrIp") == "0.0.0.0/0"]
            for name, rule in resources(template, "AWS::EC2::SecurityGroupIngress").items():
                if rule["Properties"].get("CidrIp") == "0.0.0.0/0":
                    opened.append((stage, noun, name, rule))
    # Without a certificate, as here, not even the load balancer is.
    assert not opened


@pytest.mark.parametrize("stage", STAGES)
def test_the_linter_finds_no_error(stages_folder: Path, stage: str) -> None:
    files = sorted(map(str, (stages_folder / stage).glob("*.template.json")))
    assert files
    linter = Path(sys.executable).with_name("cfn-lint")
    ended = subprocess.run(
        [linter, "--non-zero-exit-code", "error", "--ignore-checks", "W", "I", "--", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout


def test_what_nist_finds_is_reported_and_holds_nothing_up(tmp_path: Path) -> None:
    found = findings({"stage": "dev"}, Archives(tmp_path, make=stand_in))
    _, paths = found["NIST.800.53.R5-S3BucketReplicationEnabled"]
    assert sorted(path.split("/")[1] for path in paths) == [
        "AccessLogs",
        "Artifacts",
        "Dags",
        "Events",
        "Recommendations",
    ]
    assert all(description for description, _ in found.values())
