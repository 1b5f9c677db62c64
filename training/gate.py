"""The gate: what a new recipe and its lists are measured against before anybody sees them.

The served version's stored lists and today's recipe, learnt from nothing later than that version's cut-off,
answer the same users on the days since, through the same code; `training.verdict` says what follows. Old
code is never needed: what it made lies in the version.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from contract.events import Event
from contract.gate import GATE_NAME, GATE_SCHEMA_VERSION, Outcome
from contract.metrics import TRAINING_GATE_DIFFERENCE, TRAINING_GATE_OUTCOME, TRAINING_GATE_USERS
from contract.recommendations import Manifest
from contract.s3_layout import MODEL_REPORT_NAME, gate_key, model_report_key
from training.bootstrap import paired_difference
from training.errors import VersionError
from training.evaluation import LookAheadError, evaluate
from training.interactions import IntArray, Interactions
from training.judged import PROTOCOLS, SERVED, Evaluation
from training.lists import Lists
from training.metrics import Measured
from training.moments import format_moment, parse_moment
from training.publish import read_manifest
from training.served import Served, ServedLists
from training.settings import Hyperparameters
from training.split import Window
from training.storage import Folder
from training.stored_lists import FIRST_PLACES, ListsProfile, StoredLists, profile_of, read_served
from training.verdict import (
    Difference,
    ListsEvidence,
    RecipeEvidence,
    ServedVersion,
    Verdict,
    is_comparable,
)
from training.visitors import visitors

JUDGED_METRICS = ("recall@10", "precision@10")
POPULAR = "popular"
OVERLAP_USERS = 500
"""At most so many users' answers are compared with what they are shown now."""


@dataclass(frozen=True)
class Live:
    """The version that is served now, read back as far as the gate asks it."""

    version: ServedVersion
    served: Served[StoredLists]
    profile: ListsProfile
    window: Window
    """The days since its cut-off; empty where its cut-off is the training's own."""
    users: int
    """How many carted or bought in them, `evaluation_max_users` at most."""
    since: dict[str, list[Event]]
    """What some of those did since, newest first, who had events before: whose answers are compared."""


def manifest_of_served(folder: Folder, settings: Hyperparameters) -> Manifest | None:
    """The manifest of the version that is served; None before the first one.

    Raises VersionError, naming setting and version, where it is missing or can't be read.
    """
    if settings.served_version is None:
        return None
    with _advising(settings.served_version):
        return read_manifest(folder, settings.served_version)


def read_live(
    folder: Folder, manifest: Manifest, events: Interactions, *, now: int, settings: Hyperparameters
) -> Live:
    """The lists of the served version, of those users who are asked about.

    Raises VersionError, naming setting and file, where a file is missing or damaged, and LookAheadError
    where the lists know more than their manifest says.
    """
    as_of = parse_moment(manifest.as_of)
    window = Window(as_of + 1, max(as_of + 1, now))
    found = visitors(events, window, max_users=settings.evaluation_max_users, seed=settings.seed)
    known = events.before(window.start).distinct_users()
    sample = _sample(known, OVERLAP_USERS, seed=settings.seed)
    since = _newest_first(events.between(window.start, window.end), sample)
    items = {event.item_id for did in [*since.values(), *(each.live for each in found)] for event in did}
    users = {each.user_id for each in found} | since.keys()
    with _advising(manifest.version):
        served, profile = read_served(folder, manifest, users=users, items=items)
    if served.until > window.start:
        raise LookAheadError(
            f"version {manifest.version} says that it knows events up to {manifest.as_of}, "
            f"and its histories reach {format_moment(served.until - 1)}"
        )
    return Live(
        version=ServedVersion(
            version=manifest.version,
            as_of=as_of,
            last_event=parse_moment(manifest.training_window.get("to", manifest.as_of)),
        ),
        served=served,
        profile=profile,
        window=window,
        users=len(found),
        since=since,
    )


@dataclass(frozen=True)
class Weighed:
    """What the gate goes by, and row by row the evaluations that it was told from."""

    evidence: RecipeEvidence
    recipe: Evaluation | None = None
    """Since the served version's cut-off; None where that wasn't compared."""
    served: Evaluation | None = None


def weigh_recipe(
    live: Live | None,
    events: Interactions,
    *,
    now: int,
    evaluation: Evaluation,
    fit_before: Callable[[int], Served[Lists]],
    settings: Hyperparameters,
) -> Weighed:
    """How the recipe does against popularity and, on the days that the live version doesn't know, against it.

    `evaluation` is that of the recipe on the windows of all events; `fit_before` learns from what came before
    a moment, and from nothing later. Raises LookAheadError where either knows a day that it is judged on.
    """
    floor = against_popular(evaluation, measured_on="evaluation_windows", seed=settings.seed)
    if live is None:
        return Weighed(RecipeEvidence(as_of=now - 1, served=None, against_popular=floor))
    evidence = RecipeEvidence(
        as_of=now - 1,
        served=live.version,
        users=live.users,
        events_before=len(events.before(live.window.start)),
        against_popular=floor,
    )
    if not is_comparable(evidence, settings):
        return Weighed(evidence)
    recipe = fit_before(live.window.start)
    ours = _evaluate(live.window, events, recipe, (SERVED, POPULAR), settings)
    same_shop = replace(live.served, category_of=recipe.category_of, unavailable=recipe.unavailable)
    theirs = _evaluate(live.window, events, same_shop, (SERVED,), settings)
    evidence = replace(
        evidence,
        against_served=differences(
            ours, theirs, against=SERVED, measured_on="since_cut_off", seed=settings.seed
        ),
        against_popular=(*floor, *against_popular(ours, measured_on="since_cut_off", seed=settings.seed)),
    )
    return Weighed(evidence, recipe=ours, served=theirs)


def against_popular(evaluation: Evaluation, *, measured_on: str, seed: int) -> tuple[Difference, ...]:
    """How what would be served does against popularity; nothing where there was nobody to judge by."""
    return differences(
        evaluation, evaluation, against=POPULAR, their_model=POPULAR, measured_on=measured_on, seed=seed
    )


def differences(
    ours: Evaluation,
    theirs: Evaluation,
    *,
    against: str,
    measured_on: str,
    seed: int,
    their_model: str = SERVED,
) -> tuple[Difference, ...]:
    """Our served lists less their model's, by protocol and metric, over the same users and windows."""
    found = []
    for protocol in PROTOCOLS:
        if SERVED not in ours.judged[protocol] or not len(ours.judged[protocol][SERVED].rows):
            continue
        our_rows = ours.judged[protocol][SERVED].rows
        their_rows = theirs.judged[protocol][their_model].rows
        if not np.array_equal(our_rows.users, their_rows.users):
            raise AssertionError(f"{protocol}: what is compared was not measured on the same users")
        for metric in JUDGED_METRICS:
            our_values, their_values = our_rows.values[metric], their_rows.values[metric]
            found.append(
                Difference(
                    against=against,
                    measured_on=measured_on,
                    protocol=protocol,
                    metric=metric,
                    users=len(our_rows),
                    challenger=float(np.mean(our_values)),
                    other=float(np.mean(their_values)),
                    difference=paired_difference(our_values, their_values, our_rows.users, seed=seed),
                )
            )
    return tuple(found)


def inspect(
    refit: Served[Lists],
    live: Live | None,
    events: Interactions,
    *,
    now: int,
    catalogue_items: AbstractSet[str] = frozenset(),
) -> ListsEvidence:
    """What the lists look like that the recipe made of all `events`, beside those that are served.

    Items that only the catalogue knows may be shown as well as those of events.
    """
    known_items = catalogue_items | set(events.item_ids.tolist())
    profile = profile_of(refit.lists.tables())
    shown_by_both = _overlaps(refit, live, now=now) if live else []
    return ListsEvidence(
        users=len(events.distinct_users()),
        users_with_list=profile.personal,
        empty_lists=profile.empty_lists,
        popular_items=profile.popular_items,
        fill=profile.fill(len(known_items)),
        unknown_items=len(profile.items - known_items),
        coverage=len(profile.first_items),
        served_coverage=len(live.profile.first_items) if live else None,
        overlap=float(np.mean(shown_by_both)) if shown_by_both else None,
        overlap_users=len(shown_by_both),
    )


@dataclass(frozen=True)
class GateReport:
    """All that the gate measured and said about one version: `gate.json`."""

    version: str
    verdict: Verdict
    recipe: RecipeEvidence
    lists: ListsEvidence | None
    """None where the recipe was turned away before it made any."""
    settings: Hyperparameters

    def to_json(self) -> str:
        """The document, for people to read, too."""
        return json.dumps(self.document(), indent=2)

    def document(self) -> dict[str, Any]:
        """As JSON has it; `contract.gate.GateDecision` reads the part that programs act on."""
        served = self.recipe.served
        return {
            "schema_version": GATE_SCHEMA_VERSION,
            "version": self.version,
            "as_of": format_moment(self.recipe.as_of),
            "outcome": self.verdict.outcome.value,
            "reason": self.verdict.reason,
            "served_version": served and {"version": served.version, "as_of": format_moment(served.as_of)},
            "users_since_cut_off": self.recipe.users,
            "against_served": [asdict(each) for each in self.recipe.against_served],
            "against_popular": [asdict(each) for each in self.recipe.against_popular],
            "lists": self.lists and asdict(self.lists),
            "limits": {
                name: value for name, value in self.settings.model_dump().items() if name.startswith("gate_")
            },
        }


@contextlib.contextmanager
def told(report: GateReport, page: str, *, model_folder: Folder, output: Folder) -> Iterator[None]:
    """Leave `gate.json` and the report beside the model and in the bucket, unless the block fails.

    What comes after them, the version, so finds them there; and no decision is left of a run that failed.
    Raises VersionError where the bucket can't be written.
    """
    decision = report.to_json()
    places = (
        (model_folder, GATE_NAME, decision),
        (model_folder, MODEL_REPORT_NAME, page),
        (output, gate_key(report.version), decision),
        (output, model_report_key(report.version), page),
    )
    with contextlib.ExitStack() as undo:
        for folder, key, text in places:
            try:
                folder.write(key, text.encode())
            except OSError as error:
                raise VersionError(f"{folder.uri_of(key)}: can't be written: {error}") from error
            undo.callback(folder.delete, key)
        yield
        undo.pop_all()


def pushed(report: GateReport) -> list[Measured]:
    """The gate's figures for the pushgateway."""
    outcomes: list[Measured] = [
        (TRAINING_GATE_OUTCOME, {"outcome": outcome.value}, float(outcome is report.verdict.outcome))
        for outcome in Outcome
    ]
    return [
        *outcomes,
        (TRAINING_GATE_USERS, {}, report.recipe.users),
        *(
            (TRAINING_GATE_DIFFERENCE, {**each.labels, "bound": bound}, value)
            for each in report.recipe.differences
            for bound, value in asdict(each.difference).items()
        ),
    ]


@contextlib.contextmanager
def _advising(version: str) -> Iterator[None]:
    """Let errors of reading the served version name the setting, and what else can be done."""
    try:
        yield
    except VersionError as error:
        raise VersionError(
            f"served_version={version}: {error} (without served_version the gate goes by popularity "
            "and by what the lists look like)"
        ) from error


def _evaluate(
    window: Window,
    events: Interactions,
    served: Served[ServedLists],
    models: Sequence[str],
    settings: Hyperparameters,
) -> Evaluation:
    return evaluate(
        [window],
        events=events,
        served_at=lambda _: served,
        max_users=settings.evaluation_max_users,
        seed=settings.seed,
        models=models,
    )


def _overlaps(refit: Served[Lists], live: Live, *, now: int) -> list[float]:
    """Of each user whom both versions know: the share of the ten items shown now that would stay."""
    shares = []
    for user, since in live.since.items():
        if not live.served.lists.history_of(user) or not refit.lists.history_of(user):
            continue
        shown = live.served.answer(user, since, now=now, limit=FIRST_PLACES)
        stays = set(shown) & set(refit.answer(user, [], now=now, limit=FIRST_PLACES))
        if shown:
            shares.append(len(stays) / len(shown))
    return shares


def _sample(users: IntArray, count: int, *, seed: int) -> IntArray:
    if len(users) <= count:
        return users
    return np.sort(np.random.default_rng(seed).choice(users, count, replace=False))


def _newest_first(events: Interactions, users: IntArray) -> dict[str, list[Event]]:
    """The events of each of these users, by their id, newest first; none for who has none."""
    theirs = np.flatnonzero(np.isin(events.users, users))[::-1]
    order = theirs[np.argsort(events.users[theirs], kind="stable")]
    starts = np.searchsorted(events.users[order], users, side="left")
    ends = np.searchsorted(events.users[order], users, side="right")
    return {
        events.user_ids[user]: Lists.events_of(events, order[start:end])
        for user, start, end in zip(users, starts, ends, strict=True)
    }
