"""Settings that are each allowed and impossible beside each other."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from infra.config import Config

OTHER_CONNECTIONS: Final = 40
"""Connections to Postgres that are not the API's: MLflow 20, the retrain 10, housekeeping 1, the migration 1,
the three that Postgres keeps for superusers, and the rest for RDS itself and a person with psql."""


def impossible(config: "Config") -> Iterator[str]:
    """What is impossible about these settings: which, why, and what to do instead."""
    yield from _network(config)
    yield from _database(config)
    yield from _api(config)
    yield from _monitoring(config)
    yield from _orchestration(config)


def _network(config: "Config") -> Iterator[str]:
    if config.vpc_id is None:
        if config.nat_gateways == 0 and config.stage != "local":
            yield "nat_gateways=0 leaves no way out for images and retrains: expected 1 or 2, or vpc_id"
        for name in (
            "availability_zones",
            "private_subnet_ids",
            "public_subnet_ids",
            "private_route_table_ids",
        ):
            if getattr(config, name):
                yield f"{name} belongs to an existing VPC, and vpc_id is not set"
        return
    subnets, zones = len(config.private_subnet_ids), len(config.availability_zones)
    if subnets < 2 or subnets != zones:
        yield (
            "vpc_id needs two or more private_subnet_ids and as many availability_zones: given are"
            f" {subnets} and {zones}"
        )


def _database(config: "Config") -> Iterator[str]:
    most = config.max_connections
    left = most - OTHER_CONNECTIONS
    asked = (config.read_concurrency or 0) + (config.write_concurrency or 0)
    if left <= 0:
        yield (
            f"database_connections={most}: expected more than the {OTHER_CONNECTIONS} of MLflow, retrain and"
            " Postgres itself"
        )
    elif asked > left:
        yield (
            f"read_concurrency and write_concurrency take {asked} connections, the database has {left} left"
            f" ({most} less {OTHER_CONNECTIONS} of others): reserve less, or take a larger database_instance"
        )
    # https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIOPS.Autoscaling.html
    least = math.ceil(config.database_storage_gb * 11 / 10)
    if config.database_max_storage_gb < least:
        yield (
            f"database_max_storage_gb={config.database_max_storage_gb}: expected at least {least}, a tenth"
            f" more than the {config.database_storage_gb} of database_storage_gb, or RDS refuses it"
        )
    if config.database_secret is not None and config.stage != "local":
        yield "database_secret is for stage=local alone: elsewhere the database has a secret of its own"
    if config.database_secret is None and config.stage == "local":
        yield "stage=local needs database_secret: LocalStack runs no Postgres"


def _api(config: "Config") -> Iterator[str]:
    if config.authorization == "jwt":
        if config.jwt_issuer is None:
            yield "authorization=jwt needs jwt_issuer"
        if not (config.jwt_audience or config.jwt_client_ids):
            yield "authorization=jwt needs jwt_audience or jwt_client_ids: else tokens for others would do"
    elif config.jwt_issuer is not None:
        yield f"jwt_issuer needs authorization=jwt, which is {config.authorization}"
    if config.authorization == "api_key" and config.stage == "prod":
        yield "authorization=api_key is for trying things out, a key proves nothing: expected iam or jwt"
    if (config.domain_name is None) != (config.domain_certificate is None):
        yield "domain_name and domain_certificate need each other"
    if (config.hosted_zone_id is None) != (config.hosted_zone_name is None):
        yield "hosted_zone_id and hosted_zone_name need each other"
    if config.hosted_zone_id is not None and config.domain_name is None:
        yield "hosted_zone_id needs domain_name: without one there is no record to make"


def _monitoring(config: "Config") -> Iterator[str]:
    oidc = {name: value for name, value in config if name.startswith("oidc_")}
    missing = [name for name, value in oidc.items() if value is None]
    if 0 < len(missing) < len(oidc):
        yield f"the settings oidc_… need each other; not set: {', '.join(missing)}"
    certificate = config.monitoring_certificate is not None
    if config.oidc_issuer is not None and not certificate:
        yield "oidc_issuer needs monitoring_certificate: who somebody is can be asked over HTTPS alone"
    if config.monitoring_cidrs and not certificate:
        yield "monitoring_cidrs needs monitoring_certificate: without one the load balancer is closed"
    if certificate != (config.monitoring_domain is not None):
        yield "monitoring_certificate and monitoring_domain need each other"
    if certificate and config.vpc_id is not None and len(config.public_subnet_ids) < 2:
        yield "monitoring_certificate in an existing VPC needs two public_subnet_ids"
    for name in ("mlflow_url", "prometheus_url", "pushgateway_url"):
        if getattr(config, name) is not None and config.stage != "local":
            yield f"{name} is for stage=local alone: elsewhere the server runs on Fargate"
    if config.load_balancer and not config.monitoring:
        yield "monitoring=false leaves nothing to reach: expected load_balancer=false, too"


def _orchestration(config: "Config") -> Iterator[str]:
    if config.retrain_schedule is not None and not config.mwaa:
        yield "retrain_schedule needs mwaa=true: nobody else starts a retrain"
    if config.slack_webhook_secret is not None and not config.mwaa:
        yield "slack_webhook_secret needs mwaa=true: nobody else tells Slack"
    if config.mwaa and not config.monitoring:
        yield "mwaa=true needs monitoring=true: a retrain logs to MLflow"
    if config.stage == "prod" and not (config.mwaa and config.load_balancer):
        yield "prod always has Airflow and the load balancer: expected mwaa=true and load_balancer=true"
