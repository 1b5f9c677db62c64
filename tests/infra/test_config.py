"""Settings: what they are by stage, and what is told about wrong ones."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.app import main
from infra.config import DATABASE_INSTANCES, STAGES, Config
from infra.errors import ConfigError
from infra.impossible import OTHER_CONNECTIONS

ROOT = Path(__file__).parents[2]
CERTIFICATE = "arn:aws:acm:eu-central-1:123456789012:certificate/abc"
OIDC = {
    "oidc_issuer": "https://issuer.example",
    "oidc_authorization_endpoint": "https://issuer.example/authorize",
    "oidc_token_endpoint": "https://issuer.example/token",
    "oidc_user_info_endpoint": "https://issuer.example/userinfo",
    "oidc_client_id": "shop",
    "oidc_client_secret": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:oidc",
}


def told(**settings: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        Config.of(settings)
    return str(raised.value)


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_is_possible_without_another_word(stage: str) -> None:
    assert Config.of({"stage": stage}).prefix == f"shop-{stage}"


def test_prod_has_airflow_and_the_load_balancer_and_keeps_its_data() -> None:
    prod = Config.of({"stage": "prod"})
    assert (prod.mwaa, prod.load_balancer, prod.protected, prod.database_multi_az) == (True, True, True, True)


def test_texts_of_the_command_line_become_what_a_setting_is() -> None:
    config = Config.of(
        {
            "stage": "dev",
            "snap_start": "true",
            "read_concurrency": "20",
            "throttle_rate": "12.5",
            "cors_origins": "https://a.example, https://b.example",
            "tags": "team=web,cost-center=42",
            "database_instance": "db.t4g.small",
        }
    )
    assert config.snap_start is True
    assert config.read_concurrency == 20
    assert config.throttle_rate == 12.5
    assert config.cors_origins == ("https://a.example", "https://b.example")
    assert config.tags == {"team": "web", "cost-center": "42"}
    assert config.database_instance == "t4g.small"


def test_an_empty_text_takes_a_default_of_the_stage_back() -> None:
    assert (
        Config.of({"stage": "prod", "retrain_schedule": "", "read_concurrency": ""}).read_concurrency is None
    )


def test_what_the_cdk_puts_into_the_context_is_no_setting() -> None:
    assert (
        Config.of({"stage": "dev", "@aws-cdk/core:x": True, "aws:cdk:bundling-stacks": ["**"]}).stage == "dev"
    )


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config.of({"stage": "dev"}).name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "stage is not set: expected one of dev, prod, local"),
        ({"stage": "production"}, "stage is 'production': expected one of dev, prod, local"),
        ({"stage": "dev", "natgateways": "1"}, "natgateways is not a setting; the nearest is nat_gateways"),
        ({"stage": "dev", "nat_gateways": "many"}, "nat_gateways=many: expected a valid integer"),
        ({"stage": "dev", "nat_gateways": True}, "nat_gateways=True: expected a number, not a truth value"),
        ({"stage": "dev", "snap_start": "maybe"}, "snap_start=maybe: expected a valid boolean"),
        (
            {"stage": "dev", "authorization": "oauth"},
            "authorization=oauth: expected 'iam', 'jwt' or 'api_key'",
        ),
        (
            {"stage": "dev", "database_instance": "t3.micro"},
            "database_instance=t3.micro: expected one of t4g.micro,",
        ),
        ({"stage": "dev", "log_retention_days": "8"}, "log_retention_days=8: expected one of 1, 3, 5, 7,"),
        ({"stage": "dev", "vpc_cidr": "10.0.0.0/8"}, "expected a network of /16 to /24"),
        ({"stage": "dev", "vpc_cidr": "ten"}, "vpc_cidr=ten: "),
        ({"stage": "dev", "tags": "web"}, "tags=web: expected NAME=VALUE"),
        ({"stage": "dev", "cors_origins": "*"}, "cors_origins=*: * is no origin"),
        ({"stage": "dev", "monitoring_cidrs": "0.0.0.0/0"}, "0.0.0.0/0 is everybody"),
        (
            {"stage": "prod", "retrain_schedule": "daily"},
            "retrain_schedule=daily: expected five fields of cron",
        ),
        ({"stage": "prod", "slack_webhook_secret": "https://hooks"}, "slack_webhook_secret=https://hooks: "),
        ({"stage": "dev", "name": "Shop"}, "name=Shop: "),
        ({"stage": "dev", "jwt_issuer": "http://issuer"}, "jwt_issuer=http://issuer: "),
    ],
)
def test_a_wrong_value_is_told_by_name_with_what_was_expected(settings: dict[str, Any], words: str) -> None:
    assert words in told(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"nat_gateways": 0}, "nat_gateways=0 leaves no way out"),
        ({"vpc_id": "vpc-0123abcd"}, "vpc_id needs two or more private_subnet_ids"),
        ({"private_subnet_ids": "subnet-1,subnet-2"}, "private_subnet_ids belongs to an existing VPC"),
        ({"read_concurrency": 30, "write_concurrency": 11}, "take 41 connections, the database has 40 left"),
        ({"database_connections": OTHER_CONNECTIONS}, "expected more than the 40"),
        ({"database_storage_gb": 91}, "database_max_storage_gb=100: expected at least 101"),
        ({"database_secret": "x"}, "database_secret is for stage=local alone"),
        ({"pushgateway_url": "http://127.0.0.1:9091"}, "pushgateway_url is for stage=local alone"),
        ({"stage": "local", "database_secret": ""}, "stage=local needs database_secret"),
        ({"authorization": "jwt"}, "authorization=jwt needs jwt_issuer"),
        ({"authorization": "jwt", "jwt_issuer": "https://i.example"}, "needs jwt_audience or jwt_client_ids"),
        ({"jwt_issuer": "https://i.example"}, "jwt_issuer needs authorization=jwt"),
        ({"stage": "prod", "authorization": "api_key"}, "a key proves nothing: expected iam or jwt"),
        ({"domain_name": "api.shop.example"}, "domain_name and domain_certificate need each other"),
        ({"hosted_zone_id": "Z1"}, "hosted_zone_id and hosted_zone_name need each other"),
        ({"hosted_zone_id": "Z1", "hosted_zone_name": "shop.example"}, "hosted_zone_id needs domain_name"),
        ({"oidc_client_id": "shop"}, "need each other; not set: oidc_issuer,"),
        (OIDC, "oidc_issuer needs monitoring_certificate"),
        ({"monitoring_cidrs": "10.0.0.0/8"}, "monitoring_cidrs needs monitoring_certificate"),
        (
            {"monitoring_certificate": CERTIFICATE},
            "monitoring_certificate and monitoring_domain need each other",
        ),
        ({"monitoring": False}, "expected load_balancer=false, too"),
        ({"retrain_schedule": "17 3 * * *"}, "retrain_schedule needs mwaa=true"),
        ({"slack_webhook_secret": "shop/slack"}, "slack_webhook_secret needs mwaa=true"),
        ({"monitoring": False, "load_balancer": False, "mwaa": True}, "mwaa=true needs monitoring=true"),
        ({"stage": "prod", "mwaa": False, "retrain_schedule": ""}, "prod always has Airflow"),
    ],
)
def test_what_is_impossible_beside_each_other_is_told(settings: dict[str, Any], words: str) -> None:
    assert words in told(**{"stage": "dev", **settings})


def test_all_problems_are_told_at_once() -> None:
    lines = told(stage="dev", jwt_issuer="https://i.example", nat_gateways=0).splitlines()
    assert len(lines) == 2


@pytest.mark.parametrize("instance", DATABASE_INSTANCES)
def test_every_instance_leaves_connections_for_the_api(instance: str) -> None:
    assert Config.of({"stage": "dev", "database_instance": instance}).max_connections > OTHER_CONNECTIONS


def test_settings_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "prod.toml"
    file.write_text(
        'stage = "prod"\nalarm_email = "a@b.example"\nbudget_usd = 1000\ncors_origins = ["https://a.example"]\n'
        'waf = false\n\n[tags]\nteam = "web"\n'
    )
    config = Config.of({"settings": str(file), "budget_usd": "2000"})
    assert (config.stage, config.alarm_email, config.waf) == ("prod", "a@b.example", False)
    assert (config.cors_origins, config.tags) == (("https://a.example",), {"team": "web"})
    assert config.budget_usd == 2000  # what the command line says counts


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "it cannot be read: No such file or directory"),
        ("stage: prod", "expected TOML"),
        ('stage = "prod"\ncolour = "red"', "colour is not a setting"),
        ('stage = "prod"\nwaf = "maybe"', "waf=maybe: expected a valid boolean"),
        ('stage = "prod"\n[database]\ninstance = "t4g.micro"', "database is not a setting"),
    ],
)
def test_a_wrong_file_is_told(tmp_path: Path, content: str | None, words: str) -> None:
    file = tmp_path / "prod.toml"
    if content is not None:
        file.write_text(content)
    assert words in told(settings=str(file))


def test_every_setting_says_what_it_is() -> None:
    assert not [name for name, field in Config.model_fields.items() if not field.description]


def test_the_command_tells_a_wrong_setting_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", "stage=dev", "-c", "colour=red"]) == 1
    assert capsys.readouterr().err.startswith("nothing was synthesized: colour is not a setting")


def test_the_command_wants_names_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", "stage"]) == 1
    assert "-c stage: expected NAME=VALUE" in capsys.readouterr().err


def test_cdk_without_a_stage_is_told_to_give_one(tmp_path: Path) -> None:
    ended = as_cdk_calls_it(tmp_path, {})
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith("expected one of dev, prod, local, as in -c stage=dev")


def test_without_node_it_says_how_to_get_one(tmp_path: Path) -> None:
    ended = as_cdk_calls_it(tmp_path, {"stage": "dev"}, JSII_NODE=str(tmp_path / "node"))
    assert ended.returncode == 1
    assert "there is no Node" in ended.stderr
    assert "Traceback" not in ended.stderr


def as_cdk_calls_it(
    folder: Path, context: dict[str, str], **variables: str
) -> "subprocess.CompletedProcess[str]":
    """The app as the CDK's command line starts it, with a context and a folder for what comes out."""
    return subprocess.run(
        [sys.executable, "-m", "infra.app"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "CDK_OUTDIR": str(folder / "out"),
            "CDK_CONTEXT_JSON": json.dumps(context),
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_nothing_but_the_edge_reads_the_environment() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "infra").rglob("*.py"))
        if re.search(r"os\.environ|getenv|try_get_context|get_all_context", path.read_text())
    ]
    assert readers == ["infra/__init__.py", "infra/app.py", "infra/command_line.py", "infra/stage.py"]
