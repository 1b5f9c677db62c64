"""A stage as an app: its stacks, in the order in which each knows only those before it.

Stacks are cut by life cycle: network, data, monitoring, training, api, orchestration, alarms.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from aws_cdk import App, Stack, Tags, Validations
from cdk_nag import AwsSolutionsChecks, ServerlessChecks
from constructs import IConstruct

from infra.advice import advise
from infra.alarms import AlarmsStack
from infra.api import ApiStack
from infra.archives import Archives, is_compiled, this_machine
from infra.config import Config
from infra.constructs.custom_resources import explain_singletons
from infra.data import DataStack
from infra.monitoring import MonitoringStack
from infra.network import NetworkStack
from infra.orchestration import OrchestrationStack
from infra.training import TrainingStack

PROJECT: Final = Path(__file__).parents[1]


def populate(app: App, config: Config, archives: Archives) -> None:
    """Put a stage's stacks into an app. Raises MissingToolError."""

    def named(noun: str) -> dict[str, Any]:
        return {"scope": app, "construct_id": f"{config.prefix}-{noun}", "config": config}

    if config.stage == "local":
        archives = archives.made_for(this_machine())
    network = NetworkStack(**named("network"))
    advise(network, config, compiled=is_compiled())
    data = DataStack(**named("data"), archives=archives, network=network)
    monitoring = (
        MonitoringStack(**named("monitoring"), network=network, data=data) if config.monitoring else None
    )
    api = ApiStack(**named("api"), archives=archives, network=network, data=data, monitoring=monitoring)
    orchestration = None
    if monitoring is not None:
        below: dict[str, Any] = {"network": network, "data": data, "monitoring": monitoring}
        training = TrainingStack(**named("training"), **below)
        if config.mwaa:
            orchestration = OrchestrationStack(**named("orchestration"), **below, training=training, api=api)
    AlarmsStack(**named("alarms"), data=data, api=api, orchestration=orchestration)
    for stack in app.node.children:
        if isinstance(stack, Stack):
            explain_singletons(stack)
    for name, value in {"application": config.name, "stage": config.stage, **config.tags}.items():
        Tags.of(app).add(name, value)
    enforce_rules(app)


def enforce_rules(app: IConstruct) -> None:
    """Have every synthesis fail that breaks a security rule and does not say why."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app))


def feature_flags() -> dict[str, Any]:
    """What `cdk.json` tells the CDK, for whoever synthesizes without its command line."""
    context: dict[str, Any] = json.loads((PROJECT / "cdk.json").read_text())["context"]
    return context


def synthesize(settings: Mapping[str, Any], output: Path, archives: Archives) -> None:
    """Write the templates of a stage into a folder. Raises DeployError."""
    app = App(outdir=str(output), context={**feature_flags(), **settings})
    populate(app, Config.of(settings), archives)
    app.synth()


def synthesize_for_the_command_line(archives: Archives) -> None:
    """Write the templates where the CDK's command line wants them, of the stage in its context.

    Raises DeployError.
    """
    app = App()
    populate(app, Config.of(app.node.get_all_context()), archives)
    app.synth()
