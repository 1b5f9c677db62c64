"""The DAGs on this machine: `make dags-run` runs the retrain once, `make dags-up` starts all of Airflow.

A small shop is generated, or the given one brought in; visitors post events. `run` has the DAG `retrain` run
without a scheduler, by `dag.test()`: its training really trains, its version goes live, and the real function
answers by it; what came of it is in `summary.json`. `up` leaves Airflow running with its scheduler and its
pages, until `down`.
"""

import argparse
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from training.errors import UserError
from training.generate_shop import generate_shop
from training.import_events import describe, import_events
from training.moments import format_moment
from training.shop.simulation import ShopSettings
from twin.dags.airflow_home import Airflow, Run, require_airflow
from twin.dags.airflow_server import AirflowServer, serving
from twin.dags.shop import PROJECT, Servers, Shop, open_shop, running_servers
from twin.dags.traffic import calling, visit
from twin.errors import MissingProgramError, ServerError
from twin.keeper import (
    AlreadyRunningError,
    Interrupted,
    handle_signals,
    keep_until_stopped,
    only_one,
    start_kept,
    stop,
)
from twin.processes import require_free
from twin.s3 import aws_environment
from twin.story import Story

FOLDER = PROJECT / "build/dags"
PORT = 8080
_DAY_MS = 86_400_000
_ERRORS = (UserError, ServerError, MissingProgramError, AlreadyRunningError)


class DagsError(ServerError):
    """The run did not come to what it should; the message says what it did come to."""


def main(arguments: list[str] | None = None) -> int:
    """Do what was asked; the exit status."""
    given = _parser().parse_args(arguments)
    folder: Path = given.folder.absolute()
    console = Console(soft_wrap=True)
    story = Story(console)
    handle_signals()
    if given.command == "down":
        story.say("stopped" if stop(folder) else "nothing is running")
        return 0
    if given.command == "up" and not given.kept:
        return start_kept([sys.executable, "-m", "twin.dags", *(arguments or sys.argv[1:]), "--kept"])
    try:
        with only_one(
            folder, otherwise="the DAGs of this checkout are running; stop them with `make dags-down`"
        ):
            if given.command == "up":
                up(folder, given.events, given.port, story)
            else:
                run(folder, given.events, story)
    except _ERRORS as error:
        console.print(f"dags: failed at the step '{story.current}': {error}", highlight=False, markup=False)
        console.print(f"dags: logs are in {folder}", highlight=False, markup=False)
        return 1
    except Interrupted:
        console.print(
            f"dags: interrupted at the step '{story.current}'; everything is stopped", highlight=False
        )
        return 130
    if given.command == "run":
        console.print("dags: ok", highlight=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m twin.dags", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("run", "up", "down"), default="run")
    parser.add_argument("--events", type=Path, help="a file or folder of events; default: a generated shop")
    parser.add_argument("--port", type=int, default=PORT, help=f"Airflow's; 0: a free one; default: {PORT}")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where logs and summary go")
    parser.add_argument("--kept", action="store_true", help=argparse.SUPPRESS)
    return parser


def run(folder: Path, events: Path | None, story: Story) -> None:
    """Every step; raises where one fails, after stopping whatever was started."""
    with running(folder, events, story) as (shop, conf, airflow):
        with story.step("retrain", "Running the DAG `retrain`"):
            done = airflow.run("retrain", conf, on_task=lambda name, state: story.say(f"{name}: {state}"))
        summary = summarize(done, shop, story)
        file = folder / "summary.json"
        file.write_text(json.dumps(summary, indent=2) + "\n")
        for message in summary["notifications"]:
            story.say(f"told people: {message['Subject']}")
        if done.state != "success":
            raise DagsError(f"the run is {done.state}: {summary['failed']}; Airflow's log is {airflow.log}")
        story.say(f"the gate: {summary['gate']['outcome']}, {summary['gate']['reason']}")
        story.say(f"{summary['served_version']} is live, with lists of {summary['loaded_users']:,} users")
        story.say(f"all figures: {file}")
        story.current = "stop"


def up(folder: Path, events: Path | None, port: int, story: Story) -> None:
    """Start everything and keep it until `down`, or until a part of Airflow ends."""
    if port:
        require_free(port)
    with running(folder, events, story) as (_, conf, airflow), ExitStack() as stack:
        with story.step("serve", "Starting Airflow: its pages, scheduler, triggerer and DAG processor"):
            server = stack.enter_context(serving(airflow, port=port or None))
        for line in _shown(server, conf):
            story.say(line)
        story.say("everything is left running; stop it with `make dags-down`")
        keep_until_stopped(folder / "logs/keeper.log", lasts=lambda: server.is_running)


def _shown(server: AirflowServer, conf: Mapping[str, Any]) -> Iterator[str]:
    body = json.dumps({"logical_date": None, "conf": conf})
    yield f"Airflow: {server.url}, nobody has to log in"
    yield "the retrain: the button Trigger on its page, or"
    yield f"  TOKEN=$(curl -s {server.url}/auth/token | cut -d '\"' -f 4)"
    yield (
        f'  curl -s -X POST {server.url}/api/v2/dags/retrain/dagRuns -H "Authorization: Bearer $TOKEN"'
        f" -H 'Content-Type: application/json' -d '{body}'"
    )


@contextmanager
def running(
    folder: Path, events: Path | None, story: Story
) -> Iterator[tuple[Shop, dict[str, Any], Airflow]]:
    """Servers, a shop with its history and some posted events, what a run is told, and Airflow."""
    require_airflow()
    for name in ("logs", "shop", "airflow"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    logging.basicConfig(filename=folder / "logs/dags.log", level=logging.INFO, force=True)
    with ExitStack() as stack:
        with story.step("start", "Starting the local parts"):
            servers: Servers = stack.enter_context(running_servers(folder))
        for line in servers.missing:
            story.say(f"left out: {line}")
        os.environ.update(aws_environment(servers.aws_endpoint))
        shop = stack.enter_context(open_shop(servers, folder / "shop"))
        end = _bring_in(shop, folder, events, story)
        with story.step("airflow", "Making Airflow's database"):
            airflow = Airflow(folder / "airflow", deployment=shop.folder, environment=shop.environment)
            airflow.migrate()
        # A shop of the past is trained as of its own end.
        yield (
            shop,
            {"watch_minutes": 0, "allow_empty_days": True, **({"as_of": end} if events else {})},
            airflow,
        )


def _bring_in(shop: Shop, folder: Path, events: Path | None, story: Story) -> str:
    """History into the bucket, and a few visits; the moment of the last event, ISO 8601."""
    source, catalogue = events, []
    if source is None:
        source, catalogue = folder / "shop-events.parquet", [folder / "shop-items.parquet"]
        now = round(datetime.now(UTC).timestamp() * 1000)
        settings = ShopSettings(users=1_000, items=300, days=45, seed=7, end_ms=now - now % _DAY_MS)
        with story.step("generate", "Generating a small shop"):
            generate_shop(settings, source, catalogue=catalogue[0])
    with story.step("import", f"Importing {source}"):
        report = import_events([str(source)], shop.events_uri, catalogue=catalogue, allow_empty_days=True)
    for line in describe(report).splitlines():
        story.say(line)
    with story.step("visit", "Letting visitors post events"), calling(shop) as client:
        posted = visit(client, [f"visitor-{number}" for number in range(40)], ["item-1", "item-2", "item-3"])
    story.say(f"{posted} events posted")
    return format_moment(report.last_ms)


def summarize(done: Run, shop: Shop, story: Story) -> dict[str, Any]:
    """Every figure, from the part that knows it."""
    results = done.results
    with psycopg.connect(shop.database_url) as connection:
        served = connection.execute(
            "SELECT name FROM serving JOIN versions ON number = version WHERE variant = 'default'"
        ).fetchone()
        users = connection.execute(
            "SELECT count(*) FROM recommendations JOIN serving USING (version)"
            " WHERE variant = 'default' AND kind = 'personal'"
        ).fetchone()
    failed = [task.name for task in done.tasks if task.state == "failed"]
    gate = results.get("gate", {})
    return {
        "state": done.state,
        "tasks": [{"name": task.name, "state": task.state, "seconds": task.seconds} for task in done.tasks],
        "failed": ", ".join(failed) or None,
        "gate": {name: gate.get(name) for name in ("outcome", "reason")},
        "version": gate.get("version"),
        "served_version": served[0] if served else None,
        "loaded_users": users[0] if users else 0,
        "exported_events": results.get("export_events", {}).get("events"),
        "notifications": [
            {name: message[name] for name in ("Subject", "Message")} for message in shop.told()
        ],
        "seconds": story.seconds,
    }


if __name__ == "__main__":
    sys.exit(main())
