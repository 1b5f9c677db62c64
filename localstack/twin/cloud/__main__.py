"""The whole cloud on one machine, without an account: `make local`.

LocalStack takes `cdk deploy` as AWS would; Postgres, MLflow, pushgateway and Prometheus are real; a small
shop is brought in and trained on; every route is called over HTTP, then a thousand requests are sent at it by
eight threads. What came out is in `summary.json`.
"""

import argparse
import contextlib
import json
import logging
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from twin.cloud.calls import CallError, call_every_route
from twin.cloud.deployment import Deployment, DeploymentError, NotDeployedError, bootstrap, deploy
from twin.cloud.known import known
from twin.cloud.parts import FOLDER, NotUpError, Parts, running_parts
from twin.cloud.resources import counted
from twin.cloud.seed import SeedError, seed
from twin.cloud.traffic import REQUESTS, THREADS, send_many
from twin.errors import MissingProgramError, ServerError
from twin.keeper import (
    STOP_TIMEOUT_SECONDS,
    AlreadyRunningError,
    Interrupted,
    handle_signals,
    is_held,
    keep_until_stopped,
    only_one,
    start_kept,
    stop,
)
from twin.processes import Server, require_free
from twin.story import Story

PORT = 4566
_NOT_BEGUN = (AlreadyRunningError, NotDeployedError, NotUpError)
_FAILED = (CallError, DeploymentError, MissingProgramError, SeedError, ServerError)


def main(arguments: list[str] | None = None) -> int:
    """Do what was asked; the exit status."""
    given = _parser().parse_args(arguments)
    folder: Path = given.folder.absolute()
    console = Console(soft_wrap=True)
    story = Story(console)
    handle_signals()
    if given.command == "up" and not given.kept:
        return start_kept([sys.executable, "-m", "twin.cloud", *(arguments or sys.argv[1:]), "--kept"])
    try:
        _COMMANDS[given.command](folder, given.port, story)
    except _NOT_BEGUN as error:
        console.print(f"local: {error}", highlight=False, markup=False)
        return 1
    except _FAILED as error:
        console.print(f"local: failed at the step '{story.current}': {error}", highlight=False, markup=False)
        console.print(f"local: logs are in {folder / 'logs'}", highlight=False, markup=False)
        return 1
    except Interrupted:
        console.print(f"local: interrupted at the step '{story.current}'", highlight=False)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m twin.cloud", description=__doc__)
    parser.add_argument("command", choices=_COMMANDS)
    parser.add_argument(
        "--port", type=int, default=PORT, help=f"LocalStack's; 0: a free one; default: {PORT}"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where logs and summary go")
    parser.add_argument("--kept", action="store_true", help=argparse.SUPPRESS)
    return parser


def up(folder: Path, port: int, story: Story) -> None:
    """Start everything and keep it until `down`, or until LocalStack ends."""
    # One that has lost its LocalStack takes a moment to end; one that starts is as good as ours.
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    while is_held(folder) and time.monotonic() < deadline:
        with contextlib.suppress(NotUpError):
            story.say(f"the local cloud is up already: {Parts.read(folder).endpoint}")
            return
        time.sleep(0.2)
    with _started(folder, port, story) as (parts, localstack):
        for name, value in _shown(parts):
            story.say(f"{name}: {value}")
        story.say("everything is left running; stop it with `make local-down`")
        keep_until_stopped(parts.logs / "keeper.log", lasts=lambda: localstack.is_running)


def deploy_step(folder: Path, _port: int, story: Story) -> None:
    """Bootstrap and deploy."""
    _deploy(Parts.read(folder), story)


def seed_step(folder: Path, _port: int, story: Story) -> None:
    """Bring a small shop in."""
    _seed(Deployment.read(Parts.read(folder)), story)


def call_step(folder: Path, _port: int, story: Story) -> None:
    """Call every route."""
    _call(Deployment.read(Parts.read(folder)), story)


def down(folder: Path, _port: int, story: Story) -> None:
    """Stop what `up` left running."""
    story.say("stopped" if stop(folder) else "nothing is running")


def everything(folder: Path, _port: int, story: Story) -> None:
    """Up, deploy, seed, call, a thousand requests, and down."""
    began = time.monotonic()
    with _started(folder, 0, story) as (parts, _):
        deployment = _deploy(parts, story)
        version = _seed(deployment, story)
        calls = _call(deployment, story)
        traffic = _send_many(deployment, story)
        summary = {
            "stacks": deployment.stacks,
            "resources": counted(deployment.resources),
            "version": version,
            "calls": calls,
            "traffic": traffic,
        }
        story.current = "stop"
    seconds = {**story.seconds, "total": round(time.monotonic() - began, 2)}
    file = folder / "summary.json"
    file.write_text(json.dumps({**summary, "seconds": seconds}, indent=2) + "\n")
    story.say(f"everything is stopped after {seconds['total']:.0f} s; all figures: {file}")
    story.console.print("local: ok", highlight=False)


@contextlib.contextmanager
def _started(folder: Path, port: int, story: Story) -> Any:
    otherwise = "the local cloud of this checkout is up; stop it with `make local-down`"
    with only_one(folder, otherwise=otherwise), contextlib.ExitStack() as stack:
        shutil.rmtree(folder / "logs", ignore_errors=True)
        (folder / "logs").mkdir(parents=True)
        logging.basicConfig(filename=folder / "logs/local.log", level=logging.INFO, force=True)
        if port:
            require_free(port)
        with story.step("start", "Starting LocalStack and what it lacks"):
            started: tuple[Parts, Server] = stack.enter_context(
                running_parts(folder, port=port or None, tell=lambda _: None)
            )
        for line in started[0].missing:
            story.say(f"left out: {line}")
        yield started


def _deploy(parts: Parts, story: Story) -> Deployment:
    with story.step("bootstrap", "Bootstrapping, as in a new account"):
        bootstrap(parts)
    with story.step("deploy", "Deploying all stacks with `cdk deploy`"):
        deploy(parts)
    deployment = Deployment.read(parts)
    totals = {each: sum(kinds.values()) for each, kinds in counted(deployment.resources).items()}
    told = ", ".join(f"{count} {each}" for each, count in totals.items())
    story.say(f"{len(deployment.stacks)} stacks with {sum(totals.values())} resources: {told}")
    story.say("which is which, and what that means, is in localstack/README.md")
    story.say(f"the API: {deployment.api_url()}; its key: {deployment.api_key()}")
    return deployment


def _seed(deployment: Deployment, story: Story) -> str:
    with story.step("seed", "Bringing a small shop in, and training on it"):
        version = seed(deployment)
    story.say(f"version {version} is live")
    return version


def _call(deployment: Deployment, story: Story) -> Any:
    user, item = known(deployment.parts.database_url)
    with story.step("call", "Calling every route, without the key and with it"):
        calls = call_every_route(deployment, user=user, item=item)
    for route, ways in calls.summary().items():
        told = "; ".join(f"{way} {', '.join(statuses)}" for way, statuses in ways.items())
        story.say(f"{route}: {told}")
    return calls.summary()


def _send_many(deployment: Deployment, story: Story) -> Any:
    user, item = known(deployment.parts.database_url)
    with story.step("traffic", f"Sending {REQUESTS:,} requests by {THREADS} threads"):
        told = send_many(deployment, user=user, item=item)
    story.say(f"all were answered with 200, {told['requests_a_second']:g} a second")
    return told


def _shown(parts: Parts) -> list[tuple[str, str]]:
    known = {
        "AWS": parts.endpoint,
        "SageMaker": parts.sagemaker,
        "Postgres": parts.database_url,
        "MLflow": parts.mlflow_uri,
        "pushgateway": parts.pushgateway_url,
        "Prometheus": parts.prometheus_url,
    }
    return [(name, value) for name, value in known.items() if value is not None]


_COMMANDS: dict[str, Callable[[Path, int, Story], None]] = {
    "up": up,
    "deploy": deploy_step,
    "seed": seed_step,
    "call": call_step,
    "down": down,
    "all": everything,
}


if __name__ == "__main__":
    sys.exit(main())
