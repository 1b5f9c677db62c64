"""The stack of MLflow, pushgateway, Prometheus and Grafana: who reaches them, what they hold, what they run."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
import yaml
from aws_cdk import App
from mlflow import MlflowClient
from twin.mlflow_server import START_TIMEOUT_SECONDS
from twin.monitoring import ALERTMANAGER, PROMETHEUS, PUSHGATEWAY, find_program, running_pushgateway
from twin.postgres import create_database, drop_database, url_of_database
from twin.processes import LOOPBACK, Server, answers, free_port
from twin.s3 import aws_environment, create_bucket

from infra.archives import Archives
from infra.config import STAGES, Config
from infra.constructs.custom_resources import explain_singletons
from infra.data import DataStack
from infra.impossible import OTHER_CONNECTIONS
from infra.monitoring import MonitoringStack
from infra.network import NetworkStack
from infra.stage import enforce_rules, feature_flags
from tests.infra.conftest import Template, Templates, resources, stand_in

ROOT = Path(__file__).parents[2]
DOCKERFILES = [
    ROOT / path for path in ("infra/mlflow/Dockerfile", "grafana/Dockerfile", "grafana/prometheus/Dockerfile")
]
BESIDE = {"prepare", "alertmanager"}
"""Containers in another server's task."""
SERVERS = {"pushgateway": 9091, "prometheus": 9090, "mlflow": 5000, "grafana": 3000}

CERTIFICATE = {
    "monitoring_certificate": "arn:aws:acm:eu-west-1:123456789012:certificate/12345678",
    "monitoring_domain": "monitoring.shop.example",
}
LOGIN = {
    "oidc_issuer": "https://login.shop.example",
    "oidc_authorization_endpoint": "https://login.shop.example/authorize",
    "oidc_token_endpoint": "https://login.shop.example/token",
    "oidc_user_info_endpoint": "https://login.shop.example/user",
    "oidc_client_id": "monitoring",
    "oidc_client_secret": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:monitoring-AbCdEf",
}


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Template]:
    """The stack with a certificate: `login` for everybody who logs in, `networks` for two networks."""
    folder = tmp_path_factory.mktemp("opened")
    app = App(outdir=str(folder), context=feature_flags())
    archives = Archives(folder / "archives", make=stand_in)
    for name, settings in {
        "login": LOGIN,
        "networks": {"monitoring_cidrs": "203.0.113.0/24,198.51.100.7/32"},
    }.items():
        config = Config.of({"stage": "dev", "name": name, **CERTIFICATE, **settings})
        network = NetworkStack(app, f"{name}-network", config=config)
        data = DataStack(app, f"{name}-data", config=config, archives=archives, network=network)
        MonitoringStack(app, f"{name}-monitoring", config=config, network=network, data=data)
        explain_singletons(data)
    enforce_rules(app)
    app.synth()
    return {
        name: json.loads((folder / f"{name}-monitoring.template.json").read_text())
        for name in ("login", "networks")
    }


@pytest.fixture(params=STAGES)
def template(request: pytest.FixtureRequest, templates: Templates) -> Template:
    return templates[request.param]["monitoring"]


@pytest.fixture
def dev(templates: Templates) -> Template:
    return templates["dev"]["monitoring"]


def the_only(template: Template, kind: str) -> Mapping[str, Any]:
    (resource,) = resources(template, kind).values()
    properties: Mapping[str, Any] = resource["Properties"]
    return properties


def tasks(template: Template) -> dict[str, Mapping[str, Any]]:
    """Task definitions by the server that they run."""
    found = {}
    for task in resources(template, "AWS::ECS::TaskDefinition").values():
        names = {container["Name"] for container in task["Properties"]["ContainerDefinitions"]} - BESIDE
        (name,) = names
        found[name] = task["Properties"]
    return found


def containers(template: Template) -> Iterator[Mapping[str, Any]]:
    for task in tasks(template).values():
        yield from task["ContainerDefinitions"]


def container(template: Template, name: str, server: str | None = None) -> Mapping[str, Any]:
    definitions = tasks(template)[server or name]["ContainerDefinitions"]
    (found,) = [definition for definition in definitions if definition["Name"] == name]
    return dict(found)


def environment(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {variable["Name"]: variable["Value"] for variable in definition.get("Environment", [])}


def actions(template: Template) -> list[list[Mapping[str, Any]]]:
    """What the load balancer does with a request: of the listener, and of each rule."""
    listener = the_only(template, "AWS::ElasticLoadBalancingV2::Listener")["DefaultActions"]
    rules = resources(template, "AWS::ElasticLoadBalancingV2::ListenerRule").values()
    return [listener, *(rule["Properties"]["Actions"] for rule in rules)]


def doors(template: Template) -> list[tuple[str, int]]:
    """Addresses and ports that the load balancer's security group lets in."""
    (name,) = [name for name in resources(template, "AWS::EC2::SecurityGroup") if name.startswith("People")]
    group = template["Resources"][name]["Properties"]
    rules = list(group.get("SecurityGroupIngress", []))
    rules += [
        rule["Properties"]
        for rule in resources(template, "AWS::EC2::SecurityGroupIngress").values()
        if name in json.dumps(rule["Properties"]["GroupId"])
    ]
    assert all(rule["FromPort"] == rule["ToPort"] for rule in rules)
    return [(rule.get("CidrIp", "a group"), rule["FromPort"]) for rule in rules]


# Who reaches what


def test_every_stage_runs_the_four_servers(template: Template) -> None:
    ports = {name: container(template, name)["PortMappings"][0]["ContainerPort"] for name in tasks(template)}
    assert ports == SERVERS


def test_without_a_certificate_the_load_balancer_is_internal_and_admits_nobody(template: Template) -> None:
    assert the_only(template, "AWS::ElasticLoadBalancingV2::LoadBalancer")["Scheme"] == "internal"
    assert doors(template) == []


def test_with_a_login_everybody_reaches_443_alone(opened: Mapping[str, Template]) -> None:
    template = opened["login"]
    assert the_only(template, "AWS::ElasticLoadBalancingV2::LoadBalancer")["Scheme"] == "internet-facing"
    assert doors(template) == [("0.0.0.0/0", 443)]


def test_without_a_login_only_the_given_networks_reach_443(opened: Mapping[str, Template]) -> None:
    assert doors(opened["networks"]) == [("203.0.113.0/24", 443), ("198.51.100.7/32", 443)]


@pytest.mark.parametrize("name", ["login", "networks"])
def test_with_a_certificate_only_https_is_spoken_by_tls_1_2_or_newer(
    opened: Mapping[str, Template], name: str
) -> None:
    listener = the_only(opened[name], "AWS::ElasticLoadBalancingV2::Listener")
    assert (listener["Protocol"], listener["Port"]) == ("HTTPS", 443)
    assert listener["Certificates"] == [{"CertificateArn": CERTIFICATE["monitoring_certificate"]}]
    assert listener["SslPolicy"].startswith("ELBSecurityPolicy-TLS13-1-2-")


def test_every_way_through_the_load_balancer_asks_for_the_login_first(opened: Mapping[str, Template]) -> None:
    ways = actions(opened["login"])
    assert len(ways) == 2
    for first, then in ways:
        assert (first["Type"], then["Type"]) == ("authenticate-oidc", "forward")
        assert first["AuthenticateOidcConfig"]["Issuer"] == LOGIN["oidc_issuer"]
        # Denying is what happens to who isn't logged in, unless told otherwise: by being sent to log in.
        assert (
            first["AuthenticateOidcConfig"].get("OnUnauthenticatedRequest", "authenticate") == "authenticate"
        )


def test_the_secret_of_the_login_is_named_and_not_told(opened: Mapping[str, Template]) -> None:
    for first, _ in actions(opened["login"]):
        assert first["AuthenticateOidcConfig"]["ClientSecret"] == (
            f"{{{{resolve:secretsmanager:{LOGIN['oidc_client_secret']}:SecretString:::}}}}"
        )


def test_grafana_and_mlflow_are_on_the_load_balancer_and_nothing_else_is(template: Template) -> None:
    services = resources(template, "AWS::ECS::Service").values()
    balanced = [each for service in services for each in service["Properties"].get("LoadBalancers", [])]
    assert {each["ContainerName"] for each in balanced} == {"grafana", "mlflow"}
    assert {
        group["Properties"]["Port"]
        for group in resources(template, "AWS::ElasticLoadBalancingV2::TargetGroup").values()
    } == {3000, 5000}


def test_mlflow_has_its_paths_and_grafana_the_rest(dev: Template) -> None:
    rule = the_only(dev, "AWS::ElasticLoadBalancingV2::ListenerRule")
    assert rule["Conditions"][0]["PathPatternConfig"]["Values"] == ["/mlflow", "/mlflow/*"]
    assert "MlflowTargets" in rule["Actions"][0]["TargetGroupArn"]["Ref"]
    listener = the_only(dev, "AWS::ElasticLoadBalancingV2::Listener")
    assert "GrafanaTargets" in listener["DefaultActions"][0]["TargetGroupArn"]["Ref"]


def test_no_server_admits_addresses_only_groups(template: Template) -> None:
    rules = resources(template, "AWS::EC2::SecurityGroupIngress").values()
    assert len(rules) >= 5
    assert all("SourceSecurityGroupId" in rule["Properties"] for rule in rules)
    groups = resources(template, "AWS::EC2::SecurityGroup").values()
    assert not [group for group in groups if group["Properties"].get("SecurityGroupIngress")]


@pytest.mark.parametrize("stage", STAGES)
def test_who_pushes_is_let_in_by_a_stack_that_comes_later(templates: Templates, stage: str) -> None:
    # A rule in this stack for them would tie it to stacks that are made after it.
    def opened_ports(noun: str) -> set[int]:
        rules = resources(templates[stage][noun], "AWS::EC2::SecurityGroupIngress").values()
        return {rule["Properties"]["FromPort"] for rule in rules}

    assert 9091 in opened_ports("api")
    pushed = [
        rule["Properties"]
        for rule in resources(templates[stage]["monitoring"], "AWS::EC2::SecurityGroupIngress").values()
        if rule["Properties"]["FromPort"] == 9091
    ]
    assert len(pushed) == 1
    assert "Prometheus" in json.dumps(pushed[0]["SourceSecurityGroupId"])


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_a_load_balancer_has_room_in_the_public_subnets(templates: Templates, stage: str) -> None:
    public = [
        subnet["Properties"]["CidrBlock"]
        for name, subnet in resources(templates[stage]["network"], "AWS::EC2::Subnet").items()
        if "public" in name
    ]
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html
    assert [IPv4Network(cidr).prefixlen for cidr in public] == [27, 27]


def test_no_task_has_a_public_address(template: Template) -> None:
    for service in resources(template, "AWS::ECS::Service").values():
        network = service["Properties"]["NetworkConfiguration"]["AwsvpcConfiguration"]
        assert network["AssignPublicIp"] == "DISABLED"


def test_machines_find_each_server_by_its_name(templates: Templates) -> None:
    for stage in STAGES:
        template = templates[stage]["monitoring"]
        namespace = the_only(template, "AWS::ServiceDiscovery::PrivateDnsNamespace")["Name"]
        assert namespace == f"shop-{stage}.internal"
        names = {
            service["Properties"]["Name"]
            for service in resources(template, "AWS::ServiceDiscovery::Service").values()
        }
        assert names == set(SERVERS)


def test_the_load_balancer_tells_its_url_and_logs_who_came(templates: Templates) -> None:
    for stage in STAGES:
        template = templates[stage]["monitoring"]
        assert json.dumps(template["Outputs"]["GrafanaUrl"]["Value"]).endswith('"/grafana/"]]}')
        attributes = {
            attribute["Key"]: attribute["Value"]
            for attribute in the_only(template, "AWS::ElasticLoadBalancingV2::LoadBalancer")[
                "LoadBalancerAttributes"
            ]
        }
        assert attributes["access_logs.s3.enabled"] == "true"
        assert attributes["routing.http.drop_invalid_header_fields.enabled"] == "true"
        assert attributes["deletion_protection.enabled"] == str(stage == "prod").lower()
        prefix = attributes["access_logs.s3.prefix"]
        (allowed,) = [
            statement
            for policy in resources(templates[stage]["data"], "AWS::S3::BucketPolicy").values()
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
            if statement["Principal"] == {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}
        ]
        assert allowed["Action"] == "s3:PutObject"
        assert f'"/{prefix}/AWSLogs/", {{"Ref": "AWS::AccountId"}}, "/*"' in json.dumps(allowed["Resource"])


# What they hold


def test_no_password_stands_in_plain_text(template: Template) -> None:
    named = {variable["Name"] for each in containers(template) for variable in each.get("Secrets", [])}
    assert named == {"PGUSER", "PGPASSWORD", "GF_SECURITY_ADMIN_PASSWORD"}
    for each in containers(template):
        assert not named & set(environment(each))
        assert not re.search(r"password|secret|token", json.dumps(environment(each)), re.IGNORECASE)
        assert not re.search(r"password|secret|resolve:", json.dumps(each.get("Command", [])), re.IGNORECASE)


def test_what_prometheus_keeps_is_encrypted_and_mounted_by_role_over_tls(template: Template) -> None:
    files = the_only(template, "AWS::EFS::FileSystem")
    assert files["Encrypted"] is True
    assert "Key" in json.dumps(files["KmsKeyId"])
    (volume,) = [
        volume for volume in tasks(template)["prometheus"]["Volumes"] if "EFSVolumeConfiguration" in volume
    ]
    mounted = volume["EFSVolumeConfiguration"]
    assert mounted["TransitEncryption"] == "ENABLED"
    assert mounted["AuthorizationConfig"]["IAM"] == "ENABLED"
    assert "AccessPointId" in mounted["AuthorizationConfig"]
    (deny,) = [
        statement for statement in files["FileSystemPolicy"]["Statement"] if statement["Effect"] == "Deny"
    ]
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_one_prometheus_at_a_time_writes(template: Template) -> None:
    (service,) = [
        service["Properties"]
        for name, service in resources(template, "AWS::ECS::Service").items()
        if name.startswith("Prometheus")
    ]
    assert service["DesiredCount"] == 1
    assert service["DeploymentConfiguration"]["MinimumHealthyPercent"] == 0
    assert service["DeploymentConfiguration"]["MaximumPercent"] == 100
    assert container(template, "prometheus")["StopTimeout"] == 120


def test_what_prod_has_tracked_outlives_its_stack(templates: Templates) -> None:
    kept = {
        stage: {
            each["DeletionPolicy"]
            for kind in ("AWS::EFS::FileSystem", "AWS::ECR::Repository")
            for each in resources(templates[stage]["monitoring"], kind).values()
        }
        for stage in STAGES
    }
    assert kept == {"dev": {"Delete"}, "prod": {"Retain"}, "local": {"Delete"}}


def test_mlflow_may_touch_its_bucket_and_no_other(template: Template) -> None:
    (policy,) = [
        each["Properties"]["PolicyDocument"]["Statement"]
        for name, each in resources(template, "AWS::IAM::Policy").items()
        if name.startswith("MlflowTaskTaskRole")
    ]
    assert {action for statement in policy for action in _listed(statement["Action"])} == {
        *("s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:AbortMultipartUpload"),
        *("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "kms:Decrypt", "kms:GenerateDataKey"),
    }
    written = [json.dumps(statement["Resource"]) for statement in policy]
    assert all("Artifacts" in resource or "Key" in resource for resource in written)


@pytest.mark.parametrize("server", ["pushgateway", "grafana"])
def test_who_needs_nothing_of_aws_may_do_nothing(template: Template, server: str) -> None:
    policies = resources(template, "AWS::IAM::Policy")
    assert not [name for name in policies if name.startswith(f"{server.capitalize()}TaskTaskRole")]


def test_who_starts_a_server_may_decrypt_its_secrets(template: Template) -> None:
    readers = {
        name: policy["Properties"]["PolicyDocument"]["Statement"]
        for name, policy in resources(template, "AWS::IAM::Policy").items()
        if "secretsmanager:GetSecretValue" in json.dumps(policy)
    }
    assert {name.partition("Task")[0] for name in readers} == {"Mlflow", "Grafana"}
    for statements in readers.values():
        (decrypt,) = [each for each in statements if each["Action"] == "kms:Decrypt"]
        assert "Key" in decrypt["Resource"]["Fn::ImportValue"]
        assert "secretsmanager." in json.dumps(decrypt["Condition"]["StringEquals"]["kms:ViaService"])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# What they run


def test_all_run_on_arm64_powerless_and_on_a_read_only_disk(template: Template) -> None:
    for task in tasks(template).values():
        assert task["RuntimePlatform"] == {"CpuArchitecture": "ARM64", "OperatingSystemFamily": "LINUX"}
        assert task["RequiresCompatibilities"] == ["FARGATE"]
    for each in containers(template):
        assert each["ReadonlyRootFilesystem"] is True
        assert each["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}


def test_a_failed_update_is_taken_back(template: Template) -> None:
    for service in resources(template, "AWS::ECS::Service").values():
        breaker = service["Properties"]["DeploymentConfiguration"]["DeploymentCircuitBreaker"]
        assert breaker == {"Enable": True, "Rollback": True}


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_three_images_are_built_scanned_and_never_overwritten(templates: Templates, stage: str) -> None:
    template = templates[stage]["monitoring"]
    builds = resources(template, "Custom::CDKContainerImageBuild").values()
    assert len(builds) == 3
    assert all("--platform linux/arm64" in build["Properties"]["buildCommand"] for build in builds)
    for repository in resources(template, "AWS::ECR::Repository").values():
        assert repository["Properties"]["ImageTagMutability"] == "IMMUTABLE"
        assert repository["Properties"]["ImageScanningConfiguration"] == {"ScanOnPush": True}
        assert "LifecyclePolicy" in repository["Properties"]


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_builds_wait_for_the_groups_that_their_logs_go_to(templates: Templates, stage: str) -> None:
    for noun in ("monitoring", "training"):
        template = templates[stage][noun]
        groups = {
            name
            for name, group in resources(template, "AWS::Logs::LogGroup").items()
            if "/aws/codebuild/" in json.dumps(group) or "/aws/lambda/" in json.dumps(group)
        }
        assert len(groups) == 2
        for build in resources(template, "Custom::CDKContainerImageBuild").values():
            assert groups < set(build["DependsOn"])


def test_locally_nothing_is_built(templates: Templates) -> None:
    template = templates["local"]["monitoring"]
    assert not resources(template, "Custom::CDKContainerImageBuild")
    assert not resources(template, "AWS::ECR::Repository")
    assert not resources(template, "AWS::CodeBuild::Project")
    assert container(template, "mlflow")["Image"] == "mlflow:local"


def test_a_build_is_sent_what_the_image_is_made_of_and_no_more(stages_folder: Path) -> None:
    sent = {
        tuple(sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()))
        for folder in (stages_folder / "dev").glob("asset.*")
        if folder.is_dir() and any(folder.rglob("Dockerfile"))
    }
    assert ("infra/mlflow/Dockerfile", "lambdas/rds_ca.pem", "locks/mlflow.txt") in sent
    rules = (f"rules/{file.name}" for file in (ROOT / "grafana/prometheus/rules").iterdir())
    assert ("Dockerfile", "prometheus.yml", *sorted(rules)) in sent
    (grafana,) = [files for files in sent if "provisioning/datasources/prometheus.yaml" in files]
    assert all(re.match(r"Dockerfile$|provisioning/|dashboards/", file) for file in grafana)


def test_images_that_are_run_as_published_bear_a_release(templates: Templates) -> None:
    image = container(templates["dev"]["monitoring"], "pushgateway")["Image"]
    assert re.fullmatch(r"quay\.io/prometheus/pushgateway:v\d+\.\d+\.\d+", image)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_images_that_are_built_stand_on_a_release(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    (base,) = re.findall(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    assert re.fullmatch(r"[a-z0-9./-]+:v?\d+\.\d+\.\d+(-slim-[a-z]+)?(@sha256:[0-9a-f]{64})?", base)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}


def test_packages_of_mlflows_image_are_wheels_that_the_lock_knows_by_hash() -> None:
    text = (ROOT / "infra/mlflow/Dockerfile").read_text()
    for option in ("--require-hashes", "--no-deps", "--only-binary :all:"):
        assert option in text
    lock = (ROOT / "locks/mlflow.txt").read_text()
    assert re.search(r"^mlflow==3\.17\.2 ", lock, re.MULTILINE)
    locked = re.findall(r"^([\w.-]+==\S+).*\\$", lock, re.MULTILINE)
    assert len(locked) > 50
    assert lock.count("--hash=sha256:") > len(locked)


def test_grafana_asks_for_a_password_and_tells_nobody_anything(template: Template) -> None:
    switches = environment(container(template, "grafana"))
    off = {
        *("GF_AUTH_ANONYMOUS_ENABLED", "GF_USERS_ALLOW_SIGN_UP", "GF_ANALYTICS_REPORTING_ENABLED"),
        *("GF_ANALYTICS_CHECK_FOR_UPDATES", "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES"),
        *("GF_NEWS_NEWS_FEED_ENABLED", "GF_PLUGINS_PLUGIN_ADMIN_ENABLED", "GF_SNAPSHOTS_EXTERNAL_ENABLED"),
    }
    assert {switches[name] for name in off} == {"false"}
    assert switches["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"


def test_grafana_reads_prometheus_and_alertmanager_of_its_namespace(dev: Template) -> None:
    sources = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    assert [source["url"] for source in sources["datasources"]] == [
        "${PROMETHEUS_URL}",
        "${ALERTMANAGER_URL}",
    ]
    switches = environment(container(dev, "grafana"))
    assert switches["PROMETHEUS_URL"] == "http://prometheus.shop-dev.internal:9090"
    assert switches["ALERTMANAGER_URL"] == "http://prometheus.shop-dev.internal:9093"


def test_grafana_shows_the_dashboards_that_the_image_holds() -> None:
    (provider,) = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/dashboards.yaml").read_text())[
        "providers"
    ]
    assert f"COPY dashboards {provider['options']['path']}\n" in (ROOT / "grafana/Dockerfile").read_text()


# What can be run here


@pytest.mark.skipif(shutil.which("promtool") is None, reason="this machine has no promtool")
def test_prometheus_image_has_a_valid_configuration_with_the_name_of_the_pushgateway(
    dev: Template, tmp_path: Path
) -> None:
    (build,) = [
        each["Properties"]["buildCommand"]
        for name, each in resources(dev, "Custom::CDKContainerImageBuild").items()
        if name.startswith("Prometheus")
    ]
    arguments = dict(re.findall(r"--build-arg (\w+)=(\S+)", build))
    text = (ROOT / "grafana/prometheus/Dockerfile").read_text().replace("\\\n", "")
    (run,) = re.findall(r"^RUN (.+)$", text, re.MULTILINE)
    for copied in re.findall(r"^COPY --chown=nobody:nobody (\S+)", text, re.MULTILINE):
        subprocess.run(["cp", "-r", ROOT / "grafana/prometheus" / copied, tmp_path], check=True)
    subprocess.run(
        ["sh", "-euc", run.replace("/etc/prometheus", str(tmp_path))],
        env={"PATH": os.environ["PATH"], **arguments},
        check=True,
    )
    config = yaml.safe_load((tmp_path / "prometheus.yml").read_text())
    targets = {job["job_name"]: job["static_configs"][0] for job in config["scrape_configs"]}
    assert targets["pushgateway"]["targets"] == ["pushgateway.shop-dev.internal:9091"]
    assert {job["labels"]["stage"] for job in targets.values()} == {"dev"}
    assert config["global"]["external_labels"] == {"stage": "dev"}
    assert list((tmp_path / "rules").glob("*.yml"))


@pytest.mark.skipif(
    find_program(PROMETHEUS) is None or shutil.which("wget") is None,
    reason="this machine has no prometheus, or no wget",
)
def test_prometheus_starts_as_it_is_told_and_its_health_check_tells_it(
    dev: Template, tmp_path: Path, logs: Path
) -> None:
    port = free_port()
    definition = container(dev, "prometheus")
    shutil.copy(ROOT / "grafana/prometheus/prometheus.yml", tmp_path)
    shutil.copytree(ROOT / "grafana/prometheus/rules", tmp_path / "rules")
    options = [
        option.replace("/etc/prometheus/", f"{tmp_path}/").replace(
            "path=/prometheus", f"path={tmp_path}/data"
        )
        for option in definition["Command"]
    ]
    check = _health_check(definition, {"9090": str(port)})
    assert subprocess.run(check, capture_output=True, check=False).returncode != 0
    program = find_program(PROMETHEUS)
    assert program is not None
    command: list[str | Path] = [program, *options, f"--web.listen-address={LOOPBACK}:{port}"]
    log = logs / "prometheus-of-stack.log"
    with Server("Prometheus", command, log=log, environment={"PATH": os.defpath}) as server:
        server.wait_until(lambda: answers(f"http://{LOOPBACK}:{port}/-/ready"), timeout=60)
        subprocess.run(check, capture_output=True, check=True)


def alertmanager_config(template: Template) -> Any:
    """What Alertmanager is given; a resource's reference stands as its logical name."""
    text = environment(container(template, "alertmanager", "prometheus"))["ALERTMANAGER_YML"]
    _, parts = text["Fn::Join"]
    return yaml.safe_load("".join(part if isinstance(part, str) else _named(part) for part in parts))


def _named(reference: Mapping[str, Any]) -> str:
    (value,) = reference.values()
    return str(value).replace(":", "-")


def test_alertmanager_tells_the_alarms_topic_and_its_heartbeat_has_one_of_its_own(template: Template) -> None:
    receivers = {each["name"]: each["sns_configs"][0] for each in alertmanager_config(template)["receivers"]}
    assert receivers["page"]["topic_arn"] == receivers["ticket"]["topic_arn"]
    assert "data-" in receivers["page"]["topic_arn"]
    assert receivers["heartbeat"]["topic_arn"].startswith("Heartbeat")
    assert not {"TOPIC", "HEARTBEAT", "REGION"} & {
        word for each in receivers.values() for word in (each["topic_arn"], each["sigv4"]["region"])
    }


def test_prometheus_finds_alertmanager_in_its_own_task(dev: Template) -> None:
    config = yaml.safe_load((ROOT / "grafana/prometheus/prometheus.yml").read_text())
    (told,) = config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    definition = container(dev, "alertmanager", "prometheus")
    assert told == f"127.0.0.1:{definition['PortMappings'][0]['ContainerPort']}"


def test_where_alertmanager_ends_it_starts_anew_and_prometheus_goes_on(template: Template) -> None:
    definition = container(template, "alertmanager", "prometheus")
    assert definition["Essential"] is False
    assert definition["RestartPolicy"]["Enabled"] is True


def test_the_task_of_prometheus_may_publish_to_the_two_topics_and_use_their_key(template: Template) -> None:
    (policy,) = [
        each["Properties"]["PolicyDocument"]["Statement"]
        for name, each in resources(template, "AWS::IAM::Policy").items()
        if name.startswith("PrometheusTaskTaskRole")
    ]
    allowed = {action for each in policy for action in _listed(each["Action"])}
    assert allowed == {
        *("elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"),
        *("sns:Publish", "kms:Decrypt", "kms:GenerateDataKey"),
    }
    (publish,) = [each for each in policy if "sns:Publish" in _listed(each["Action"])]
    assert len(publish["Resource"]) == 2
    assert "*" not in json.dumps([each["Resource"] for each in policy])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_an_alarm_rings_where_the_heartbeat_stops(template: Template) -> None:
    alarm = the_only(template, "AWS::CloudWatch::Alarm")
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/SNS", "NumberOfMessagesPublished")
    assert alarm["TreatMissingData"] == "breaching"
    (dimension,) = alarm["Dimensions"]
    assert "Heartbeat" in json.dumps(dimension["Value"])
    assert "data:ExportsOutputRefTopic" in json.dumps(alarm["AlarmActions"])


@pytest.mark.skipif(
    find_program(ALERTMANAGER) is None or shutil.which("wget") is None,
    reason="this machine has no prometheus-alertmanager, or no wget",
)
def test_alertmanager_starts_as_it_is_told_and_its_health_check_tells_it(
    dev: Template, tmp_path: Path, logs: Path
) -> None:
    program, port = find_program(ALERTMANAGER), free_port()
    definition = container(dev, "alertmanager", "prometheus")
    (command,) = definition["Command"]
    command = command.replace("/bin/alertmanager", f"{program} --web.listen-address={LOOPBACK}:{port}")
    command = command.replace("/alertmanager/", f"{tmp_path}/").replace("=/alertmanager ", f"={tmp_path} ")
    environment = {"PATH": os.defpath, "ALERTMANAGER_YML": yaml.safe_dump(alertmanager_config(dev))}
    check = _health_check(definition, {"9093": str(port)})
    log = logs / "alertmanager-of-stack.log"
    run: list[str | Path] = [*definition["EntryPoint"], command]
    with Server("Alertmanager", run, log=log, environment=environment) as server:
        server.wait_until(lambda: answers(f"http://{LOOPBACK}:{port}/-/ready"), timeout=60)
        subprocess.run(check, capture_output=True, check=True)
    assert subprocess.run(check, capture_output=True, check=False).returncode != 0


@pytest.mark.skipif(
    find_program(PUSHGATEWAY) is None or shutil.which("wget") is None,
    reason="this machine has no pushgateway, or no wget",
)
def test_the_health_check_of_the_pushgateway_tells_it(dev: Template, logs: Path) -> None:
    with running_pushgateway(log=logs / "pushgateway-of-stack.log") as url:
        port = url.rpartition(":")[2]
        check = _health_check(container(dev, "pushgateway"), {"9091": port})
        subprocess.run(check, check=True)
    assert subprocess.run(check, check=False).returncode != 0


def _health_check(definition: Mapping[str, Any], changed: Mapping[str, str]) -> list[str]:
    kind, *command = definition["HealthCheck"]["Command"]
    assert kind == "CMD"
    return [_changed(word, changed) for word in command]


def _changed(word: str, changed: Mapping[str, str]) -> str:
    for old, new in changed.items():
        word = word.replace(old, new)
    return word


class MlflowOfStack:
    """A real MLflow with the stack's own commands, over a database and a bucket of the test's."""

    def __init__(self, template: Template, database_url: str, s3: str, bucket: str) -> None:
        self.port = free_port()
        self.bucket = bucket
        parts = psycopg.conninfo.conninfo_to_dict(database_url)
        definition = container(template, "mlflow")
        fixed = {
            name: value
            for name, value in environment(definition).items()
            if name.startswith("MLFLOW_") or name == "FORWARDED_ALLOW_IPS"
        }
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
            **aws_environment(s3),
            **fixed,
            "GIT_PYTHON_REFRESH": "quiet",
            "PGHOST": str(parts["host"]),
            "PGPORT": str(parts.get("port", 5432)),
            "PGUSER": str(parts["user"]),
            "PGPASSWORD": str(parts.get("password", "")),
            "PGDATABASE": str(parts["dbname"]),
        }
        self.prepare = self._here(container(template, "prepare", "mlflow")["Command"])
        self.serve = self._here(definition["Command"])
        self.check = _health_check(definition, {"5000": str(self.port)})

    def _here(self, command: list[Any]) -> list[str]:
        """The command with a port, an address and a bucket of this machine's."""
        changed = {"5000": str(self.port), "0.0.0.0": LOOPBACK}  # noqa: S104 - what is replaced
        program, *words = [
            _changed(word, changed) if isinstance(word, str) else f"s3://{self.bucket}" for word in command
        ]
        assert program == "mlflow"
        return [sys.executable, "-m", "mlflow", *words]


@pytest.fixture(scope="module")
def mlflow_of_stack(
    opened: Mapping[str, Template], postgres_server: str, s3_server: str, logs: Path
) -> Iterator[MlflowOfStack]:
    bucket = "artifacts-of-stack"
    create_bucket(aws_environment(s3_server), bucket)
    database_url = create_database(postgres_server, "mlflow_of_stack")
    mlflow = MlflowOfStack(opened["login"], database_url, s3_server, bucket)
    subprocess.run(mlflow.prepare, env=mlflow.environment, capture_output=True, check=True)
    with Server(
        "MLflow", mlflow.serve, log=logs / "mlflow-of-stack.log", environment=mlflow.environment
    ) as server:
        server.wait_until(
            lambda: answers(f"http://{LOOPBACK}:{mlflow.port}/mlflow/health"), timeout=START_TIMEOUT_SECONDS
        )
        yield mlflow
    drop_database(postgres_server, "mlflow_of_stack")


@pytest.fixture
def name_in_the_vpc(monkeypatch: pytest.MonkeyPatch) -> str:
    """MLflow's name in the namespace, which leads to this machine."""
    name, resolve = "mlflow.login-dev.internal", socket.getaddrinfo

    def resolved(host: Any, *arguments: Any, **options: Any) -> Any:
        return resolve(LOOPBACK if host == name else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    return name


def test_a_client_in_the_vpc_logs_below_the_prefix_and_needs_no_key(
    mlflow_of_stack: MlflowOfStack,
    name_in_the_vpc: str,
    s3_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = boto3.client("s3", **_as_arguments(aws_environment(s3_server)))
    for name in aws_environment(s3_server):
        monkeypatch.delenv(name, raising=False)
    client = MlflowClient(f"http://{name_in_the_vpc}:{mlflow_of_stack.port}/mlflow")
    experiment = client.create_experiment("retrain")
    run = client.create_run(experiment)
    client.log_metric(run.info.run_id, "ndcg", 0.25)
    client.log_text(run.info.run_id, "hello", "notes/hello.txt")
    assert client.get_run(run.info.run_id).data.metrics == {"ndcg": 0.25}
    downloaded = client.download_artifacts(run.info.run_id, "notes/hello.txt", str(tmp_path))
    assert Path(downloaded).read_text() == "hello"
    (artifact,) = stored.list_objects_v2(Bucket=mlflow_of_stack.bucket)["Contents"]
    assert artifact["Key"] == f"{experiment}/{run.info.run_id}/artifacts/notes/hello.txt"
    client.create_registered_model("recommender")
    version = client.create_model_version("recommender", str(run.info.artifact_uri), run.info.run_id)
    client.set_registered_model_alias("recommender", "champion", version.version)
    assert client.get_model_version_by_alias("recommender", "champion").run_id == run.info.run_id


def _as_arguments(given: Mapping[str, str]) -> dict[str, str]:
    return {
        "endpoint_url": given["AWS_ENDPOINT_URL"],
        "aws_access_key_id": given["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": given["AWS_SECRET_ACCESS_KEY"],
        "region_name": given["AWS_DEFAULT_REGION"],
    }


def test_the_health_check_of_mlflow_tells_it(mlflow_of_stack: MlflowOfStack) -> None:
    subprocess.run([sys.executable, *mlflow_of_stack.check[1:]], check=True)
    elsewhere = [word.replace("/mlflow/health", "/health") for word in mlflow_of_stack.check[1:]]
    failed = subprocess.run([sys.executable, *elsewhere], capture_output=True, check=False)
    assert failed.returncode != 0


def ask(
    port: int, path: str, host: str, body: str | None = None, origin: str | None = None
) -> tuple[int, str | None]:
    """Status and location of what the load balancer gets when it passes a request on."""
    headers = {"Host": host, "X-Forwarded-Proto": "https", "Content-Type": "application/json"}
    if origin is not None:
        headers["Origin"] = origin
    with contextlib.closing(HTTPConnection(LOOPBACK, port, timeout=60)) as connection:
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        response.read()
        return response.status, response.getheader("Location")


def test_people_see_mlflow_under_the_domain_and_stay_on_https(mlflow_of_stack: MlflowOfStack) -> None:
    domain = CERTIFICATE["monitoring_domain"]
    assert ask(mlflow_of_stack.port, "/mlflow", domain) == (308, f"https://{domain}/mlflow/")
    assert ask(mlflow_of_stack.port, "/mlflow/", domain) == (200, None)


SEARCH = "/mlflow/ajax-api/2.0/mlflow/experiments/search"


def test_pages_of_others_can_neither_rebind_a_name_nor_post(mlflow_of_stack: MlflowOfStack) -> None:
    domain, body = CERTIFICATE["monitoring_domain"], '{"max_results": 1}'
    assert ask(mlflow_of_stack.port, "/mlflow/", "evil.example")[0] == 403
    own = ask(mlflow_of_stack.port, SEARCH, domain, body, f"https://{domain}")
    assert own[0] == 200
    foreign = ask(mlflow_of_stack.port, SEARCH, domain, body, "https://evil.example")
    assert foreign[0] == 403


def test_mlflow_takes_no_more_connections_than_are_counted_for_it(
    mlflow_of_stack: MlflowOfStack, postgres_server: str
) -> None:
    assert OTHER_CONNECTIONS > 20
    domain = CERTIFICATE["monitoring_domain"]

    def look_up(what: str) -> int:
        path = f"/mlflow/ajax-api/2.0/mlflow/{what}/search?max_results=1"
        return ask(mlflow_of_stack.port, path, domain)[0]

    lookups = [what for what in ("experiments", "registered-models") for _ in range(25)]
    here = mlflow_of_stack.environment["PGDATABASE"]
    own = url_of_database(postgres_server, here)
    with ThreadPoolExecutor(len(lookups)) as people, psycopg.connect(own) as holder:
        # Whoever asks now keeps a connection, and waits: each pool is as large as it ever gets.
        holder.execute("LOCK TABLE experiments, registered_models")
        answered = [people.submit(look_up, what) for what in lookups]
        with psycopg.connect(postgres_server, autocommit=True) as watcher:
            waiting, connected = _steady_connections(watcher, here)
        holder.rollback()
        assert {each.result() for each in answered} == {200}
    assert waiting == 12
    assert connected <= 20


def _steady_connections(watcher: psycopg.Connection[Any], database: str) -> tuple[int, int]:
    """How many wait for a lock, and how many there are but for the test's own: when that no longer changes."""
    seen: list[tuple[int, int]] = []
    while len(seen) < 100 or len(set(seen[-100:])) > 1 or seen[-1][0] == 0:
        row = watcher.execute(
            "SELECT count(*) FILTER (WHERE wait_event_type = 'Lock'), count(*) - 1"
            " FROM pg_stat_activity, pg_sleep(0.02) WHERE datname = %s",
            (database,),
        ).fetchone()
        assert row is not None
        seen.append(row)
    return seen[-1]


def test_a_second_start_finds_its_tables_up_to_date(mlflow_of_stack: MlflowOfStack) -> None:
    subprocess.run(mlflow_of_stack.prepare, env=mlflow_of_stack.environment, capture_output=True, check=True)
