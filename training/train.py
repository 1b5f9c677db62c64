"""One training run, top to bottom: events in, a version of recommendations out, all of it in MLflow."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from contract.gate import Outcome
from contract.metrics import TRAINING_EVENTS, TRAINING_QUALITY, TRAINING_STEP_SECONDS
from contract.recommendations import Manifest
from contract.s3_layout import version_prefix
from training.catalogue import Catalogue
from training.errors import TooLittleDataError
from training.evaluation import Evaluation, evaluate
from training.events import dataset_fingerprint, read_events
from training.gate import GateReport, inspect, manifest_of_served, pushed, read_live, told, weigh_recipe
from training.interactions import Interactions
from training.lists import Lists
from training.metrics import Measured, push_gauges
from training.moments import MILLISECONDS_A_DAY, format_moment, parse_moment
from training.publish import copy_version, publish_version
from training.recipe import fit_served
from training.served import Served
from training.settings import Environment, Hyperparameters
from training.shop_items import read_shop_catalogue
from training.split import Window, windows
from training.storage import Folder
from training.tracking import log_evaluation, log_gate, log_model, log_notes, log_parameters, tracked_run
from training.verdict import decide, objection_to_recipe

log = structlog.get_logger()

PUSH_JOB = "training"
GATE_PUSH_JOB = "training_gate"


@dataclass
class Steps:
    """How long each step took, in seconds, by name."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a block, and tell that it began and ended."""
        log.info("step started", step=name)
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started
        log.info("step finished", step=name, seconds=round(self.seconds[name], 2))


def train(
    *,
    events_folder: Path,
    model_folder: Path,
    settings: Hyperparameters,
    environment: Environment,
    catalogue_folder: Path | None = None,
) -> GateReport:
    """Read events, evaluate on held-out days, ask the gate, refit on everything, publish; what the gate said.

    Only a version that the gate promotes is published. Raises UserError for what the caller can mend.
    Whatever fails, no manifest is written, so nothing can be loaded that isn't whole.
    """
    steps = Steps()
    output = Folder(environment.recommendations_uri)
    with tracked_run(environment) as run:
        with steps.step("read"):
            served_now = manifest_of_served(output, settings)
            as_of = parse_moment(settings.as_of) if settings.as_of else None
            table = read_events(events_folder, as_of_ms=as_of)
            catalogue = read_shop_catalogue(catalogue_folder, as_of) if catalogue_folder else None
            fingerprint = dataset_fingerprint(table)
            events = Interactions.from_table(table, settings.targets)
            del table
            refuse_without_targets(events)
        # Everything known lies before `now`; without an `as_of` that is just after the last event.
        now = as_of + 1 if as_of is not None else int(events.timestamps[-1]) + 1
        version = version_name(now - 1, run.info.run_id)
        log_parameters(
            settings.model_dump(),
            tags={
                "dataset_fingerprint": fingerprint,
                "code_version": environment.code_version,
                "as_of": format_moment(now - 1),
            },
        )

        def fit_before(moment: int) -> Served[Lists]:
            return fit_served(events.before(moment), now=moment, settings=settings, catalogue=catalogue)

        with steps.step("evaluate"):
            evaluation = evaluate_recipe(events, fit_before, now=now, settings=settings)
            log_evaluation(evaluation)
            log_headline(evaluation)
        with steps.step("gate"):
            live = read_live(output, served_now, events, now=now, settings=settings) if served_now else None
            recipe = weigh_recipe(
                live, events, now=now, evaluation=evaluation, fit_before=fit_before, settings=settings
            )
            objection = objection_to_recipe(recipe, settings)
        if objection:
            report = GateReport(version, objection, recipe, None, settings)
        else:
            with steps.step("fit"):
                served = fit_before(now)
                log_notes(served.notes)
                tell_ranker(served.notes["ranking"])
            with steps.step("inspect"):
                lists = inspect(served, live, events, now=now, catalogue_items=items_of_catalogue(catalogue))
                report = GateReport(version, decide(recipe, lists, settings), recipe, lists, settings)
        log_gate(report)
        tell_gate(report)
        with told(report, model_folder=Folder(model_folder), output=output):
            if report.verdict.outcome is Outcome.PROMOTED:
                with steps.step("publish"):
                    manifest = Manifest(
                        version=version,
                        as_of=format_moment(now - 1),
                        created_at=created_at(),
                        training_window=training_window(events),
                        dataset_fingerprint=fingerprint,
                        code_version=environment.code_version,
                        counts=counts(events),
                        files=(),
                        metrics=dict(evaluation),
                        blend_weights=served.weights,
                        exclude_purchased=served.exclude_purchased,
                        exclude_purchased_by_category=dict(served.exclude_purchased_by_category),
                        mlflow={"run_id": run.info.run_id, "experiment": environment.mlflow_experiment},
                        notes=dict(served.notes),
                    )
                    publish(served.lists, manifest, model_folder=model_folder, environment=environment)
    push(environment, steps, evaluation, n_events=len(events))
    push_gate(environment, report)
    log.info("trained", version=version, outcome=report.verdict.outcome.value, **counts(events))
    return report


def refuse_without_targets(events: Interactions) -> None:
    """Raise TooLittleDataError where nothing was ever carted or bought: there is nothing to aim at."""
    if not events.is_target.any():
        kinds = ", ".join(events.event_type_names)
        raise TooLittleDataError(
            f"there is no {' and no '.join(events.targets)} among {len(events)} events (kinds: {kinds}); "
            "if they go by another name, import again with --event-type theirs=purchase"
        )


def evaluate_recipe(
    events: Interactions,
    fit_before: Callable[[int], Served[Lists]],
    *,
    now: int,
    settings: Hyperparameters,
) -> Evaluation:
    """Both protocols over the windows that the events' span can fill; empty where it can't fill any."""
    try:
        held_out = windows(events, days=settings.evaluation_days, count=settings.evaluation_windows, end=now)
    except TooLittleDataError as error:
        log.warning("not evaluated", reason=str(error))
        return Evaluation.of_nothing()
    tell_shrunk_windows(held_out, settings)

    return evaluate(
        held_out,
        events=events,
        served_at=lambda window: fit_before(window.start),
        max_users=settings.evaluation_max_users,
        seed=settings.seed,
    )


def tell_shrunk_windows(held_out: list[Window], settings: Hyperparameters) -> None:
    """Say so where the data's span allows fewer or shorter windows than were asked for."""
    days = (held_out[0].end - held_out[0].start) / MILLISECONDS_A_DAY
    if len(held_out) < settings.evaluation_windows or days < settings.evaluation_days:
        log.warning(
            "evaluation shrunk to what the events' span can fill",
            windows=len(held_out),
            windows_asked=settings.evaluation_windows,
            days=round(days, 2),
            days_asked=settings.evaluation_days,
        )


def publish(lists: Lists, manifest: Manifest, *, model_folder: Path, environment: Environment) -> Manifest:
    """Write the version beside the model, register the model, copy the version to where it is loaded from."""
    beside_model = Folder(model_folder)
    manifest = publish_version(beside_model, lists.tables(), manifest=manifest)
    model = log_model(model_folder / version_prefix(manifest.version), name=environment.mlflow_model)
    manifest = replace(
        manifest, mlflow={**manifest.mlflow, "model": model.name, "model_version": model.version}
    )
    copy_version(beside_model, Folder(environment.recommendations_uri), manifest)
    return manifest


def tell_ranker(ranking: Mapping[str, Any]) -> None:
    """One line in the log: which ranker serves, and why."""
    log.info("ranker serves", ranker=ranking["ranker"], reason=ranking["reason"])


def tell_gate(report: GateReport) -> None:
    """One line in the log, as loud as it concerns those who watch."""
    tell = {Outcome.PROMOTED: log.info, Outcome.KEPT: log.warning, Outcome.REJECTED: log.error}
    outcome, reason = report.verdict.outcome, report.verdict.reason
    tell[outcome]("the gate decided", version=report.version, outcome=outcome.value, reason=reason)


def push_gate(environment: Environment, report: GateReport) -> None:
    """Push what the gate said where a gateway is set, as a group of its own."""
    if environment.pushgateway_url is not None:
        push_gauges(environment.pushgateway_url, GATE_PUSH_JOB, pushed(report))


def version_name(as_of: int, run_id: str) -> str:
    """Sorts by the moment that it knows, and is found in MLflow by its end."""
    moment = datetime.fromtimestamp(as_of / 1000, UTC)
    return f"{moment:%Y%m%dT%H%M%SZ}-{run_id[:8]}"


def created_at() -> str:
    """Now, by the clock: when the training ended."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def training_window(events: Interactions) -> dict[str, str]:
    """The moments of the first and the last event."""
    first, last = int(events.timestamps[0]), int(events.timestamps[-1])
    return {"from": format_moment(first), "to": format_moment(last)}


def items_of_catalogue(catalogue: Catalogue | None) -> frozenset[str]:
    """The ids of all that the shop says it sells."""
    return frozenset(catalogue.items["item_id"].to_pylist()) if catalogue else frozenset()


def counts(events: Interactions) -> dict[str, int]:
    """How much was trained on."""
    return {
        "events": len(events),
        "users": len(events.user_ids),
        "items": len(events.item_ids),
    }


def log_headline(evaluation: Evaluation) -> None:
    """One line a protocol and model: what SageMaker's metric expressions read from the log."""
    for protocol, models in evaluation.items():
        for model, metrics in models.items():
            log.info(
                "evaluated", protocol=protocol, model=model, **{k: round(v, 5) for k, v in metrics.items()}
            )


def push(environment: Environment, steps: Steps, evaluation: Evaluation, *, n_events: int) -> None:
    """Push the run's figures where a gateway is set."""
    if environment.pushgateway_url is None:
        return
    values: list[Measured] = [(TRAINING_EVENTS, {}, n_events)]
    values += [(TRAINING_STEP_SECONDS, {"step": name}, seconds) for name, seconds in steps.seconds.items()]
    values += [
        (TRAINING_QUALITY, {"protocol": protocol, "model": model, "metric": name}, value)
        for protocol, models in evaluation.items()
        for model, metrics in models.items()
        for name, value in metrics.items()
    ]
    push_gauges(environment.pushgateway_url, PUSH_JOB, values)
