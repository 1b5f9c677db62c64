"""Buckets, database, secrets: encrypted, private, kept where they have to be."""

import json
from typing import Any

import pytest

from infra.config import STAGES, Config
from lambdas.migrate_database.roles import LOGINS
from tests.infra.conftest import Templates, resources

ON_AWS = [stage for stage in STAGES if stage != "local"]


def buckets(templates: Templates, stage: str) -> dict[str, Any]:
    found = resources(templates[stage]["data"], "AWS::S3::Bucket")
    assert len(found) == 5
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_no_bucket_can_become_public(templates: Templates, stage: str) -> None:
    for bucket in buckets(templates, stage).values():
        assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}


@pytest.mark.parametrize("stage", STAGES)
def test_every_bucket_refuses_what_comes_without_tls(templates: Templates, stage: str) -> None:
    policies = resources(templates[stage]["data"], "AWS::S3::BucketPolicy")
    refusing = {
        policy["Properties"]["Bucket"]["Ref"]
        for policy in policies.values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
        and statement["Condition"].get("Bool") == {"aws:SecureTransport": "false"}
    }
    assert refusing == set(buckets(templates, stage))


@pytest.mark.parametrize("stage", STAGES)
def test_what_was_deleted_from_a_bucket_is_gone_after_a_month(templates: Templates, stage: str) -> None:
    versioned = 0
    for bucket in buckets(templates, stage).values():
        rules = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
        assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)
        if "VersioningConfiguration" in bucket["Properties"]:
            versioned += 1
            expiries = [rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays") for rule in rules]
            assert 30 in expiries
            encryption = bucket["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
            assert encryption[0]["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
            assert "LoggingConfiguration" in bucket["Properties"]
    assert versioned == 4


def test_bad_rows_and_checkpoints_expire_by_themselves(templates: Templates) -> None:
    prefixes = {
        rule["Prefix"]: rule["ExpirationInDays"]
        for bucket in buckets(templates, "prod").values()
        for rule in bucket["Properties"]["LifecycleConfiguration"]["Rules"]
        if "Prefix" in rule
    }
    assert prefixes == {
        "rejected/": 30, "data_reports/": 90, "backfill/": 30, "checkpoints/": 14, "training-jobs/": 90
    }  # fmt: skip


def test_what_prod_holds_outlives_its_stack_and_what_dev_holds_does_not(templates: Templates) -> None:
    assert {bucket["DeletionPolicy"] for bucket in buckets(templates, "prod").values()} == {"Retain"}
    assert {bucket["DeletionPolicy"] for bucket in buckets(templates, "dev").values()} == {"Delete"}
    (prod,) = resources(templates["prod"]["data"], "AWS::RDS::DBInstance").values()
    (dev,) = resources(templates["dev"]["data"], "AWS::RDS::DBInstance").values()
    assert (prod["DeletionPolicy"], prod["UpdateReplacePolicy"]) == ("Snapshot", "Snapshot")
    assert dev["DeletionPolicy"] == "Delete"
    assert prod["Properties"]["DeletionProtection"] is True


@pytest.mark.parametrize("stage", ON_AWS)
def test_postgres_is_encrypted_private_and_takes_tls_alone(templates: Templates, stage: str) -> None:
    template = templates[stage]["data"]
    (instance,) = resources(template, "AWS::RDS::DBInstance").values()
    properties = instance["Properties"]
    assert properties["StorageEncrypted"] is True
    assert properties["PubliclyAccessible"] is False
    assert properties["EnableIAMDatabaseAuthentication"] is True
    assert properties["EngineVersion"].count(".") == 1
    assert properties["AutoMinorVersionUpgrade"] is False
    (parameters,) = resources(template, "AWS::RDS::DBParameterGroup").values()
    assert parameters["Properties"]["Parameters"]["rds.force_ssl"] == "1"


def test_prod_has_a_standby_and_a_month_of_backups(templates: Templates) -> None:
    (instance,) = resources(templates["prod"]["data"], "AWS::RDS::DBInstance").values()
    assert (instance["Properties"]["MultiAZ"], instance["Properties"]["BackupRetentionPeriod"]) == (True, 30)


@pytest.mark.parametrize("stage", ON_AWS)
def test_rds_keeps_the_masters_password_and_changes_it(templates: Templates, stage: str) -> None:
    (instance,) = resources(templates[stage]["data"], "AWS::RDS::DBInstance").values()
    assert instance["Properties"]["ManageMasterUserPassword"] is True
    assert "MasterUserPassword" not in instance["Properties"]
    assert "KmsKeyId" in instance["Properties"]["MasterUserSecret"]


@pytest.mark.parametrize("stage", ON_AWS)
def test_postgres_allows_as_many_connections_as_functions_are_counted_by(
    templates: Templates, stage: str
) -> None:
    (parameters,) = resources(templates[stage]["data"], "AWS::RDS::DBParameterGroup").values()
    most = Config.of({"stage": stage}).max_connections
    assert parameters["Properties"]["Parameters"]["max_connections"] == str(most)
    reserved = [
        function["Properties"].get("ReservedConcurrentExecutions", 0)
        for function in resources(templates[stage]["api"], "AWS::Lambda::Function").values()
    ]
    assert sum(reserved) < most


@pytest.mark.parametrize("stage", ON_AWS)
def test_nothing_of_the_database_is_exported_that_a_restored_one_would_change(
    templates: Templates, stage: str
) -> None:
    # CloudFormation refuses to change an export in use, and so would refuse to replace the database.
    template = templates[stage]["data"]
    (instance,) = resources(template, "AWS::RDS::DBInstance")
    assert not [
        name for name, output in template["Outputs"].items() if instance in json.dumps(output["Value"])
    ]
    shared = {
        parameter["Properties"]["Name"] for parameter in resources(template, "AWS::SSM::Parameter").values()
    }
    read = {
        parameter["Default"]
        for stack in templates[stage].values()
        for parameter in stack.get("Parameters", {}).values()
        if f"/shop-{stage}/database/" in str(parameter.get("Default"))
    }
    assert read == shared
    assert len(shared) == 3


def test_the_key_turns_every_year(templates: Templates) -> None:
    for stage in STAGES:
        for key in resources(templates[stage]["data"], "AWS::KMS::Key").values():
            assert key["Properties"]["EnableKeyRotation"] is True


@pytest.mark.parametrize("stage", STAGES)
def test_the_schema_is_there_before_whatever_needs_it(templates: Templates, stage: str) -> None:
    (trigger,) = resources(templates[stage]["data"], "Custom::Trigger").values()
    if stage in ON_AWS:
        (instance,) = resources(templates[stage]["data"], "AWS::RDS::DBInstance")
        assert instance in trigger["DependsOn"]


@pytest.mark.parametrize("stage", ON_AWS)
def test_the_way_to_postgres_is_open_at_both_ends_before_the_migration(
    templates: Templates, stage: str
) -> None:
    template = templates[stage]["data"]
    (trigger,) = resources(template, "Custom::Trigger").values()
    for kind in ("AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress"):
        (way,) = [
            name
            for name, rule in resources(template, kind).items()
            if rule["Properties"].get("Description") == "Postgres"
        ]
        assert way in trigger["DependsOn"]


@pytest.mark.parametrize("stage", ON_AWS)
def test_each_function_logs_in_as_a_user_that_the_set_up_makes(templates: Templates, stage: str) -> None:
    users = {
        function["Properties"]["Environment"]["Variables"]["DATABASE_URL"]["Fn::Join"][1][0]
        for function in resources(templates[stage]["api"], "AWS::Lambda::Function").values()
        if "DATABASE_URL" in function["Properties"].get("Environment", {}).get("Variables", {})
    }
    names = {user.removeprefix("postgresql://").rstrip("@") for user in users}
    assert names == {"api_read", "api_write", "housekeeping"}
    assert names < set(LOGINS)


def test_no_secret_is_written_into_a_template(templates: Templates) -> None:
    for stage in STAGES:
        for secret in resources(templates[stage]["data"], "AWS::SecretsManager::Secret").values():
            assert "SecretString" not in secret["Properties"]
            assert "KmsKeyId" in secret["Properties"]
