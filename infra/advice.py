"""What a deployment should set, told as warnings: nothing of it is impossible, none of it should surprise."""

from collections.abc import Iterator

from aws_cdk import Annotations, Stack

from infra.config import Config

Advice = tuple[str, str]
"""An id to acknowledge it by, and what to do."""


def advise(stack: Stack, config: Config, *, compiled: bool) -> None:
    """Warn at a stack; `compiled` tells whether the functions' archives hold bytecode."""
    for name, told in advice(config, compiled=compiled):
        Annotations.of(stack).add_warning_v2(f"shop:{name}", told)


def advice(config: Config, *, compiled: bool) -> Iterator[Advice]:
    """What is worth a second look."""
    if config.stage == "local":
        return
    yield from _of_any_stage(config, compiled=compiled)
    if config.stage == "prod":
        yield from _of_prod(config)


def _of_any_stage(config: Config, *, compiled: bool) -> Iterator[Advice]:
    if not compiled:
        told = "Without a Python 3.12 functions are not compiled, and cold starts take nearly twice as long:"
        yield "bytecode", f"{told} `uv python install 3.12`."
    if config.read_concurrency is None or config.write_concurrency is None:
        told = (
            "read_concurrency and write_concurrency are not both set: a burst may take more connections than"
        )
        yield (
            "concurrency",
            f"{told} the database has ({config.max_connections}), and starve the other function.",
        )
    if config.authorization == "api_key":
        yield (
            "api-key",
            "authorization=api_key lets in whoever has seen the key, and is for trying things out.",
        )
    if config.training_image and "@sha256:" not in config.training_image:
        yield (
            "training-image",
            "training_image bears no digest: whoever may push its tag decides what trains.",
        )


def _of_prod(config: Config) -> Iterator[Advice]:
    if config.alarm_email is None:
        yield "alarm-email", "alarm_email is not set: alarms go to a topic that nobody listens to."
    if config.budget_usd is None:
        yield "budget", "budget_usd is not set: nobody is told when a month costs more than expected."
    if config.monitoring_certificate is None:
        told = "monitoring_certificate is not set: the load balancer is internal and closed, so that nobody"
        yield "monitoring-certificate", f"{told} reaches Grafana and MLflow."
    if not config.waf:
        yield "waf", "waf is off: nothing limits what a single address may send."
    if config.nat_gateways == 1 and config.vpc_id is None:
        yield (
            "nat",
            "nat_gateways=1: while its zone is down no retrain runs and no image is pulled; answers go on.",
        )
    if not config.database_multi_az:
        yield "multi-az", "database_multi_az is off: while its zone is down there are no personal answers."
