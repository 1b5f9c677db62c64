"""`make simulate`: visitors with known habits, a model switch, a bad model, and what metrics make of it.

Real parts on this machine: a training, Postgres, the API under Lambda's runtime client behind HTTP,
housekeeping, pushgateway and Prometheus with its rules. Afterwards `summary.json` holds known and measured
rates, and the dashboards are drawn.
"""

import argparse
import contextlib
import json
import logging
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lambda_executor import Function
from rich.console import Console

from contract.metrics import ANSWER_OUTCOMES
from contract.recommendations import DEFAULT_VARIANT
from grafana.draw import draw
from lambdas.migrate_database.migrate import migrate
from training.catalogue_loader import load_catalogue
from training.errors import UserError
from training.generate_shop import generate_shop
from training.import_events import import_events
from training.loader import load_version
from training.serving import activate, end_variant, rollback, set_share
from training.shop.simulation import ShopSettings
from training.storage import Folder
from twin.api_front import ApiFront
from twin.demo import DemoError, Options, items, load_step, train_step, users_by_history
from twin.errors import MissingProgramError, ServerError
from twin.keeper import (
    AlreadyRunningError,
    Interrupted,
    handle_signals,
    keep_until_stopped,
    only_one,
    start_kept,
)
from twin.parts import Parts, running_parts
from twin.simulate.habits import Habits
from twin.simulate.measured import Measured, agreements, compare
from twin.simulate.versions import publish_bad, publish_copy
from twin.simulate.visitors import ANSWERED, Visitors
from twin.story import Story

ROOT = Path(__file__).parents[3]
DASHBOARDS: Final = Path("build/dashboards")
FIRST: Final = Habits(clicks=0.30)
BETTER: Final = Habits(clicks=0.42, carts=0.6)
BAD: Final = Habits(clicks=0.06)
CHALLENGER: Final = "challenger"
CROWDS: Final = 2
HOUSEKEEPING_SECONDS: Final = 10.0
PATIENCE_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Shop:
    """What the visitors come to."""

    parts: Parts
    api_url: str
    functions: tuple[Function, ...]
    """The API, and housekeeping."""
    habits: dict[str, Habits]
    """By version: the first, the better and the bad one."""

    def keep_house(self) -> None:
        """Run housekeeping once. Raises DemoError where a part failed."""
        answer = self.functions[1].invoke(b"{}")
        if answer.is_error:
            raise DemoError(f"housekeeping failed: {answer.payload.decode()}")


def main(arguments: list[str] | None = None) -> int:
    """Simulate; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m twin.simulate", description=__doc__)
    parser.add_argument("--seconds", type=float, default=40, help="of each of the five phases")
    parser.add_argument(
        "--folder", type=Path, default=Path("build/simulation"), help="where figures and logs go"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave everything running until `make metrics-down`"
    )
    parser.add_argument("--kept", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    console = Console(soft_wrap=True)
    story = Story(console)
    handle_signals()
    if given.keep and not given.kept:
        return start_kept([sys.executable, "-m", "twin.simulate", "--kept", *(arguments or sys.argv[1:])])
    options = Options(events=None, keep=given.keep, folder=given.folder.absolute(), port=0)
    try:
        with only_one(
            options.folder, otherwise="a simulation runs in this checkout; stop it with `make metrics-down`"
        ):
            return simulate(options, story, console, seconds=given.seconds)
    except (UserError, ServerError, MissingProgramError, AlreadyRunningError, DemoError) as error:
        console.print(
            f"simulate: failed at the step '{story.current}': {error}", highlight=False, markup=False
        )
        console.print(f"simulate: logs are in {options.logs}", highlight=False, markup=False)
        return 1
    except Interrupted:
        console.print(f"simulate: interrupted at the step '{story.current}'; everything is stopped")
        return 130


def simulate(options: Options, story: Story, console: Console, *, seconds: float) -> int:
    """All of it; the exit status: 1 where a rate does not agree."""
    # What an earlier run left in Prometheus would be counted with this one's.
    for folder in (options.logs, options.folder / "prometheus"):
        shutil.rmtree(folder, ignore_errors=True)
    options.logs.mkdir(parents=True)
    logging.basicConfig(filename=options.logs / "simulation.log", level=logging.INFO, force=True)
    with contextlib.ExitStack() as stack:
        with story.step("start", "Starting the local parts"):
            parts = stack.enter_context(running_parts(options.folder, tell=lambda _: None))
            if parts.prometheus_url is None:
                raise MissingProgramError("; ".join(parts.missing))
            os.environ.update(parts.aws)
            migrate(parts.database_url)
        shop = stack.enter_context(opened_shop(options, story, parts))
        began = time.time()
        did = browse(shop, story, seconds=seconds)
        with story.step("measure", "Reading what the metrics found out"):
            compared = measure(shop, did, began=began)
        agree = agreements(compared)
        with story.step("draw", "Drawing the dashboards"):
            told = draw(parts.prometheus_url, DASHBOARDS, began, time.time())
        empty = [f"{each.panel.title}" for each in told if not each.series]
        summary: dict[str, Any] = {
            "versions": compared,
            "agree": all(agree),
            "rates_agreeing": sum(agree) / len(agree),
            "panels": {"drawn": len(told), "without_data": empty},
            "seconds": story.seconds,
            "urls": {
                "api": shop.api_url,
                "prometheus": parts.prometheus_url,
                "pushgateway": parts.pushgateway_url,
            },
        }
        file = options.folder / "summary.json"
        file.write_text(json.dumps(summary, indent=2) + "\n")
        tell(story, compared)
        story.say(f"all figures: {file}; dashboards: {DASHBOARDS / 'index.html'}")
        if not all(agree):
            console.print("simulate: failed: what is measured is not what visitors did", highlight=False)
            return 1
        if options.keep:
            for name, url in summary["urls"].items():
                story.say(f"{name}: {url}")
            story.say("everything is left running; stop it with `make metrics-down`")
        console.print("simulate: ok", highlight=False)
        if options.keep:
            keep_until_stopped(options.logs / "keeper.log")
    return 0


@contextlib.contextmanager
def opened_shop(options: Options, story: Story, parts: Parts) -> Iterator[Shop]:
    """A shop with a trained version, two more made of it, and the functions that serve them."""
    out = Folder(parts.bucket_uri)
    today = int(time.time() * 1000)
    source, catalogue = options.folder / "shop-events.parquet", options.folder / "shop-items.parquet"
    with story.step("generate", "Generating a small shop whose last day was yesterday"):
        generate_shop(
            ShopSettings(users=1_000, items=300, days=45, seed=7, end_ms=today), source, catalogue=catalogue
        )
        import_events([str(source)], out=parts.bucket_uri, catalogue=[catalogue], allow_empty_days=True)
    manifest = train_step(options, story, parts)
    load_step(story, parts, manifest)
    first = manifest.version
    names = {first: FIRST, f"{first}-better": BETTER, f"{first}-bad": BAD}
    with story.step("others", "Loading a better version, and a bad one"):
        _, better, bad = names
        publish_copy(out, first, better)
        publish_bad(out, first, bad)
        for version in (better, bad):
            load_version(parts.database_url, out, version, activate=False)
        load_catalogue(parts.database_url, out)
    with (
        function(parts, "recommendations_api", options.logs) as api,
        function(parts, "housekeeping", options.logs) as housekeeping,
        ApiFront(api) as front,
    ):
        yield Shop(parts, front.url, (api, housekeeping), names)


def function(parts: Parts, name: str, logs: Path) -> Function:
    """A function as Lambda would run it."""
    return Function(
        handler=f"lambdas.{name}.handler.handler",
        code=ROOT,
        environment={
            "DATABASE_URL": parts.database_url,
            "PUSHGATEWAY_URL": str(parts.pushgateway_url),
            "AUTHORIZATION": "none",
            "ATTRIBUTION_MINUTES": "0",
            # A laptop at work is slower than a database of its own: answers are to be shown, not fallbacks.
            "DATABASE_TIMEOUT_MS": "5000",
            "PUSH_TIMEOUT_MS": "5000",
            "GATEWAY_TIMEOUT_SECONDS": "10",
        },
        name=name,
        log_file=logs / f"{name}.log",
        stop_grace=30,
    )


def browse(shop: Shop, story: Story, *, seconds: float) -> Counter[tuple[str, str]]:
    """Let visitors in, and change what answers them meanwhile; what they did."""
    database = shop.parts.database_url
    _, better, bad = shop.habits
    phases: dict[str, Callable[[], object]] = {
        "The first version answers": lambda: None,
        "Half of the visitors get a better one": lambda: challenge(database, better),
        "The better version answers all": lambda: (
            activate(database, better),
            end_variant(database, CHALLENGER),
        ),
        "A bad model goes live": lambda: activate(database, bad),
        "It is rolled back": lambda: rollback(database),
    }
    users = users_by_history(database)
    crowds = [
        Visitors(
            shop.api_url,
            users=users[number::CROWDS],
            items=items(database, 60),
            habits=shop.habits,
            seed=number,
        )
        for number in range(CROWDS)
    ]
    for crowd in crowds:
        crowd.start()
    try:
        for title, change in phases.items():
            with story.step("browse", title):
                change()
                pass_time(shop, seconds)
    finally:
        for crowd in crowds:
            crowd.stop()
    problems = [problem for crowd in crowds for problem in crowd.client.traffic.problems]
    if problems:
        raise DemoError(f"{len(problems)} answers were wrong, the first: {problems[0]}")
    return sum((crowd.did for crowd in crowds), Counter())


def challenge(database_url: str, version: str) -> None:
    """Serve a version as a variant of its own, to half of the visitors."""
    activate(database_url, version, CHALLENGER)
    set_share(database_url, CHALLENGER, 1.0)
    set_share(database_url, DEFAULT_VARIANT, 1.0)


def pass_time(shop: Shop, seconds: float) -> None:
    """Keep house now and then for so long."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        shop.keep_house()
        time.sleep(min(left, HOUSEKEEPING_SECONDS))


def measure(shop: Shop, did: Counter[tuple[str, str]], *, began: float) -> dict[str, Any]:
    """What Prometheus says, once the last figures have come to it."""
    measured = Measured(str(shop.parts.prometheus_url))
    given = {version: float(did[ANSWERED, version]) for version in shop.habits}
    shop.functions[0].stop_environments()
    wait_for(lambda: measured.counted() == given)
    shop.keep_house()
    outcomes = {
        outcome: {version: float(did[outcome, version]) for version in shop.habits}
        for outcome in ANSWER_OUTCOMES
    }
    wait_for(lambda: all(measured.attributed(outcome) == each for outcome, each in outcomes.items()))
    # The rules of shares are worked out once a minute.
    wait_for(lambda: measured.is_known('shop:answer_rate:low{window="1d"}'))
    values = {outcome: measured.attributed(outcome) for outcome in ANSWER_OUTCOMES}
    values[ANSWERED] = measured.answered(time.time() - began + 60)
    return compare(shop.habits, did, values)


def wait_for(is_so: Callable[[], bool]) -> None:
    """Wait until it is so, and no longer than patience lasts: the comparison then tells what is wrong."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so() and time.monotonic() < end:
        time.sleep(1)


def tell(story: Story, compared: dict[str, Any]) -> None:
    """A line for each rate."""
    for version, figures in compared.items():
        for outcome in ANSWER_OUTCOMES:
            each = figures[outcome]
            story.say(
                f"{version} {outcome}: known {each['known_rate']:.3f}, measured "
                f"{each['measured_rate'] or 0:.3f} ({each['low']:.3f} to {each['high']:.3f})"
                f"{'' if each['agrees'] else ': they do not agree'}"
            )


if __name__ == "__main__":
    sys.exit(main())
