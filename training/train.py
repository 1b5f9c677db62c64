"""One training run, top to bottom: events in, a version of recommendations out, all of it in MLflow."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from contract.metrics import TRAINING_EVENTS, TRAINING_QUALITY, TRAINING_STEP_SECONDS
from contract.recommendations import Manifest
from contract.s3_layout import version_prefix
from training.errors import TooLittleDataError
from training.evaluation import Metrics, evaluate
from training.events import dataset_fingerprint, read_events
from training.interactions import Interactions
from training.lists import Lists
from training.metrics import Measured, push_gauges
from training.moments import MILLISECONDS_A_DAY, format_moment, parse_moment
from training.publish import copy_version, publish_version
from training.recipe import fit_served
from training.served import Served
from training.settings import Environment, Hyperparameters
from training.split import Window, windows
from training.storage import Folder
from training.tracking import log_evaluation, log_model, log_parameters, tracked_run

log = structlog.get_logger()

PUSH_JOB = "training"


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
    *, events_folder: Path, model_folder: Path, settings: Hyperparameters, environment: Environment
) -> Manifest:
    """Read events, evaluate on held-out days, refit on everything, publish; the version's manifest.

    Raises UserError for what the caller can mend. Whatever fails, no manifest is written, so nothing
    can be loaded that isn't whole.
    """
    steps = Steps()
    with tracked_run(environment) as run:
        with steps.step("read"):
            as_of = parse_moment(settings.as_of) if settings.as_of else None
            table = read_events(events_folder, as_of_ms=as_of)
            fingerprint = dataset_fingerprint(table)
            events = Interactions.from_table(table, settings.targets)
            del table
            refuse_without_targets(events)
        # Everything known lies before `now`; without an `as_of` that is just after the last event.
        now = as_of + 1 if as_of is not None else int(events.timestamps[-1]) + 1
        log_parameters(
            settings.model_dump(),
            tags={
                "dataset_fingerprint": fingerprint,
                "code_version": environment.code_version,
                "as_of": format_moment(now - 1),
            },
        )
        with steps.step("evaluate"):
            evaluation = evaluate_recipe(events, now=now, settings=settings)
            log_evaluation(evaluation)
            log_headline(evaluation)
        with steps.step("fit"):
            served = fit_served(events, now=now, settings=settings)
        with steps.step("publish"):
            manifest = Manifest(
                version=version_name(now - 1, run.info.run_id),
                as_of=format_moment(now - 1),
                created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                training_window={
                    "from": format_moment(int(events.timestamps[0])),
                    "to": format_moment(int(events.timestamps[-1])),
                },
                dataset_fingerprint=fingerprint,
                code_version=environment.code_version,
                counts=counts(events),
                files=(),
                metrics=dict(evaluation),
                blend_weights=served.weights,
                exclude_purchased=served.exclude_purchased,
                mlflow={"run_id": run.info.run_id, "experiment": environment.mlflow_experiment},
            )
            manifest = publish(served.lists, manifest, model_folder=model_folder, environment=environment)
    push(environment, steps, evaluation, n_events=len(events))
    log.info("trained", version=manifest.version, **manifest.counts)
    return manifest


def refuse_without_targets(events: Interactions) -> None:
    """Raise TooLittleDataError where nothing was ever carted or bought: there is nothing to aim at."""
    if not events.is_target.any():
        kinds = ", ".join(events.event_type_names)
        raise TooLittleDataError(
            f"there is no {' and no '.join(events.targets)} among {len(events)} events (kinds: {kinds}); "
            "if they go by another name, import again with --event-type theirs=purchase"
        )


def evaluate_recipe(
    events: Interactions, *, now: int, settings: Hyperparameters
) -> dict[str, dict[str, Metrics]]:
    """Both protocols over the windows that the events' span can fill; empty where it can't fill any."""
    try:
        held_out = windows(events, days=settings.evaluation_days, count=settings.evaluation_windows, end=now)
    except TooLittleDataError as error:
        log.warning("not evaluated", reason=str(error))
        return {"batch": {}, "session": {}}
    tell_shrunk_windows(held_out, settings)

    def served_at(window: Window) -> Served[Lists]:
        return fit_served(events.before(window.start), now=window.start, settings=settings)

    return evaluate(
        held_out,
        events=events,
        served_at=served_at,
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


def version_name(as_of: int, run_id: str) -> str:
    """Sorts by the moment that it knows, and is found in MLflow by its end."""
    moment = datetime.fromtimestamp(as_of / 1000, UTC)
    return f"{moment:%Y%m%dT%H%M%SZ}-{run_id[:8]}"


def counts(events: Interactions) -> dict[str, int]:
    """How much was trained on."""
    return {
        "events": len(events),
        "users": len(events.user_ids),
        "items": len(events.item_ids),
    }


def log_headline(evaluation: dict[str, dict[str, Metrics]]) -> None:
    """One line a protocol and model: what SageMaker's metric expressions read from the log."""
    for protocol, models in evaluation.items():
        for model, metrics in models.items():
            log.info(
                "evaluated", protocol=protocol, model=model, **{k: round(v, 5) for k, v in metrics.items()}
            )


def push(
    environment: Environment, steps: Steps, evaluation: dict[str, dict[str, Metrics]], *, n_events: int
) -> None:
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
