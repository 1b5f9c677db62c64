"""The app: `cdk deploy --all -c stage=dev`. Called by itself it synthesizes every stage.

Stacks are cut by life cycle, and each knows only those before it: network, data, monitoring, training, api,
orchestration, alarms.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aws_cdk import App, Stack, Tags, Validations
from cdk_nag import AwsSolutionsChecks, ServerlessChecks

from infra.advice import advise
from infra.alarms import AlarmsStack
from infra.api import ApiStack
from infra.archives import Archives, is_compiled
from infra.config import STAGES, Config
from infra.constructs.custom_resources import explain_singletons
from infra.data import DataStack
from infra.errors import ConfigError, DeployError, MissingToolError
from infra.monitoring import MonitoringStack
from infra.network import NetworkStack
from infra.orchestration import OrchestrationStack
from infra.training import TrainingStack

PROJECT: Final = Path(__file__).parents[1]
BUILD: Final = PROJECT / "build"


def populate(app: App, config: Config, archives: Archives) -> None:
    """Put a stage's stacks into an app. Raises MissingToolError."""

    def named(noun: str) -> dict[str, Any]:
        return {"scope": app, "construct_id": f"{config.prefix}-{noun}", "config": config}

    network = NetworkStack(**named("network"))
    advise(network, config, compiled=is_compiled())
    data = DataStack(**named("data"), archives=archives, network=network)
    monitoring = (
        MonitoringStack(**named("monitoring"), network=network, data=data) if config.monitoring else None
    )
    api = ApiStack(**named("api"), archives=archives, network=network, data=data, monitoring=monitoring)
    orchestration = None
    if monitoring is not None:
        common = {"network": network, "data": data, "monitoring": monitoring}
        training = TrainingStack(**named("training"), **common)
        if config.mwaa:
            orchestration = OrchestrationStack(**named("orchestration"), **common, training=training, api=api)
    AlarmsStack(**named("alarms"), data=data, api=api, orchestration=orchestration)
    for stack in app.node.children:
        if isinstance(stack, Stack):
            explain_singletons(stack)
    for name, value in {"application": config.name, "stage": config.stage, **config.tags}.items():
        Tags.of(app).add(name, value)
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


def _synthesize_for_the_command_line() -> None:
    app = App()
    populate(app, Config.of(app.node.get_all_context()), Archives(BUILD / "archives"))
    app.synth()


def _require_node() -> None:
    if not shutil.which(os.environ.get("JSII_NODE", "node")):
        raise MissingToolError(
            "there is no Node, which the CDK runs on: `make setup` installs one; or put node on PATH"
        )


def _given(pairs: Sequence[str]) -> dict[str, str]:
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"-c {pair}: expected NAME=VALUE")
        settings[name] = value
    return settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Synthesize what the CDK's command line asks for, or else every stage; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.app", description=__doc__)
    parser.add_argument("-c", "--context", metavar="NAME=VALUE", action="append", default=[])
    parser.add_argument("--output", type=Path, default=BUILD / "stages", help="default: build/stages")
    given = parser.parse_args(arguments)
    try:
        _require_node()
        if "CDK_OUTDIR" in os.environ:
            _synthesize_for_the_command_line()
            return 0
        settings = _given(given.context)
        for stage in [settings["stage"]] if "stage" in settings else STAGES:
            synthesize({**settings, "stage": stage}, given.output / stage, Archives(BUILD / "archives"))
            sys.stdout.write(f"{stage}: {given.output / stage}\n")
    except DeployError as error:
        sys.stderr.write(f"nothing was synthesized: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
