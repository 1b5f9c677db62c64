"""What a month costs: small deployments whose bill is worked out by hand, and the real stages."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.config import DATABASE_INSTANCES, STAGES, Config
from infra.cost import __main__ as command
from infra.cost.assumptions import Assumptions, Origin
from infra.cost.deployment import Deployment
from infra.cost.errors import AssumptionError, PriceListError
from infra.cost.estimate import Estimate, estimate
from infra.cost.prices import BUILT_IN, PriceList
from infra.cost.report import Report, as_text
from infra.cost.rules import FREE, RULES
from infra.cost.savings import Saving, Variant, savings, variants
from infra.cost.usage import MB_OF_A_CORE
from lambdas.recommendations_api.logs import FIELDS, JsonFormatter

Templates = Mapping[str, Mapping[str, Any]]

DOCUMENT = Path(__file__).parents[2] / "docs/cost.md"
DOCUMENTED = {"dev": ("1e5", "1e4"), "prod": ("10e6", "1e6")}
"""What docs/cost.md prints: by stage, requests and users."""


@pytest.fixture(scope="module")
def built_in() -> PriceList:
    return PriceList.read(BUILT_IN)


def prices(**by_service: dict[str, float]) -> PriceList:
    """A list of prices, in units of one."""
    services = {
        service: {
            "source": "https://prices.example/",
            "verified": True,
            "prices": {name: {"amount": amount, "unit": "units"} for name, amount in amounts.items()},
        }
        for service, amounts in by_service.items()
    }
    return PriceList.model_validate(
        {"region": "us-east-1", "as_of": "2026-01-01", "currency": "USD", "services": services}
    )


def resource(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": kind, "Properties": properties}


def one_stack(**resources: dict[str, Any]) -> Templates:
    return {"stack": {"Resources": resources}}


def assume(requests: float = 0, users: float = 0, **others: float) -> Assumptions:
    return Assumptions.of({"requests_per_month": requests, "users": users, **others})


QUIET = Config.of({"stage": "dev", "monitoring": "false", "load_balancer": "false"})
"""Without trainings, so that the template alone is priced."""


def bill(found: Estimate) -> dict[str, float]:
    return {line.what: round(line.per_month, 6) for line in found.lines}


def test_what_is_always_there_is_priced_by_the_hour_and_the_piece() -> None:
    templates = one_stack(
        Nat1=resource("AWS::EC2::NatGateway"),
        Nat2=resource("AWS::EC2::NatGateway"),
        Address=resource("AWS::EC2::EIP"),
        Key=resource("AWS::KMS::Key", EnableKeyRotation=True),
        Secret=resource("AWS::SecretsManager::Secret"),
        Alarm=resource("AWS::CloudWatch::Alarm", MetricName="Errors"),
        Share=resource(
            "AWS::CloudWatch::Alarm", Metrics=[{"Expression": "a/b"}, {"MetricStat": {}}, {"MetricStat": {}}]
        ),
    )
    listed = prices(
        vpc={"nat_hour": 0.04, "nat_gb": 0.05, "public_ipv4_hour": 0.01},
        kms={"key": 1},
        secretsmanager={"secret": 0.4},
        cloudwatch={"alarm_metric": 0.1},
    )
    assert bill(estimate(templates, QUIET, listed, assume(nat_gb=10))) == {
        "NAT gateway": 58.4,  # 2 × 730 × 0.04
        "NAT gateway, data": 0.5,  # 10 × 0.05, whatever their number
        "public IPv4 address": 7.3,
        "KMS key": 1,
        "KMS key, rotated once": 1,
        "secret": 0.4,
        "alarm, by metric": pytest.approx(0.3),  # 1 + 2 metrics
    }


def test_a_standby_doubles_instance_and_storage() -> None:
    properties: dict[str, Any] = {
        "DBInstanceClass": "db.t4g.micro",
        "AllocatedStorage": "20",
        "StorageType": "gp3",
        "BackupRetentionPeriod": 7,
    }
    listed = prices(rds={"db.t4g.micro_hour": 0.02, "gp3_gb": 0.1, "backup_gb": 0.1})

    def priced(*, standby: bool) -> dict[str, float]:
        instance = resource("AWS::RDS::DBInstance", **properties, MultiAZ=standby)
        return bill(estimate(one_stack(Database=instance), QUIET, listed, assume()))

    assert priced(standby=False) == {"db.t4g.micro": 14.6, "storage, gp3": 2}
    assert priced(standby=True) == {
        "db.t4g.micro, with its standby": 29.2,
        "storage, gp3, with its standby": 4,
    }


def test_storage_grows_where_users_and_events_need_more_than_is_allocated() -> None:
    database = resource(
        "AWS::RDS::DBInstance",
        DBInstanceClass="small",
        AllocatedStorage="20",
        StorageType="gp3",
        BackupRetentionPeriod=0,
    )
    listed = prices(rds={"small_hour": 0, "gp3_gb": 1, "backup_gb": 1})
    many = assume(users=10e6, list_bytes_in_postgres=2000, versions_in_postgres=3)
    # 10 million × 2,000 bytes × 3 versions
    assert bill(estimate(one_stack(Database=database), QUIET, listed, many))["storage, gp3"] == 60


def api_of_two_functions() -> Templates:
    def function(serves: str) -> dict[str, Any]:
        return resource(
            "AWS::Lambda::Function",
            Architectures=["arm64"],
            MemorySize=1024,
            Environment={"Variables": {"SERVES": serves}},
            LoggingConfig={"LogGroup": {"Ref": f"{serves}Logs"}},
        )

    return one_stack(
        Stage=resource(
            "AWS::ApiGateway::Stage",
            MethodSettings=[{"MetricsEnabled": True}],
            AccessLogSetting={"DestinationArn": {"Fn::GetAtt": ["AccessLogs", "Arn"]}},
        ),
        Get=resource("AWS::ApiGateway::Method", HttpMethod="GET"),
        Preflight=resource("AWS::ApiGateway::Method", HttpMethod="OPTIONS"),
        Read=function("read"),
        Write=function("write"),
        Sweep=resource("AWS::Lambda::Function", Architectures=["arm64"], MemorySize=512),
        SweepNow=resource("AWS::Lambda::Alias", FunctionName={"Ref": "Sweep"}),
        Hourly=resource(
            "AWS::Events::Rule", ScheduleExpression="rate(1 hour)", Targets=[{"Arn": {"Ref": "SweepNow"}}]
        ),
        Setup=resource("AWS::Lambda::Function", MemorySize=128),
        AccessLogs=resource("AWS::Logs::LogGroup", RetentionInDays=30),
        readLogs=resource("AWS::Logs::LogGroup", RetentionInDays=30),
        writeLogs=resource("AWS::Logs::LogGroup", RetentionInDays=30),
        SetupLogs=resource("AWS::Logs::LogGroup", RetentionInDays=30),
        Firewall=resource("AWS::WAFv2::WebACL", Rules=[{}, {}, {}]),
    )


API_PRICES: dict[str, dict[str, float]] = {
    "apigateway": {"rest_request": 3e-6},
    "ec2": {"data_out_gb": 0.1},
    "lambda": {"request": 1e-6, "arm64_gb_second": 1e-5, "x86_64_gb_second": 1},
    "cloudwatch": {"metric": 0.3, "log_gb": 0.5, "log_kept_gb": 0.02},
    "waf": {"acl": 5, "rule": 1, "request": 6e-7},
}


def test_requests_are_priced_at_each_part_that_they_pass() -> None:
    assumed = assume(
        requests=1e6,
        write_share=0.25,
        answer_bytes=2000,
        function_cpu_ms=2,
        function_wait_ms=3,
        cold_start_share=0,
        scheduled_ms=1000,
        access_log_bytes=400,
        function_log_bytes=600,
        quiet_log_gb=0,
    )
    found = bill(estimate(api_of_two_functions(), QUIET, prices(**API_PRICES), assumed))
    seconds = 1e6 * (2 / (1024 / MB_OF_A_CORE) + 3) / 1000 + 730 * 0.5
    written = 1e6 * 1000 / 1e9
    assert found == {
        "API Gateway, REST": 3,
        "data out": 0.2,  # 2 GB
        "metrics of each method": 1.5,  # one method, five metrics
        "Lambda, requests": 1.00073,  # a million, and one an hour
        "Lambda, duration": round(seconds * 1e-5, 6),
        "logs, written": 0.5 * written,
        "logs, kept": round(written * 30 / (730 / 24) * 0.15 * 0.02, 6),
        "WAF, web ACL": 5,
        "WAF, rules": 3,
        "WAF, requests": 0.6,
    }


def test_twice_the_requests_double_what_requests_cost_and_nothing_else() -> None:
    def priced(requests: float) -> dict[str, float]:
        assumed = assume(requests, scheduled_ms=0, quiet_log_gb=0)
        templates = {
            "stack": {
                "Resources": {
                    name: each
                    for name, each in api_of_two_functions()["stack"]["Resources"].items()
                    if name != "Hourly"
                }
            }
        }
        return bill(estimate(templates, QUIET, prices(**API_PRICES), assumed))

    once, twice = priced(1e6), priced(2e6)
    same = {"metrics of each method", "WAF, web ACL", "WAF, rules"}
    assert {name for name in once if once[name] == twice[name]} == same
    for name in set(once) - same:
        assert twice[name] == pytest.approx(2 * once[name], abs=2e-6)


def test_snap_start_is_priced_by_kept_versions_and_restored_environments() -> None:
    templates = one_stack(
        Read=resource(
            "AWS::Lambda::Function",
            Architectures=["arm64"],
            MemorySize=2048,
            Environment={"Variables": {"SERVES": "read"}},
            SnapStart={"ApplyOn": "PublishedVersions"},
        ),
        ReadVersion=resource("AWS::Lambda::Version", FunctionName={"Ref": "Read"}),
    )
    listed = prices(
        **{
            "lambda": {
                "request": 0,
                "arm64_gb_second": 0,
                "snap_start_gb_second": 1e-6,
                "snap_start_restored_gb": 1e-3,
            }
        }
    )
    found = bill(estimate(templates, QUIET, listed, assume(1e6, write_share=0, cold_start_share=0.01)))
    assert found["SnapStart, kept snapshots"] == 5.256  # 2 GB × 2,628,000 s
    assert found["SnapStart, restored"] == 20  # 10,000 × 2 GB


def test_tasks_are_priced_by_what_their_definition_asks_for() -> None:
    templates = one_stack(
        Cluster=resource(
            "AWS::ECS::Cluster", ClusterSettings=[{"Name": "containerInsights", "Value": "enabled"}]
        ),
        Service=resource(
            "AWS::ECS::Service",
            Cluster={"Ref": "Cluster"},
            TaskDefinition={"Ref": "Task"},
            DesiredCount=2,
        ),
        Task=resource(
            "AWS::ECS::TaskDefinition",
            Cpu="512",
            Memory="1024",
            RuntimePlatform={"CpuArchitecture": "ARM64"},
            EphemeralStorage={"SizeInGiB": 30},
        ),
        People=resource(
            "AWS::ElasticLoadBalancingV2::LoadBalancer", Scheme="internet-facing", Subnets=["a", "b"]
        ),
        Files=resource("AWS::EFS::FileSystem", ThroughputMode="bursting"),
    )
    listed = prices(
        fargate={"arm64_core_hour": 0.03, "arm64_gb_hour": 0.004, "disk_gb_hour": 0.0001},
        cloudwatch={"metric": 0.3},
        elb={"application_hour": 0.02, "application_unit_hour": 0.01},
        vpc={"public_ipv4_hour": 0.005},
        efs={"gb": 0.3},
    )
    assumed = assume(load_balancer_units=0.5, insights_metrics=10, disk_gb=4)
    assert bill(estimate(templates, QUIET, listed, assumed)) == {
        "Fargate, arm64 cores": 21.9,  # 2 × 0.5 × 730 × 0.03
        "Fargate, arm64 memory": 5.84,
        "Fargate, disk": 1.46,  # 2 × 10 GB beyond the free 20
        "Container Insights, metrics": 3.9,  # 3 of the cluster, 10 of the service
        "load balancer": 14.6,
        "load balancer, capacity": 3.65,
        "load balancer, public IPv4": 7.3,
        "EFS, storage": 1.2,
    }


def test_airflow_is_priced_by_its_class_its_endpoints_and_workers_that_are_always_there() -> None:
    environment = resource(
        "AWS::MWAA::Environment",
        EnvironmentClass="mw1.small",
        MinWorkers=3,
        WebserverAccessMode="PRIVATE_ONLY",
        NetworkConfiguration={"SubnetIds": ["a", "b"]},
    )
    listed = prices(
        mwaa={"mw1.small_hour": 0.5, "mw1.small_worker_hour": 0.05, "database_gb": 0.1},
        vpc={"endpoint_hour": 0.01},
    )
    assert bill(estimate(one_stack(Airflow=environment), QUIET, listed, assume(airflow_database_gb=10))) == {
        "MWAA, mw1.small": 365,
        "MWAA, more workers": 73,
        "MWAA, its database": 1,
        "MWAA, its endpoints in the VPC": 29.2,
    }


def test_trainings_are_priced_by_the_settings_and_only_where_something_trains() -> None:
    listed = prices(sagemaker={"ml.m7i.xlarge_hour": 0.2, "training_gb": 0.1})
    assumed = assume(retrains_per_month=10, training_hours=2, spot_share=0.5)
    spot = estimate({}, Config.of({"stage": "dev"}), listed, assumed)
    assert bill(spot)["20 h of ml.m7i.xlarge, spot at 50%"] == 2
    own = estimate({}, Config.of({"stage": "dev", "training_spot": "false"}), listed, assumed)
    assert bill(own)["20 h of ml.m7i.xlarge"] == 4
    assert estimate({}, QUIET, listed, assumed).lines == ()


def test_images_are_priced_by_the_builds_and_by_how_many_are_kept() -> None:
    rules = {"rules": [{"selection": {"countType": "imageCountMoreThan", "countNumber": 10}}]}
    templates = one_stack(
        Repository=resource(
            "AWS::ECR::Repository", LifecyclePolicy={"LifecyclePolicyText": json.dumps(rules)}
        ),
        Builder=resource(
            "AWS::CodeBuild::Project",
            Environment={"Type": "ARM_CONTAINER", "ComputeType": "BUILD_GENERAL1_SMALL"},
        ),
        Image1=resource("Custom::CDKContainerImageBuild", codeBuildProjectName={"Ref": "Builder"}),
        Image2=resource("Custom::CDKContainerImageBuild", codeBuildProjectName={"Ref": "Builder"}),
    )
    listed = prices(ecr={"gb": 0.1}, codebuild={"arm_container.build_general1_small_minute": 0.01})
    found = bill(estimate(templates, QUIET, listed, assume(image_gb=2, builds_per_month=3, build_minutes=5)))
    assert found == {"ECR": 2, "CodeBuild, arm_container": pytest.approx(0.3)}


def test_a_kind_of_resource_that_nothing_is_known_about_is_named() -> None:
    templates = one_stack(Robot=resource("AWS::RoboMaker::Fleet"), Key=resource("AWS::KMS::Key"))
    found = estimate(templates, QUIET, prices(kms={"key": 1}), assume())
    assert [(each.name, each.kind) for each in found.unpriced] == [("Robot", "AWS::RoboMaker::Fleet")]
    assert found.total == 1
    text = as_text(report(found), color=False)
    assert "WITHOUT A PRICE" in text
    assert "AWS::RoboMaker::Fleet: Robot in stack" in text


def test_the_status_tells_that_something_has_no_price(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--stage", "dev", "--requests-per-month", "0", "--users", "0", "--no-savings"]
    for kind, status in {"AWS::RoboMaker::Fleet": 3, "AWS::KMS::Key": 0}.items():
        monkeypatch.setattr(command, "synthesize_each", lambda _, kind=kind: [one_stack(It=resource(kind))])
        assert command.main(arguments) == status
    capsys.readouterr()


def test_all_prices_that_are_missing_are_named_at_once() -> None:
    templates = one_stack(Key=resource("AWS::KMS::Key"), Address=resource("AWS::EC2::EIP"))
    with pytest.raises(PriceListError, match=r"lacks kms\.key, vpc\.public_ipv4_hour"):
        estimate(templates, QUIET, prices(kms={"another": 1}), assume())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("region = ", "is not TOML"),
        ('region = "Virginia"', "region: String should match"),
        ("as_of = 2026-01-01", "region: Field required"),
        (
            '[services.kms]\nsource = "https://a.example"\nverified = false\n[services.kms.prices]\nkey = { amount = -1, unit = "keys" }',
            "services.kms.prices.key.amount: expected greater than or equal to 0",
        ),
        (
            '[services.kms]\nsource = "https://a.example"\nverified = false\n[services.kms.prices]\nkey = { usd = 1, unit = "keys" }',
            "services.kms.prices.key.usd: Extra inputs are not permitted",
        ),
    ],
)
def test_a_bad_list_of_prices_is_refused_by_file_and_field(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(PriceListError) as refused:
        PriceList.read(path)
    assert str(path) in str(refused.value)
    assert told in str(refused.value)


def test_a_list_of_prices_that_is_not_there_is_told() -> None:
    with pytest.raises(PriceListError, match=r"missing\.toml cannot be read"):
        PriceList.read(Path("missing.toml"))


def test_bad_assumptions_are_refused_by_option_all_at_once() -> None:
    with pytest.raises(AssumptionError) as refused:
        Assumptions.of({"requests_per_month": "many", "users": "-1", "write_share": "1.5"})
    told = str(refused.value)
    assert "--requests-per-month=many: expected a valid number" in told
    assert "--users=-1: expected greater than or equal to 0" in told
    assert "--write-share=1.5: expected less than or equal to 1" in told


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["-c", "waf"], "-c waf: expected NAME=VALUE"),
        (["-c", "stage=prod"], "expected --stage instead"),
        (["-c", "wav=true"], "wav is not a setting; the nearest is waf"),
        (["--write-share", "2"], "--write-share=2: expected less than or equal to 1"),
        (["--prices", "missing.toml"], "missing.toml cannot be read"),
    ],
)
def test_bad_options_end_with_a_message_before_anything_is_synthesized(
    more: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "synthesize_each", lambda _: pytest.fail("synthesized"))
    assert command.main(["--stage", "dev", "--requests-per-month", "1", "--users", "1", *more]) == 1
    assert told in capsys.readouterr().err


def test_a_stage_that_nobody_pays_for_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--stage", "local", "--requests-per-month", "1", "--users", "1"])
    assert ended.value.code == 2
    assert "dev" in capsys.readouterr().err


def test_without_node_the_way_on_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JSII_NODE", "no-such-node")
    assert command.main(["--stage", "dev", "--requests-per-month", "1", "--users", "1"]) == 1
    assert "make setup" in capsys.readouterr().err


def test_no_kind_is_both_priced_and_free() -> None:
    assert not RULES.keys() & FREE.keys()


@pytest.mark.parametrize("stage", STAGES)
def test_each_resource_of_a_stage_has_a_price_or_a_reason(
    stage: str, templates: Mapping[str, Templates], built_in: PriceList
) -> None:
    found = estimate(templates[stage], Config.of({"stage": stage}), built_in, assume(1e6, 1e5))
    assert [each.kind for each in found.unpriced] == []


def test_what_a_stage_costs_idle_does_not_depend_on_traffic(
    templates: Mapping[str, Templates], built_in: PriceList
) -> None:
    config = Config.of({"stage": "prod"})
    floors = {
        estimate(templates["prod"], config, built_in, assume(requests, users).idle).total
        for requests, users in ((0, 0), (1e6, 1e5), (1e9, 1e8))
    }
    assert len(floors) == 1
    assert floors.pop() > 0


def test_only_lines_of_traffic_grow_with_requests_in_prod(
    templates: Mapping[str, Templates], built_in: PriceList
) -> None:
    def priced(requests: float) -> dict[str, float]:
        assumed = assume(requests, 1e6)
        return bill(estimate(templates["prod"], Config.of({"stage": "prod"}), built_in, assumed))

    once, twice = priced(10e6), priced(20e6)
    assert once.keys() == twice.keys()
    assert {name for name in once if once[name] != twice[name]} == {
        "API Gateway, REST",
        "Lambda, duration",
        "Lambda, requests",
        "S3, events and versions",
        "SnapStart, restored",
        "WAF, requests",
        "backups beyond the storage's size",
        "data out",
        "logs, kept",
        "logs, written",
    }
    for name in ("API Gateway, REST", "WAF, requests", "data out", "SnapStart, restored"):
        assert twice[name] == pytest.approx(2 * once[name])


def test_every_instance_and_class_that_can_be_set_has_a_price(built_in: PriceList) -> None:
    built_in.require(f"rds.db.{instance}_hour" for instance in DATABASE_INSTANCES)
    built_in.require(f"mwaa.mw1.{size}_hour" for size in ("micro", "small", "medium", "large", "xlarge"))


def test_prices_are_called_unverified_until_somebody_has_verified_them(built_in: PriceList) -> None:
    listed = prices(kms={"key": 1})
    assert listed.unverified == ()
    assert "unverified" not in as_text(report(estimate({}, QUIET, listed, assume()), listed), color=False)
    told = as_text(report(estimate({}, QUIET, built_in, assume()), built_in), color=False)
    assert ("unverified" in told) == bool(built_in.unverified)


def test_what_prod_could_save_is_told_apart_from_what_it_cannot() -> None:
    settings = {"stage": "prod"}
    possible, impossible = variants(settings, Config.of(settings))
    assert {each.name for each in possible} == {
        "mwaa_class=mw1.micro",
        "database_multi_az=false",
        "waf=false",
        "snap_start=false",
        "log_retention_days=14",
    }
    assert {each.name for each in impossible} == {
        "mwaa=false",
        "monitoring=false",
        "load_balancer=false",
        "database_instance=t4g.small",
    }


def test_a_variant_names_only_settings_that_change() -> None:
    settings = {"stage": "dev", "nat_gateways": "2"}
    possible, _ = variants(settings, Config.of(settings))
    assert {each.options for each in possible} == {
        "-c monitoring=false -c load_balancer=false",
        "-c load_balancer=false",
        "-c nat_gateways=1",
    }


def test_savings_come_by_size_and_without_trifles() -> None:
    names = ("waf", "snap_start", "tracing")
    waf, snap_start, tracing = (Variant({name: "false"}, "something") for name in names)
    totals = {waf.name: 90.0, snap_start.name: 70.0, tracing.name: 99.9}
    assert savings(100, totals, [waf, snap_start, tracing]) == [Saving(snap_start, 30), Saving(waf, 10)]


def test_what_is_measured_of_the_api_is_what_the_benchmarks_say() -> None:
    """Within a half: figures of a shared machine differ from run to run, and cost nearly nothing."""
    documented = (DOCUMENT.parent / "benchmarks.md").read_text().split("\n## api\n")[1]
    for name, bar in {"function_cpu_ms": "warm_p50_ms", "cold_start_cpu_ms": "cold_cpu_ms"}.items():
        (printed,) = [line.split()[1] for line in documented.splitlines() if line.startswith(f"{bar} ")]
        assert Assumptions.model_fields[name].default == pytest.approx(float(printed), rel=0.5)


def test_what_is_measured_of_logs_is_what_is_logged(templates: Mapping[str, Templates]) -> None:
    overhead = 26
    record = logging.LogRecord("api", logging.INFO, "", 0, "request", (), None)
    fields = {
        "trace_id": "1-67891233-abcdef012345678912345678",
        "method": "GET",
        "route": "/v1/users/{user_id}/recommendations",
        "status": 200,
        "duration_ms": 1.693,
        "source": "personalized",
        "version": "20260131T020000Z-3f2a91c0",
        "variant": "default",
        "degraded": False,
    }
    setattr(record, FIELDS, fields)
    request_id = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    measured = "Duration: 3.69 ms\tBilled Duration: 4 ms\tMemory Size: 1024 MB\tMax Memory Used: 140 MB\t"
    lines = [
        JsonFormatter().format(record),
        f"START RequestId: {request_id} Version: 12",
        f"END RequestId: {request_id}",
        f"REPORT RequestId: {request_id}\t{measured}",
    ]
    logged = sum(len(line) + overhead for line in lines)
    assert Assumptions.model_fields["function_log_bytes"].default == pytest.approx(logged, rel=0.1)

    (stage,) = Deployment(templates["prod"]).of_kind("AWS::ApiGateway::Stage")
    values = {
        "resourcePath": fields["route"],
        "requestId": request_id,
        "identity.userArn": "arn:aws:sts::123456789012:assumed-role/shop-web/i-0123456789abcdef0",
        "requestTimeEpoch": "1764519897000",
    }
    accessed = json.loads(stage.properties["AccessLogSetting"]["Format"])
    filled = {name: values.get(path.removeprefix("$context."), "200") for name, path in accessed.items()}
    assert Assumptions.model_fields["access_log_bytes"].default == pytest.approx(
        len(json.dumps(filled)) + overhead, rel=0.1
    )


def test_each_assumption_says_what_it_is_and_is_documented() -> None:
    text = DOCUMENT.read_text()
    for name, field in Assumptions.model_fields.items():
        assert field.description
        assert name in text, f"{name} is missing in docs/cost.md"
    assert set(assume().by_origin()[Origin.GIVEN]) == {"requests_per_month", "users"}
    assert "users" in assume(nat_gb=1).by_origin()[Origin.GIVEN]
    assert "nat_gb" in assume(nat_gb=1).by_origin()[Origin.GIVEN]


@pytest.mark.parametrize("stage", DOCUMENTED)
def test_the_documented_tables_are_what_is_printed(
    stage: str, templates: Mapping[str, Templates], built_in: PriceList
) -> None:
    requests, users = DOCUMENTED[stage]
    assumed = Assumptions.of({"requests_per_month": requests, "users": users})
    config = Config.of({"stage": stage})

    def priced(assumed: Assumptions) -> Estimate:
        return estimate(templates[stage], config, built_in, assumed)

    told = Report(
        stage=stage,
        prices=built_in,
        assumptions=assumed,
        estimate=priced(assumed),
        idle=priced(assumed.idle),
        with_thousand_more=priced(assumed.with_more_requests(1000)),
        savings=[],
        impossible=[],
    )
    asked = f"python -m infra.cost --stage {stage} --requests-per-month {requests} --users {users}"
    document = DOCUMENT.read_text()
    assert asked in document
    table = as_text(told, color=False).split("\nAssumptions")[0].rstrip()
    assert table in document, f"print docs/cost.md anew: .venv/bin/{asked}"


def test_the_command_prints_json_of_a_stage_that_it_synthesizes(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--json", "--no-savings", "-c", "database_instance=t4g.small"]
    status = command.main(
        [
            "--stage",
            "dev",
            "--requests-per-month",
            "10e6",
            "--users",
            "1e6",
            "--retrains-per-month",
            "4",
            *options,
        ]
    )
    document = json.loads(capsys.readouterr().out)
    assert status == 0
    assert document["without_price"] == []
    assert "db.t4g.small" in [line["what"] for line in document["lines"]]
    assert document["total"] == pytest.approx(sum(line["per_month"] for line in document["lines"]))
    assert 0 < document["floor"] < document["total"]
    assert document["per_1000_requests"] == pytest.approx(document["total"] / 10_000)
    assert document["assumptions"]["retrains_per_month"] == 4


def report(found: Estimate, listed: PriceList | None = None) -> Report:
    return Report(
        stage="dev",
        prices=listed or prices(kms={"key": 1}),
        assumptions=assume(),
        estimate=found,
        idle=found,
        with_thousand_more=found,
        savings=[],
        impossible=[],
    )
