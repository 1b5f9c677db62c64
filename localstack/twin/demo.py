"""The main job, end to end, on this machine: `make demo`.

Shop events go in; they are validated and written to S3, a model is trained under SageMaker's contract
and logged in MLflow, a version is written to S3, loaded into Postgres and made live, and the API answers
under the real Lambda runtime client. What it did is told on the terminal and in `summary.json`.
"""

import argparse
import contextlib
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import mlflow.tracking
import psycopg
from lambda_executor import Function
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from contract.events import VIEW
from contract.gate import GATE_NAME, GateDecision, Outcome
from contract.recommendations import ListKind, Manifest
from contract.s3_layout import CATALOGUE_PREFIX, EVENTS_PREFIX, MODEL_REPORT_NAME
from lambdas.migrate_database.migrate import migrate
from training.catalogue import latest_catalogue
from training.catalogue_loader import load_catalogue
from training.data_report.findings import Limits
from training.errors import UserError
from training.export_events import export_events
from training.generate_shop import generate_shop
from training.import_events import ImportReport, describe, import_events
from training.moments import format_moment
from training.publish import read_manifest
from training.shop.simulation import ShopSettings
from training.storage import Folder
from training.validate_events import validate_events
from twin.api_front import ApiFront
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
from twin.processes import require_free
from twin.story import Story
from twin.training_job import run_training_job
from twin.visits import ApiClient, look, visit

ROOT = Path(__file__).parents[2]
HANDLER = "lambdas.recommendations_api.handler.handler"
SMALL_SHOP = ShopSettings(users=2_000, items=500, days=60, seed=7)
JOB_NAME = "demo"
PUSH_INTERVAL_SECONDS = 15


class DemoError(Exception):
    """Something that is not as it should be; the message says what, and what to do."""


@dataclass(frozen=True)
class Options:
    """What the demo was asked to do."""

    events: Path | None
    keep: bool
    folder: Path
    port: int

    @property
    def logs(self) -> Path:
        """Where every part's log is."""
        return self.folder / "logs"


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; the exit status."""
    options, kept = parse(arguments)
    console = Console(soft_wrap=True)
    story = Story(console)
    handle_signals()
    if options.keep and not kept:
        return start_kept([sys.executable, "-m", "twin.demo", "--kept", *(arguments or sys.argv[1:])])
    try:
        with only_one(options.folder):
            run(options, story, console)
    except (UserError, ServerError, MissingProgramError, AlreadyRunningError, DemoError) as error:
        console.print(f"demo: failed at the step '{story.current}': {error}", highlight=False, markup=False)
        console.print(f"demo: logs are in {options.logs}", highlight=False, markup=False)
        return 1
    except Interrupted:
        console.print(
            f"demo: interrupted at the step '{story.current}'; everything is stopped", highlight=False
        )
        return 130
    return 0


def parse(arguments: list[str] | None) -> tuple[Options, bool]:
    """Options, and whether this is the process that keeps everything running."""
    parser = argparse.ArgumentParser(prog="python -m twin.demo", description=__doc__)
    parser.add_argument(
        "--events", type=Path, help="a file or folder of shop events; default: a generated shop"
    )
    parser.add_argument("--keep", action="store_true", help="leave everything running until `make demo-stop`")
    parser.add_argument("--kept", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=Path("build/demo"), help="where logs and summary go")
    parser.add_argument("--port", type=int, default=0, help="port of the API; default: a free one")
    given = parser.parse_args(arguments)
    options = Options(events=given.events, keep=given.keep, folder=given.folder.absolute(), port=given.port)
    return options, given.kept


def run(options: Options, story: Story, console: Console) -> None:
    """Every step; raises where one fails, after stopping whatever was started."""
    shutil.rmtree(options.logs, ignore_errors=True)
    options.logs.mkdir(parents=True)
    logging.basicConfig(filename=options.logs / "demo.log", level=logging.INFO, force=True)
    with contextlib.ExitStack() as stack:
        with story.step("start", "Starting the local parts"):
            if options.events is not None and not options.events.exists():
                raise DemoError(f"{options.events}: there is no such file or folder")
            if options.port:
                require_free(options.port)
            parts = stack.enter_context(running_parts(options.folder, tell=lambda _: None))
            os.environ.update(parts.aws)
            migrate(parts.database_url)
        for line in parts.missing:
            story.say(f"left out: {line}")
        imported = import_step(options, story, parts)
        validate_step(options, story, parts)
        manifest = train_step(options, story, parts)
        load_step(story, parts, manifest)
        load_catalogue_step(story, parts)
        function = stack.enter_context(api_function(parts, manifest, options.logs))
        front = stack.enter_context(ApiFront(function, port=options.port))
        story.say("the API's local front asks nobody who they are, and grants every scope")
        client = ApiClient(front.url)
        stack.callback(client.close)
        visit_step(story, parts, client)
        pushed = read_back_step(story, parts, function, client)
        exported = export_step(story, parts)
        summary = summarize(
            parts,
            imported,
            manifest,
            client,
            pushed=pushed,
            exported=exported,
            front=front,
            story=story,
            keep=options.keep,
        )
        file = options.folder / "summary.json"
        file.write_text(json.dumps(summary, indent=2) + "\n")
        story.say(f"all figures: {file}")
        if options.keep:
            for name, url in summary["urls"].items():
                story.say(f"{name}: {url}")
            story.say(f"interactive documentation of the API: {front.url}/docs")
            story.say("everything is left running; stop it with `make demo-stop`")
        console.print("demo: ok", highlight=False)
        if options.keep:
            keep_until_stopped(options.logs / "keeper.log")


def import_step(options: Options, story: Story, parts: Parts) -> ImportReport:
    """Events into S3, from the given source or from a small shop made for the occasion."""
    source, catalogue = options.events, []
    if source is None:
        source, catalogue = options.folder / "shop-events.parquet", [options.folder / "shop-items.parquet"]
        with story.step("generate", "Generating a small shop"):
            generate_shop(SMALL_SHOP, source, catalogue=catalogue[0])
    with story.step("import", f"Importing {source}"):
        report = import_events(
            [str(source)], out=parts.bucket_uri, catalogue=catalogue, allow_empty_days=True
        )
    for line in describe(report).splitlines():
        story.say(line)
    return report


def validate_step(options: Options, story: Story, parts: Parts) -> None:
    """What the events in S3 look like; the report outlives the bucket."""
    bucket = Folder(parts.bucket_uri)
    with story.step("validate", "Validating the events"):
        # People try the demo on extracts, which have holes.
        validation = validate_events(bucket, limits=Limits(allow_empty_days=True))
        validation.refuse()
    for finding in validation.findings:
        story.say(f"{finding.severity}: {finding.text}")
    page = options.folder / "data-report.html"
    page.write_bytes(bucket.read(validation.page.removeprefix(f"{bucket}/")))
    story.say(f"fit to train on; the data report: {page}")


def train_step(options: Options, story: Story, parts: Parts) -> Manifest:
    """The training container's program, on the events in S3; raises where its gate lets nothing pass."""
    job = options.folder / "training-job"
    shutil.rmtree(job, ignore_errors=True)
    with story.step("train", "Training, as a SageMaker job would"):
        model = run_training_job(
            name=JOB_NAME,
            events=Folder(f"{parts.bucket_uri}/{EVENTS_PREFIX}"),
            catalogue=Folder(f"{parts.bucket_uri}/{CATALOGUE_PREFIX}"),
            hyperparameters={},
            environment={**parts.environment(), "CODE_VERSION": code_version()},
            folder=job,
            log=options.logs / "training.log",
        )
    report = options.folder / "model-report.html"
    shutil.copyfile(model / MODEL_REPORT_NAME, report)
    decision = GateDecision.from_json((model / GATE_NAME).read_bytes())
    story.say(f"the gate: {decision.outcome}, {decision.reason}")
    if decision.outcome is not Outcome.PROMOTED:
        raise DemoError(
            f"there is nothing to load: the gate's outcome is {decision.outcome}, {decision.reason}"
        )
    manifest = read_manifest(Folder(parts.bucket_uri), decision.version)
    story.say(f"version {manifest.version}; MLflow run {manifest.mlflow['run_id']}")
    ranking = manifest.notes["ranking"]
    story.say(f"personal lists by the {ranking['ranker']} ranker: {ranking['reason']}")
    story.evaluation(manifest.metrics)
    story.say(f"how good it is, for whom and why: {report}")
    return manifest


def code_version() -> str:
    """The commit of this checkout, or `unknown` where there is no git."""
    try:
        told = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return "unknown"
    return told.stdout.strip() or "unknown"


def load_step(story: Story, parts: Parts, manifest: Manifest) -> None:
    """The version into Postgres, and the serving row onto it: the command that an operator would give."""
    with story.step("load", "Loading the version and making it live"):
        loaded = subprocess.run(
            [sys.executable, "-m", "training.versions", "load", manifest.version],
            env=parts.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    if loaded.returncode != 0:
        raise DemoError(f"the version could not be loaded: {loaded.stderr.strip()}")


def load_catalogue_step(story: Story, parts: Parts) -> None:
    """What the shop sells, to where answers look it up; nothing where nobody told."""
    bucket = Folder(parts.bucket_uri)
    if latest_catalogue(bucket) is None:
        return
    with story.step("catalogue", "Loading the catalogue"):
        loaded = load_catalogue(parts.database_url, bucket)
    tree = f" and a tree of {loaded.categories:,} categories" if loaded.categories else ""
    story.say(f"{loaded.items:,} items{tree}, as of {loaded.as_of}")


def api_function(parts: Parts, manifest: Manifest, logs: Path) -> Function:
    """The API as Lambda would run it, with the data's own end for now."""
    environment = {
        "DATABASE_URL": parts.database_url,
        "AS_OF": format_moment(manifest.trained_until),
        "PUSH_INTERVAL_SECONDS": str(PUSH_INTERVAL_SECONDS),
        # The local front identifies nobody. It listens on loopback.
        "AUTHORIZATION": "none",
        # A laptop at work is slower than a database of its own; the demo is to show answers, not fallbacks.
        "DATABASE_TIMEOUT_MS": "5000",
    }
    if parts.pushgateway_url:
        environment["PUSHGATEWAY_URL"] = parts.pushgateway_url
    return Function(
        handler=HANDLER,
        code=ROOT,
        environment=environment,
        name="recommendations-api",
        log_file=logs / "api.log",
    )


def visit_step(story: Story, parts: Parts, client: ApiClient) -> None:
    """A few hundred requests, and three users shown, one of them before and after a look at something."""
    users = users_by_history(parts.database_url)
    rng = random.Random(0)  # noqa: S311 - a sample, no secret
    known = rng.sample(users, min(120, len(users)))
    with story.step("serve", "Calling the API"):
        looked_at = items(parts.database_url, 60)
        visit(client, known=known, busy=users[:20], items=looked_at, visitors=30)
        shown = {
            user: client.recommendations(user, limit=5) for user in rng.sample(users, min(3, len(users)))
        }
        *_, returning = shown
        look(client, returning, looked_at[0])
        at_once = client.recommendations(returning, limit=5)
    traffic = client.traffic
    story.say(
        f"{traffic.total} requests, {len(traffic.problems)} errors; "
        f"p50 {traffic.percentile(0.5):.1f} ms, p99 {traffic.percentile(0.99):.1f} ms; "
        f"answers by source: {dict(traffic.sources)}"
    )
    if traffic.problems:
        raise DemoError(f"{len(traffic.problems)} answers were wrong, the first: {traffic.problems[0]}")
    for user, answer in shown.items():
        story.visitor(user, history(parts.database_url, user)[:5], answer)
    story.returning(returning, (VIEW, looked_at[0]), at_once)


def read_back_step(story: Story, parts: Parts, function: Function, client: ApiClient) -> dict[str, float]:
    """What the pushgateway holds once the function's environments have pushed for the last time."""
    if parts.pushgateway_url is None:
        return {}
    with story.step("metrics", "Reading the metrics back from the pushgateway"):
        function.stop_environments()
        pushed = pushed_metrics(parts.pushgateway_url)
    counted = pushed.get("shop_api_requests_total", 0.0)
    story.say(f"{counted:.0f} requests counted, {client.traffic.total} sent")
    if counted != client.traffic.total:
        raise DemoError(f"the pushgateway counts {counted:.0f} requests, {client.traffic.total} were sent")
    return pushed


def export_step(story: Story, parts: Parts) -> int:
    """The visitors' events into S3, where the next training finds them; how many there were."""
    with story.step("export", "Exporting the posted events to S3"):
        report = export_events(parts.database_url, Folder(parts.bucket_uri))
    story.say(f"{report.events:,} posted events, each once")
    return report.events


def summarize(
    parts: Parts,
    imported: ImportReport,
    manifest: Manifest,
    client: ApiClient,
    *,
    pushed: dict[str, float],
    exported: int,
    front: ApiFront,
    story: Story,
    keep: bool,
) -> dict[str, Any]:
    """Every figure, read from the part that knows it."""
    run = mlflow.tracking.MlflowClient(parts.mlflow_uri).get_run(manifest.mlflow["run_id"])
    traffic = client.traffic
    summary: dict[str, Any] = {
        "events": imported.events,
        "rejected_events": imported.rejected_rows,
        "users": manifest.counts["users"],
        "items": manifest.counts["items"],
        "as_of": manifest.as_of,
        "version": manifest.version,
        "loaded_users": loaded_users(parts.database_url),
        "mlflow": {"run_id": run.info.run_id, "experiment": manifest.mlflow["experiment"]},
        "ranking": {name: manifest.notes["ranking"][name] for name in ("ranker", "reason", "ndcg@10")},
        "evaluation": manifest.metrics,
        "requests": {
            "total": traffic.total,
            "errors": len(traffic.problems),
            "p50_ms": round(traffic.percentile(0.5), 3),
            "p99_ms": round(traffic.percentile(0.99), 3),
            "by_source": dict(traffic.sources),
        },
        "pushed_metrics": pushed,
        "exported_events": exported,
        "seconds": story.seconds,
    }
    if keep:
        urls = {
            "api": front.url,
            "mlflow": parts.mlflow_uri,
            "pushgateway": parts.pushgateway_url,
            "prometheus": parts.prometheus_url,
            "database": parts.database_url,
        }
        summary["urls"] = {name: url for name, url in urls.items() if url}
    return summary


def loaded_users(database_url: str) -> int:
    """How many users have a list in the version that is live."""
    [(count,)] = _query(database_url, "SELECT count(*) FROM live WHERE kind = %s", ListKind.PERSONAL)
    return int(count)


def users_by_history(database_url: str) -> list[str]:
    """All users that the live version knows, the busiest first."""
    statement = "SELECT key FROM live WHERE kind = %s ORDER BY cardinality(item_ids) DESC, key"
    return [key for (key,) in _query(database_url, statement, ListKind.HISTORY)]


def items(database_url: str, count: int) -> list[str]:
    """Some items to which the live version knows similar ones, and that are to be had."""
    statement: LiteralString = (
        "SELECT key FROM live WHERE kind = %s"
        " AND item_ids <> ARRAY[key]"
        " AND NOT EXISTS (SELECT FROM items WHERE item_id = key AND NOT available) ORDER BY md5(key) LIMIT %s"
    )
    return [key for (key,) in _query(database_url, statement, ListKind.SIMILAR, count)]


def history(database_url: str, user_id: str) -> list[tuple[str, str]]:
    """(kind, item) of what the live version knows of a user, newest first."""
    statement = "SELECT event_types, item_ids FROM live WHERE kind = %s AND key = %s"
    rows = _query(database_url, statement, ListKind.HISTORY, user_id)
    return [pair for kinds, names in rows for pair in zip(kinds, names, strict=True)]


def _query(database_url: str, statement: LiteralString, *values: str | int) -> list[tuple[Any, ...]]:
    """Rows of a statement that may read `live`: the lists of the version that answers."""
    live: LiteralString = (
        "WITH live AS (SELECT recommendations.* FROM recommendations JOIN serving USING (version)"
        " WHERE variant = 'default') "
    )
    with psycopg.connect(database_url) as connection:
        return connection.execute(live + statement, values).fetchall()


def pushed_metrics(pushgateway_url: str) -> dict[str, float]:
    """The product's own samples by name, summed over labels; buckets of histograms left out."""
    with urllib.request.urlopen(f"{pushgateway_url}/metrics", timeout=10) as response:  # noqa: S310 - loopback
        text = response.read().decode()
    totals: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("shop_") and not sample.name.endswith(("_bucket", "_created")):
                totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    return dict(sorted(totals.items()))


if __name__ == "__main__":
    sys.exit(main())
