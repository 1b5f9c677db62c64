"""One training run, top to bottom: events in, a version of recommendations out, all of it in MLflow."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from contract.gate import Outcome
from contract.metrics import (
    TRAINING_EVENTS,
    TRAINING_ITEMS,
    TRAINING_PEAK_MEMORY,
    TRAINING_QUALITY,
    TRAINING_RUN,
    TRAINING_STEP_SECONDS,
    TRAINING_USERS,
)
from contract.recommendations import Manifest
from contract.s3_layout import EVENTS_PREFIX
from training.candidates.sources import refuse_unknown_sources
from training.checkpoints import Keep, keep_nothing
from training.data_report.profile import DataProfile, profile_events
from training.errors import TooLittleDataError
from training.gate import GateReport, Live, Weighed, inspect, pushed, read_live, told, weigh_recipe
from training.inputs import Inputs, checkpoints_of, read_inputs
from training.judged import Evaluation, Metrics
from training.lists import Lists
from training.metrics import Measured, push_gauges
from training.model_report.material import Material, SinceCutOff
from training.model_report.report import report_page
from training.recipe import fit_served
from training.rehearsal import Insight, rehearse
from training.release import release
from training.served import Served
from training.settings import Environment, Hyperparameters
from training.steps import Steps, peak_mb
from training.storage import Folder
from training.tracking import (
    log_data_profile,
    log_dataset,
    log_evaluation,
    log_gate,
    log_notes,
    log_parameters,
    log_report,
    log_rows,
    log_steps,
    tracked_run,
)
from training.verdict import decide, objection_to_recipe

log = structlog.get_logger()

PUSH_JOB = "training"
GATE_PUSH_JOB = "training_gate"


def train(
    *,
    channels: Path,
    model_folder: Path,
    settings: Hyperparameters,
    environment: Environment,
    checkpoint_folder: Path | None = None,
) -> GateReport:
    """Read events, evaluate on held-out days, ask the gate, refit on everything, publish; what the gate said.

    `channels` holds `events/` and, where there is one, `catalogue/`. Only a version that the gate promotes is
    published. A run that was interrupted, started again with the same inputs and the same
    `checkpoint_folder`, goes on where it was, in the same run of MLflow, for a version of the same name.

    Raises UserError for what the caller can mend. Whatever fails, no manifest is written, so nothing can be
    loaded that isn't whole.
    """
    refuse_unknown_sources(settings.without_sources)
    steps = Steps()
    output = Folder(environment.recommendations_uri)
    with steps.step("read"):
        inputs = read_inputs(channels, output, settings)
    checkpoints = checkpoints_of(checkpoint_folder, inputs, settings) if checkpoint_folder else None
    keep: Keep = checkpoints or keep_nothing

    def fit_before(moment: int) -> Served[Lists]:
        known = inputs.events.before(moment)
        return fit_served(known, now=moment, settings=settings, catalogue=inputs.catalogue, keep=keep)

    with tracked_run(environment, keep) as run:
        version = version_name(inputs.now - 1, run.run_id)
        identity = {**inputs.identity, "code_version": environment.code_version}
        log_parameters(settings, tags=identity)
        log_dataset(channels / EVENTS_PREFIX, inputs.dataset_fingerprint, counts=inputs.counts)
        with steps.step("evaluate"):
            rehearsal = rehearse(inputs, fit_before, settings=settings, keep=keep)
            evaluation, insight = rehearsal.evaluation, rehearsal.insight
            log_evaluation(evaluation)
            log_rows(evaluation, rehearsal.windows)
            log_headline(evaluation)
        with steps.step("gate"):
            live = live_version(output, inputs, settings)
            weighed = weigh_recipe(
                live,
                inputs.events,
                now=inputs.now,
                evaluation=evaluation,
                fit_before=fit_before,
                settings=settings,
            )
            verdict = objection_to_recipe(weighed.evidence, settings)
        served = lists = None
        if verdict is None:
            with steps.step("fit"):
                served = fit_before(inputs.now)
                insight = Insight.of(served)
            with steps.step("inspect"):
                lists = inspect(
                    served, live, inputs.events, now=inputs.now, catalogue_items=inputs.catalogue_items
                )
                verdict = decide(weighed.evidence, lists, settings)
        gate = GateReport(version, verdict, weighed.evidence, lists, settings)
        tell(insight, gate)
        with steps.step("report"):
            page = report_page(
                Material(
                    gate=gate,
                    evaluation=evaluation,
                    windows=rehearsal.windows,
                    since_cut_off=since_cut_off(live, weighed),
                    learnt=insight.notes,
                    examples=insight.examples,
                    is_release=served is not None,
                    category_of=insight.category_of,
                    profile=profile_of(channels, inputs),
                    counts=inputs.counts,
                    training_window=inputs.training_window,
                    identity={**identity, **run.in_mlflow},
                    seconds=dict(steps.seconds),
                )
            )
            log_report(page)
        with told(gate, page, model_folder=Folder(model_folder), output=output):
            if served is not None and verdict.outcome is Outcome.PROMOTED:
                with steps.step("publish"):
                    manifest = manifest_of(
                        served,
                        version,
                        inputs=inputs,
                        evaluation=evaluation,
                        settings=settings,
                        environment=environment,
                        in_mlflow=run.in_mlflow,
                    )
                    release(served, manifest, model_folder=model_folder, environment=environment, keep=keep)
        log_steps(steps.seconds)
    push(
        environment,
        steps,
        evaluation,
        counts=inputs.counts,
        version=version,
        mlflow_run=run.in_mlflow.get("run_id", ""),
    )
    push_gate(environment, gate)
    if checkpoints:
        checkpoints.discard()
    log.info("trained", version=version, outcome=verdict.outcome.value, **inputs.counts)
    return gate


def manifest_of(
    served: Served[Lists],
    version: str,
    *,
    inputs: Inputs,
    evaluation: Evaluation,
    settings: Hyperparameters,
    environment: Environment,
    in_mlflow: Mapping[str, str],
) -> Manifest:
    """What is told of a version, but for its files."""
    return Manifest(
        version=version,
        as_of=inputs.as_of,
        created_at=created_at(),
        training_window=inputs.training_window,
        dataset_fingerprint=inputs.dataset_fingerprint,
        code_version=environment.code_version,
        counts=inputs.counts,
        files=(),
        metrics=dict(evaluation),
        blend_weights=served.weights,
        exclude_purchased=served.exclude_purchased,
        exclude_purchased_by_category=dict(served.exclude_purchased_by_category),
        mlflow=dict(in_mlflow),
        notes={**served.notes, "hyperparameters": settings.strings()},
    )


def live_version(output: Folder, inputs: Inputs, settings: Hyperparameters) -> Live | None:
    """What is served now, as far as the gate asks it."""
    if inputs.served is None:
        return None
    return read_live(output, inputs.served, inputs.events, now=inputs.now, settings=settings)


def since_cut_off(live: Live | None, weighed: Weighed) -> SinceCutOff | None:
    """The comparison with what is served, row by row."""
    if live is None or weighed.recipe is None or weighed.served is None:
        return None
    return SinceCutOff(window=live.window, recipe=weighed.recipe, champion=weighed.served)


def profile_of(channels: Path, inputs: Inputs) -> DataProfile | None:
    """What the latest days look like; None where nothing happened in them."""
    try:
        profile = profile_events(Folder(channels), as_of_ms=inputs.as_of_ms)
    except TooLittleDataError as error:
        log.warning("no profile of the events", reason=str(error))
        return None
    log_data_profile(profile)
    return profile


def tell(insight: Insight, gate: GateReport) -> None:
    """What the recipe chose and what the gate decided, into MLflow and, a line each, into the log."""
    if insight.notes:
        log_notes(insight.notes)
        ranking: Mapping[str, Any] = insight.notes["ranking"]
        log.info("ranker serves", ranker=ranking["ranker"], reason=ranking["reason"])
    log_gate(gate)
    outcome, reason = gate.verdict.outcome, gate.verdict.reason
    # As loud as it concerns those who watch.
    levels = {Outcome.PROMOTED: log.info, Outcome.KEPT: log.warning, Outcome.REJECTED: log.error}
    levels[outcome]("the gate decided", version=gate.version, outcome=outcome.value, reason=reason)


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


def log_headline(evaluation: Evaluation) -> None:
    """One line a protocol and model: what SageMaker's metric expressions read from the log."""
    for protocol, models in evaluation.items():
        for model, metrics in models.items():
            log.info(
                "evaluated", protocol=protocol, model=model, **{k: round(v, 5) for k, v in metrics.items()}
            )


def push(
    environment: Environment,
    steps: Steps,
    evaluation: Mapping[str, Mapping[str, Metrics]],
    *,
    counts: Mapping[str, int],
    version: str,
    mlflow_run: str,
) -> None:
    """Push the run's figures where a gateway is set; `counts` are of `events`, `users` and `items`."""
    if environment.pushgateway_url is None:
        return
    values: list[Measured] = [
        (TRAINING_EVENTS, {}, counts["events"]),
        (TRAINING_USERS, {}, counts["users"]),
        (TRAINING_ITEMS, {}, counts["items"]),
        (TRAINING_PEAK_MEMORY, {}, peak_mb() * 2**20),
        (TRAINING_RUN, {"version": version, "mlflow_run": mlflow_run}, 1),
    ]
    values += [(TRAINING_STEP_SECONDS, {"step": name}, seconds) for name, seconds in steps.seconds.items()]
    values += [
        (TRAINING_QUALITY, {"protocol": protocol, "model": model, "metric": name}, value)
        for protocol, models in evaluation.items()
        for model, metrics in models.items()
        for name, value in metrics.items()
    ]
    push_gauges(environment.pushgateway_url, PUSH_JOB, values)
