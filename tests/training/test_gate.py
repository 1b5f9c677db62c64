"""The gate: its decision for any evidence, its measurements on shops whose answer is known, its report."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.gate import GateDecision, GateDecisionError, Outcome
from contract.metrics import TRAINING_GATE_OUTCOME
from contract.recommendations import EVERYTHING, ListKind, Manifest
from tests.training import published
from tests.training.shops import DAY, START
from training.bootstrap import Interval
from training.errors import VersionError
from training.evaluation import LookAheadError
from training.events import read_events
from training.gate import (
    GateReport,
    Live,
    inspect,
    manifest_of_served,
    pushed,
    read_live,
    told,
    weigh_recipe,
)
from training.generate_shop import generate_shop
from training.import_events import import_events
from training.interactions import Interactions
from training.judged import Evaluation
from training.lists import Lists
from training.moments import format_moment
from training.publish import publish_version
from training.recipe import fit_served
from training.served import Served
from training.settings import Hyperparameters
from training.shop.simulation import ShopSettings
from training.storage import Folder
from training.stored_lists import NotKeptError, profile_of, read_served
from training.verdict import (
    Difference,
    ListsEvidence,
    RecipeEvidence,
    ServedVersion,
    decide,
    is_comparable,
    objection_to_recipe,
)

SETTINGS = Hyperparameters(als_factors=8, als_iterations=3, served_version="live", gate_min_users=30)
LIVE = ServedVersion(version="live", as_of=START, last_event=START)


def difference(value: float = 0.0, width: float = 0.01, **fields: Any) -> Difference:
    whole = {
        "against": "served",
        "measured_on": "since_cut_off",
        "protocol": "session",
        "metric": "recall@10",
        "users": 500,
        "challenger": 0.3 + value,
        "other": 0.3,
        "difference": Interval(value, value - width, value + width),
    }
    return Difference(**(whole | fields))


def recipe(*against_served: Difference, **fields: Any) -> RecipeEvidence:
    whole = {
        "as_of": START + DAY,
        "served": LIVE,
        "users": 500,
        "events_before": 1000,
        "against_served": against_served or (difference(),),
        "against_popular": (difference(0.1, against="popular", measured_on="evaluation_windows"),),
    }
    return RecipeEvidence(**(whole | fields))


def lists(**fields: Any) -> ListsEvidence:
    whole = {
        "users": 100,
        "users_with_list": 100,
        "empty_lists": 0,
        "popular_items": 50,
        "fill": 1.0,
        "unknown_items": 0,
        "coverage": 200,
        "served_coverage": 200,
        "overlap": 0.5,
        "overlap_users": 80,
    }
    return ListsEvidence(**(whole | fields))


def below_popularity(**fields: Any) -> Difference:
    return difference(-0.1, against="popular", **({"measured_on": "evaluation_windows"} | fields))


# The decision


def test_not_worse_is_promoted_with_its_figures() -> None:
    verdict = decide(recipe(difference(0.002)), lists(), SETTINGS)
    assert verdict.outcome is Outcome.PROMOTED
    assert verdict.reason == (
        "it is not worse than the served version live: session recall@10 is 0.3020 against 0.3000, "
        "a difference of +0.0020 (95 % interval -0.0080 to +0.0120, 500 users)"
    )


def test_better_is_said_to_be() -> None:
    verdict = decide(recipe(difference(0.1)), lists(), SETTINGS)
    assert verdict.outcome is Outcome.PROMOTED
    assert verdict.reason.startswith("it is better than the served version live: session recall@10 is 0.4000")


@pytest.mark.parametrize("protocol", ["batch", "session"])
@pytest.mark.parametrize("metric", ["recall@10", "precision@10"])
def test_surely_worse_in_any_figure_keeps_what_is_served(protocol: str, metric: str) -> None:
    worse = difference(-0.05, protocol=protocol, metric=metric)
    verdict = decide(recipe(difference(0.1), worse), lists(), SETTINGS)
    assert verdict.outcome is Outcome.KEPT
    assert (
        f"worse than the served version live: {protocol} {metric} is 0.2500 against 0.3000" in verdict.reason
    )


def test_worse_within_the_tolerance_is_promoted() -> None:
    hardly = difference(-0.0025, width=0.0001)
    assert decide(recipe(hardly), lists(), SETTINGS).outcome is Outcome.PROMOTED
    strict = SETTINGS.model_copy(update={"gate_tolerance": 0.0})
    assert decide(recipe(hardly), lists(), strict).outcome is Outcome.KEPT


def test_maybe_worse_is_promoted() -> None:
    assert decide(recipe(difference(-0.05, width=0.06)), lists(), SETTINGS).outcome is Outcome.PROMOTED


@pytest.mark.parametrize("measured_on", ["evaluation_windows", "since_cut_off"])
def test_below_popularity_is_rejected_even_where_what_is_served_is_worse_still(measured_on: str) -> None:
    evidence = recipe(difference(0.1), against_popular=(below_popularity(measured_on=measured_on),))
    verdict = decide(evidence, lists(), SETTINGS)
    assert verdict.outcome is Outcome.REJECTED
    assert "worse than popularity: session recall@10 is 0.2000 against 0.3000" in verdict.reason


def test_a_handful_of_users_is_no_floor() -> None:
    few = below_popularity(users=SETTINGS.gate_min_floor_users - 1)
    assert decide(recipe(against_popular=(few,)), lists(), SETTINGS).outcome is Outcome.PROMOTED


def test_too_few_users_are_no_evidence_whatever_they_did() -> None:
    evidence = recipe(difference(-0.2), users=SETTINGS.gate_min_users - 1)
    verdict = decide(evidence, lists(), SETTINGS)
    assert verdict.outcome is Outcome.PROMOTED
    assert "no evidence against it: 29 users carted or bought since the cut-off" in verdict.reason
    assert "better than popularity: session recall@10 is 0.4000 against 0.3000" in verdict.reason
    floored = replace(evidence, against_popular=(below_popularity(),))
    assert decide(floored, lists(), SETTINGS).outcome is Outcome.REJECTED


def test_events_of_after_the_cut_off_alone_are_no_evidence() -> None:
    verdict = decide(recipe(events_before=0, against_served=()), lists(), SETTINGS)
    assert verdict.outcome is Outcome.PROMOTED
    assert "no event up to the cut-off of the served version live" in verdict.reason


def test_a_first_version_over_the_floor_is_promoted() -> None:
    verdict = decide(recipe(served=None, users=0), lists(served_coverage=None, overlap=None), SETTINGS)
    assert verdict.outcome is Outcome.PROMOTED
    assert verdict.reason.startswith("it is the first version")
    verdict = decide(recipe(served=None, against_popular=()), lists(served_coverage=None), SETTINGS)
    assert "too few users carted or bought to compare it with popularity" in verdict.reason


def test_what_knows_less_than_is_served_never_replaces_it() -> None:
    verdict = decide(recipe(as_of=START - 1), lists(), SETTINGS)
    assert verdict.outcome is Outcome.KEPT
    assert f"knows events up to {format_moment(START)}" in verdict.reason
    quiet = replace(LIVE, as_of=START + DAY, last_event=START - 1)
    evidence = recipe(as_of=START - 1, served=quiet, users=0)
    assert decide(evidence, lists(), SETTINGS).outcome is Outcome.PROMOTED


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"popular_items": 0}, "the popular list is empty"),
        ({"empty_lists": 3}, "3 lists are empty"),
        ({"unknown_items": 2}, "they show 2 items that neither events nor catalogue know"),
        ({"users_with_list": 89}, "89 of 100 users have a personal list, expected are at least 90%"),
        ({"fill": 0.1}, "filled to 10%, expected are at least 30%"),
        ({"coverage": 10}, "show 10 different items in their first ten places, those that are served 200"),
        ({"overlap": 0.0}, "of what 80 users are shown now, 0.0% stays, expected is at least 1%"),
    ],
)
def test_implausible_lists_are_rejected(broken: dict[str, Any], reason: str) -> None:
    verdict = decide(recipe(), lists(**broken), SETTINGS)
    assert verdict.outcome is Outcome.REJECTED
    assert reason in verdict.reason


def test_lists_with_nobody_in_both_versions_are_judged_without_overlap() -> None:
    assert decide(recipe(), lists(overlap=None, overlap_users=0), SETTINGS).outcome is Outcome.PROMOTED


ends = st.floats(-1, 1, allow_nan=False)


@st.composite
def any_difference(draw: st.DrawFn) -> Difference:
    low, value, high = sorted(draw(st.tuples(ends, ends, ends)))
    return difference(
        against=draw(st.sampled_from(["served", "popular"])),
        protocol=draw(st.sampled_from(["batch", "session"])),
        metric=draw(st.sampled_from(["recall@10", "precision@10"])),
        users=draw(st.integers(1, 1000)),
        other=draw(st.sampled_from([0.0, 0.001, 0.3, 1.0])),
        difference=Interval(value, low, high),
    )


any_differences = st.lists(any_difference(), max_size=4).map(tuple)
any_recipe = st.builds(
    RecipeEvidence,
    as_of=st.integers(START - 1, START + 1),
    served=st.sampled_from([None, LIVE]),
    users=st.integers(0, 200),
    events_before=st.integers(0, 1),
    against_served=any_differences,
    against_popular=any_differences,
)
any_lists = st.builds(
    ListsEvidence,
    users=st.integers(1, 100),
    users_with_list=st.integers(0, 100),
    empty_lists=st.integers(0, 1),
    popular_items=st.integers(0, 1),
    fill=st.floats(0, 1),
    unknown_items=st.integers(0, 1),
    coverage=st.integers(0, 100),
    served_coverage=st.none() | st.integers(0, 100),
    overlap=st.none() | st.floats(0, 1),
    overlap_users=st.integers(0, 100),
)


@given(any_recipe, any_lists)
def test_any_evidence_has_one_verdict_with_a_reason(evidence: RecipeEvidence, made: ListsEvidence) -> None:
    verdict = decide(evidence, made, SETTINGS)
    assert verdict.outcome in set(Outcome)
    assert verdict.reason
    assert "None" not in verdict.reason
    assert verdict == decide(evidence, made, SETTINGS)
    objection = objection_to_recipe(evidence, SETTINGS)
    assert objection is None or objection == verdict
    if verdict.outcome is Outcome.KEPT:
        assert evidence.served is not None


@given(any_recipe, any_lists, st.floats(0.001, 1))
def test_better_figures_never_lead_to_a_worse_outcome(
    evidence: RecipeEvidence, made: ListsEvidence, gain: float
) -> None:
    def raised(differences: tuple[Difference, ...]) -> tuple[Difference, ...]:
        return tuple(
            replace(
                each,
                difference=Interval(
                    each.difference.value + gain, each.difference.low + gain, each.difference.high + gain
                ),
            )
            for each in differences
        )

    better = replace(
        evidence,
        against_served=raised(evidence.against_served),
        against_popular=raised(evidence.against_popular),
    )
    if decide(evidence, made, SETTINGS).outcome is Outcome.PROMOTED:
        assert decide(better, made, SETTINGS).outcome is Outcome.PROMOTED


@given(any_recipe, any_lists)
def test_without_objection_the_lists_alone_decide(evidence: RecipeEvidence, made: ListsEvidence) -> None:
    if objection_to_recipe(evidence, SETTINGS) is None:
        assert decide(evidence, made, SETTINGS).outcome is decide(recipe(), made, SETTINGS).outcome


# The measurements


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Interactions:
    folder = tmp_path_factory.mktemp("shop")
    generate_shop(ShopSettings(users=300, items=80, days=30, seed=5), folder / "shop.parquet")
    import_events([folder / "shop.parquet"], folder / "imported")
    return Interactions.from_table(read_events(folder / "imported/events"))


@pytest.fixture(scope="module")
def now(events: Interactions) -> int:
    return int(events.timestamps[-1]) + 1


@pytest.fixture(scope="module")
def cut_off(now: int) -> int:
    """The served version knows nothing from here on."""
    return now - 8 * DAY


def fitted(events: Interactions, moment: int) -> Served[Lists]:
    return fit_served(events.before(moment), now=moment, settings=SETTINGS)


@pytest.fixture(scope="module")
def at_cut_off(events: Interactions, cut_off: int) -> Served[Lists]:
    return fitted(events, cut_off)


def publish(folder: Folder, served: Served[Lists], until: int, version: str = "live") -> Manifest:
    manifest = replace(
        published.manifest(version),
        as_of=format_moment(until - 1),
        training_window={"from": format_moment(START), "to": format_moment(until - 1)},
        blend_weights=served.weights,
        exclude_purchased=served.exclude_purchased,
    )
    return publish_version(folder, served.lists.tables(), manifest=manifest)


@pytest.fixture
def live(folder: Folder, events: Interactions, now: int, cut_off: int, at_cut_off: Served[Lists]) -> Live:
    manifest = publish(folder, at_cut_off, cut_off)
    return read_live(folder, manifest, events, now=now, settings=SETTINGS)


def weigh(
    live: Live | None,
    events: Interactions,
    now: int,
    recipe_at: Any = None,
    settings: Hyperparameters = SETTINGS,
) -> RecipeEvidence:
    return weigh_recipe(
        live,
        events,
        now=now,
        evaluation=Evaluation.of_nothing(),
        fit_before=recipe_at or (lambda moment: fitted(events, moment)),
        settings=settings,
    ).evidence


def test_stored_lists_answer_as_those_in_memory(
    folder: Folder, events: Interactions, now: int, cut_off: int, at_cut_off: Served[Lists]
) -> None:
    manifest = publish(folder, at_cut_off, cut_off)
    users = {*events.user_ids.tolist(), "nobody"}
    meanwhile = {user: at_cut_off.lists.history_of(user)[:3] for user in sorted(users)}
    stored, profile = read_served(folder, manifest, users=users, items=set(events.item_ids.tolist()))
    assert profile == profile_of(at_cut_off.lists.tables())
    assert stored.until == cut_off
    for user, of_another in zip(sorted(users), reversed(meanwhile.values()), strict=True):
        for live_events in ([], of_another):
            shown = stored.answer(user, live_events, now=now, limit=20)
            assert shown == at_cut_off.answer(user, live_events, now=now, limit=20)
            assert shown


def test_whoever_was_not_read_cannot_be_asked(
    folder: Folder, at_cut_off: Served[Lists], cut_off: int
) -> None:
    someone, other = at_cut_off.lists.events.user_ids[:2]
    manifest = publish(folder, at_cut_off, cut_off)
    stored, _ = read_served(folder, manifest, users={someone}, items=set())
    assert stored.lists.personal_of(someone) == at_cut_off.lists.personal_of(someone)
    assert stored.lists.history_of(someone) == at_cut_off.lists.history_of(someone)
    for look_up in (stored.lists.personal_of, stored.lists.history_of, stored.lists.similar_to):
        with pytest.raises(NotKeptError):
            look_up(other)


def test_the_same_recipe_ties_with_what_is_served(live: Live, events: Interactions, now: int) -> None:
    evidence = weigh(live, events, now)
    assert is_comparable(evidence, SETTINGS)
    assert [(each.protocol, each.metric) for each in evidence.against_served] == [
        (protocol, metric) for protocol in ("batch", "session") for metric in ("recall@10", "precision@10")
    ]
    for each in evidence.against_served:
        assert each.difference == Interval(0, 0, 0)
        assert each.users == evidence.users == live.users
    assert any(each.challenger > 0 for each in evidence.against_served)
    made = inspect(fitted(events, now), live, events, now=now)
    verdict = decide(evidence, made, SETTINGS)
    assert verdict.outcome is Outcome.PROMOTED
    assert "not worse than the served version live" in verdict.reason


def shuffled(served: Served[Lists], seed: int = 1) -> Served[Lists]:
    """A recipe gone wrong: every list holds other items than it should, and the visitor's own don't count."""
    random = np.random.default_rng(seed)
    names = random.permutation(len(served.lists.events.item_ids)).astype(np.int32)
    lists = served.lists
    parts = {"personal": lists.personal, "similar": lists.similar, "popular": lists.popular}
    wrong = {name: replace(part, items=names[part.items]) for name, part in parts.items()}
    return replace(
        served,
        lists=replace(lists, **wrong),
        weights=replace(served.weights, own=-100.0, similar=0.0),
    )


def test_a_bad_recipe_is_kept_out(live: Live, events: Interactions, now: int) -> None:
    evidence = weigh(live, events, now, lambda moment: shuffled(fitted(events, moment)))
    verdict = objection_to_recipe(evidence, SETTINGS)
    assert verdict is not None
    assert verdict.outcome in {Outcome.KEPT, Outcome.REJECTED}
    without_floor = objection_to_recipe(replace(evidence, against_popular=()), SETTINGS)
    assert without_floor is not None
    assert without_floor.outcome is Outcome.KEPT
    assert "worse than the served version live" in without_floor.reason


def test_a_bad_version_is_replaced(
    folder: Folder, events: Interactions, now: int, cut_off: int, at_cut_off: Served[Lists]
) -> None:
    manifest = publish(folder, shuffled(at_cut_off), cut_off)
    bad = read_live(folder, manifest, events, now=now, settings=SETTINGS)
    evidence = weigh(bad, events, now)
    assert any(each.difference.low > 0 for each in evidence.against_served)
    assert objection_to_recipe(evidence, SETTINGS) is None


def test_the_recipe_learns_from_nothing_later_than_the_cut_off(
    live: Live, events: Interactions, now: int, cut_off: int
) -> None:
    asked = []

    def recipe_at(moment: int) -> Served[Lists]:
        asked.append(moment)
        return fitted(events, moment)

    weigh(live, events, now, recipe_at)
    assert asked == [cut_off]
    with pytest.raises(LookAheadError):
        weigh(live, events, now, lambda _: fitted(events, now))


def test_a_version_that_knows_more_than_it_says_is_an_error(
    folder: Folder, events: Interactions, now: int, cut_off: int
) -> None:
    manifest = publish(folder, fitted(events, now), cut_off)
    with pytest.raises(LookAheadError, match="version live says that it knows events up to"):
        read_live(folder, manifest, events, now=now, settings=SETTINGS)


def test_without_users_enough_no_recipe_is_fitted(live: Live, events: Interactions, now: int) -> None:
    strict = SETTINGS.model_copy(update={"gate_min_users": live.users + 1})

    def never(_: int) -> Served[Lists]:
        raise AssertionError

    evidence = weigh(live, events, now, never, strict)
    assert evidence.users == live.users > 0
    assert not evidence.against_served
    made = inspect(fitted(events, now), live, events, now=now)
    assert "no evidence" in decide(evidence, made, strict).reason


@pytest.mark.parametrize("ahead", [0, DAY])
def test_a_version_of_this_moment_or_later_leaves_nothing_to_compare(
    folder: Folder, events: Interactions, now: int, ahead: int
) -> None:
    refit = fitted(events, now)
    manifest = publish(folder, refit, now + ahead)
    same = read_live(folder, manifest, events, now=now, settings=SETTINGS)
    assert same.users == 0
    evidence = weigh(same, events, now)
    made = inspect(refit, same, events, now=now)
    expected = Outcome.KEPT if ahead else Outcome.PROMOTED
    assert decide(evidence, made, SETTINGS).outcome is expected
    assert made.overlap == 1


def test_lists_that_collapsed_are_rejected(live: Live, events: Interactions, now: int) -> None:
    refit = fitted(events, now)
    same_ten = refit.lists.personal.items % 10
    collapsed = replace(
        refit, lists=replace(refit.lists, personal=replace(refit.lists.personal, items=same_ten))
    )
    evidence = weigh(live, events, now)
    healthy = inspect(refit, live, events, now=now)
    assert decide(evidence, healthy, SETTINGS).outcome is Outcome.PROMOTED
    verdict = decide(evidence, inspect(collapsed, live, events, now=now), SETTINGS)
    assert verdict.outcome is Outcome.REJECTED
    assert "personal lists show 10 different items in their first ten places" in verdict.reason


def test_items_of_another_shop_are_rejected(live: Live, events: Interactions, now: int) -> None:
    refit = fitted(events, now)
    renamed = refit.lists.events.item_ids + "?"
    strange = replace(refit, lists=replace(refit.lists, events=replace(refit.lists.events, item_ids=renamed)))
    made = inspect(strange, live, events, now=now)
    assert made.unknown_items > 0
    assert made.overlap == 0
    verdict = decide(weigh(live, events, now), made, SETTINGS)
    assert verdict.outcome is Outcome.REJECTED
    assert "that neither events nor catalogue know" in verdict.reason
    known = inspect(strange, live, events, now=now, catalogue_items=set(renamed.tolist()))
    assert known.unknown_items == 0


def test_the_profile_counts_what_is_there() -> None:
    rows = [
        published.scored(ListKind.PERSONAL, "u1", [f"i{n}" for n in range(12)]),
        published.scored(ListKind.PERSONAL, "u2", ["i1"]),
        published.history("u1", ["h1"]),
        published.scored(ListKind.SIMILAR, "i1", ["s1"]),
        published.scored(ListKind.SIMILAR, "i2", []),
        published.scored(ListKind.POPULAR, EVERYTHING, ["p1", "p2"]),
        published.scored(ListKind.POPULAR, "category", ["p3"]),
    ]
    profile = profile_of([published.table(rows[:3]), published.table(rows[3:])])
    assert profile.personal == 2
    assert profile.first_places == 11
    assert profile.fill(100) == pytest.approx(0.55)
    assert profile.fill(5) == 1
    assert profile.first_items == {f"i{n}" for n in range(10)}
    assert profile.items == {f"i{n}" for n in range(12)} | {"s1", "p1", "p2", "p3"}
    assert profile.popular_items == 2
    assert profile.empty_lists == 1
    assert profile_of([]).fill(10) == 0


# What is served is missing or damaged


def test_no_served_version_is_the_first_one(folder: Folder) -> None:
    assert manifest_of_served(folder, Hyperparameters()) is None
    assert Hyperparameters.from_strings({"served_version": ""}).served_version is None


def test_a_missing_version_is_named_with_the_setting(folder: Folder) -> None:
    with pytest.raises(
        VersionError, match=r"served_version=live: .*there is no such version.*without served_version"
    ):
        manifest_of_served(folder, SETTINGS)


def test_a_damaged_list_is_named_with_the_setting(
    folder: Folder, events: Interactions, now: int, cut_off: int, at_cut_off: Served[Lists]
) -> None:
    manifest = publish(folder, at_cut_off, cut_off)
    folder.write("recommendations/live/lists-00000.parquet", b"damaged")
    with pytest.raises(VersionError, match=r"served_version=live: .*lists-00000.parquet: isn't the file"):
        read_live(folder, manifest, events, now=now, settings=SETTINGS)


# The report

SHARE = {"type": "number", "minimum": 0, "maximum": 1}
INTERVAL = {
    "type": "object",
    "additionalProperties": False,
    "required": ["value", "low", "high"],
    "properties": {name: {"type": "number"} for name in ("value", "low", "high")},
}
DIFFERENCES = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": [
            "against", "measured_on", "protocol", "metric", "users", "challenger", "other", "difference",
        ],
        "properties": {
            "against": {"enum": ["served", "popular"]},
            "measured_on": {"enum": ["since_cut_off", "evaluation_windows"]},
            "protocol": {"enum": ["batch", "session"]},
            "metric": {"enum": ["recall@10", "precision@10"]},
            "users": {"type": "integer", "minimum": 1},
            "challenger": SHARE,
            "other": SHARE,
            "difference": INTERVAL,
        },
    },
}  # fmt: skip
COUNT = {"type": "integer", "minimum": 0}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        "schema_version", "version", "as_of", "outcome", "reason", "served_version", "users_since_cut_off",
        "against_served", "against_popular", "lists", "limits",
    ],
    "properties": {
        "schema_version": {"const": 1},
        "version": {"type": "string", "minLength": 1},
        "as_of": {"type": "string", "format": "date-time"},
        "outcome": {"enum": ["promoted", "kept", "rejected"]},
        "reason": {"type": "string", "minLength": 20},
        "served_version": {
            "type": ["object", "null"],
            "additionalProperties": False,
            "required": ["version", "as_of"],
            "properties": {"version": {"type": "string"}, "as_of": {"type": "string"}},
        },
        "users_since_cut_off": COUNT,
        "against_served": DIFFERENCES,
        "against_popular": DIFFERENCES,
        "lists": {
            "type": ["object", "null"],
            "additionalProperties": False,
            "required": [
                "users", "users_with_list", "empty_lists", "popular_items", "fill", "unknown_items",
                "coverage", "served_coverage", "overlap", "overlap_users",
            ],
            "properties": {
                **dict.fromkeys(
                    ["users", "users_with_list", "empty_lists", "popular_items", "unknown_items", "coverage",
                     "overlap_users"], COUNT
                ),
                "fill": SHARE,
                "served_coverage": {"type": ["integer", "null"]},
                "overlap": {"type": ["number", "null"]},
            },
        },
        "limits": {"type": "object", "additionalProperties": {"type": "number"}, "minProperties": 7},
    },
}  # fmt: skip


def report(evidence: RecipeEvidence, made: ListsEvidence | None) -> GateReport:
    verdict = objection_to_recipe(evidence, SETTINGS) or decide(evidence, made or lists(), SETTINGS)
    return GateReport("v1", verdict, evidence, made, SETTINGS)


REPORTS = [
    report(recipe(), lists()),
    report(recipe(difference(-0.2)), None),
    report(recipe(served=None, users=0, against_served=(), against_popular=()), lists(served_coverage=None, overlap=None)),
    report(recipe(), lists(unknown_items=1)),
]  # fmt: skip


@pytest.mark.parametrize("each", REPORTS, ids=lambda each: each.verdict.outcome.value)
def test_the_report_follows_its_schema_and_is_read_back(each: GateReport) -> None:
    text = each.to_json()
    jsonschema.validate(json.loads(text), SCHEMA)
    assert GateDecision.from_json(text) == GateDecision("v1", each.verdict.outcome, each.verdict.reason)


def test_a_report_of_real_measurements_follows_the_schema(live: Live, events: Interactions, now: int) -> None:
    evidence = weigh(live, events, now)
    made = inspect(fitted(events, now), live, events, now=now)
    jsonschema.validate(json.loads(report(evidence, made).to_json()), SCHEMA)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "no object of schema version 1"),
        ('{"schema_version": 2}', "no object of schema version 1"),
        ('{"schema_version": 1, "version": "v"}', "no text as its outcome"),
        ('{"schema_version": 1, "version": "v", "outcome": "maybe", "reason": "r"}', "the gate's outcome is 'maybe'"),
    ],
)  # fmt: skip
def test_a_decision_that_cannot_be_read_says_why(text: str, problem: str) -> None:
    with pytest.raises(GateDecisionError, match=problem):
        GateDecision.from_json(text)


def test_the_pushed_outcome_is_one_of_three() -> None:
    for each in REPORTS:
        outcomes = {
            labels["outcome"]: value
            for metric, labels, value in pushed(each)
            if metric is TRAINING_GATE_OUTCOME
        }
        assert sorted(outcomes) == ["kept", "promoted", "rejected"]
        assert outcomes[each.verdict.outcome.value] == 1
        assert sum(outcomes.values()) == 1


def test_pushed_figures_have_labels_of_their_own() -> None:
    each = report(recipe(), lists())
    named = [(metric.name, tuple(sorted(labels.items()))) for metric, labels, _ in pushed(each)]
    assert len(named) == len(set(named))
    for metric, labels, _ in pushed(each):
        assert set(labels) == {label.name for label in metric.labels}


def test_gate_json_stays_where_the_block_ends_well(folder: Folder, tmp_path: Path) -> None:
    model = Folder(tmp_path / "model")
    with told(REPORTS[0], "<html>", model_folder=model, output=folder):
        assert folder.exists("gates/v1.json")
    assert folder.read("gates/v1.json") == model.read("gate.json") == REPORTS[0].to_json().encode()


class StoppedError(BaseException):
    pass


def test_gate_json_goes_where_the_block_fails(folder: Folder, tmp_path: Path) -> None:
    model = Folder(tmp_path / "model")
    with pytest.raises(StoppedError), told(REPORTS[0], "<html>", model_folder=model, output=folder):
        raise StoppedError
    assert not list(folder.list())
    assert not list(model.list())


def test_a_bucket_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    model = Folder(tmp_path / "model")
    with (
        pytest.raises(VersionError, match=r"file/gates/v1.json: can't be written"),
        told(REPORTS[0], "<html>", model_folder=model, output=Folder(tmp_path / "file")),
    ):
        raise AssertionError
    assert not list(model.list())
