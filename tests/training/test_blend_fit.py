"""What the fit looks at is what the blend adds up, and what is fitted is what visitors do."""

from dataclasses import replace

import numpy as np
import pytest

from contract.blending import BlendWeights, blend
from contract.events import ADD_TO_CART, PURCHASE, VIEW, Event
from tests.training.shops import DAY, START, interactions, random_shop
from training.blend_examples import BlendExamples, Fading, blend_examples, visitors_within
from training.blend_fit import ALWAYS, fit_blend
from training.candidates.generator import Generator, fit_generator
from training.candidates.similar_items import MEASURES
from training.interactions import Interactions
from training.settings import Hyperparameters
from training.shop_items import ShopItems
from training.split import Window

SETTINGS = Hyperparameters(als_factors=4, als_iterations=2, threads=1)
CUT = START + 20 * DAY
WINDOW = Window(CUT, START + 41 * DAY)
WEIGHTS = BlendWeights(
    own=1.3,
    latest=0.7,
    conversion=0.9,
    similar=5.0,
    personal=1.1,
    personal_own=0.6,
    popular=0.8,
    event_weights={VIEW: 0.4, ADD_TO_CART: 1.9, PURCHASE: -0.5, "wish": 0.2},
    rank_decay=0.85,
    half_life_days=6.0,
    recent_items=4,
    history_length=12,
)
SHARES = {"people": 0.3, "visits": 0.7}
POPULAR_LENGTH = 15


def generator_of(events: Interactions) -> Generator:
    before = events.before(CUT)
    return fit_generator(before, ShopItems.of(before, None, now=CUT), now=CUT, settings=SETTINGS)


def weight_of(feature: str) -> float:
    if feature in MEASURES:
        return WEIGHTS.similar * SHARES[feature]
    if feature.startswith("kind:"):
        return WEIGHTS.event_weights[feature.removeprefix("kind:")]
    value: float = getattr(WEIGHTS, feature)
    return value


def history_before_first_ready_target(events: Interactions, user: int) -> tuple[list[Event], int] | None:
    """Newest first, and the moment; None where no target in the window has an earlier event in it."""
    rows = np.flatnonzero(events.users == user)
    inside = [row for row in rows if WINDOW.start <= events.timestamps[row] < WINDOW.end]
    for row in inside:
        moment = int(events.timestamps[row])
        if events.is_target[row] and any(events.timestamps[other] < moment for other in inside):
            known = [other for other in rows if events.timestamps[other] < moment]
            return [
                Event(
                    events.item_ids[events.items[other]],
                    events.event_type_names[events.event_types[other]],
                    int(events.timestamps[other]),
                )
                for other in reversed(known)
            ], moment
    return None


@pytest.mark.parametrize("seed", range(3))
def test_features_times_weights_are_the_scores_of_the_blend(seed: int) -> None:
    rows = random_shop(seed)
    strangers = {f"user-{number:03}" for number in range(0, 60, 7)}
    rows = [row for row in rows if not (row[0] in strangers and row[3] < CUT - START)]
    events = interactions(rows)
    generator = generator_of(events)
    visitors = visitors_within(
        events, WINDOW, n_items=len(events.item_ids), history_length=WEIGHTS.history_length,
        max_users=1000, seed=0,
    )  # fmt: skip
    known = [user for user in visitors.users if events.user_ids[user] not in strangers]
    personal = {
        user: np.random.default_rng(int(user)).choice(len(events.item_ids), 9, replace=False)
        for user in known
    }
    examples = blend_examples(
        visitors,
        generator,
        {
            "users": np.repeat(np.array(known, np.int32), 9),
            "items": np.concatenate([personal[user] for user in known]),
            "ranks": np.tile(np.arange(9), len(known)),
        },
        Fading(WEIGHTS.rank_decay, WEIGHTS.half_life_days),
        recent_items=WEIGHTS.recent_items,
        popular_length=POPULAR_LENGTH,
    )
    totals = sum(values * weight_of(name) for name, values in examples.features.items())
    mixed = generator.similarities.mixture(SHARES).toarray()
    odds = generator.return_odds / (1 + generator.return_odds)
    names = events.item_ids
    similar = {
        name: [
            (name, odds[item]),
            *((names[other], mixed[item, other]) for other in np.flatnonzero(mixed[item])),
        ]
        for item, name in enumerate(names)
    }
    expected_users = []
    for user in range(len(events.user_ids)):
        found = history_before_first_ready_target(events, user)
        if found is None:
            continue
        place = len(expected_users)
        expected_users.append(user)
        history, moment = found
        blended = blend(
            history=history,
            personal=[(names[item], 1.0) for item in personal.get(user, [])],
            similar=similar,
            popular=[(names[item], 1.0) for item in generator.popular.items[:POPULAR_LENGTH]],
            weights=WEIGHTS,
            now=moment,
            has_news=True,
            limit=10_000,
        )
        of_visitor = examples.visitors == place
        scores = dict(zip(names[examples.items[of_visitor]], totals[of_visitor], strict=True))
        assert scores == pytest.approx({item.item_id: item.score for item in blended}, abs=1e-5)
        later = (events.users == user) & (events.timestamps >= moment) & (events.timestamps < WINDOW.end)
        truth = set(names[events.items[later & events.is_target]])
        found_true = set(names[examples.items[of_visitor & examples.came_true]])
        assert found_true == truth & scores.keys()
    assert visitors.users.tolist() == expected_users
    assert len(known) > 5
    assert len(expected_users) - len(known) > 2


def simulated(weights: dict[str, float], n_visitors: int, seed: int) -> BlendExamples:
    """Visitors who choose one of twelve candidates as likely as the weights make it."""
    random = np.random.default_rng(seed)
    names = [f"kind:{VIEW}", "kind:wish", *ALWAYS, *MEASURES]
    shape = (n_visitors, 12)
    features = {name: random.random(shape) for name in names}
    scores = sum(features[name] * weights.get(name, 0.0) for name in names) + random.gumbel(size=shape)
    came_true = scores == scores.max(axis=1, keepdims=True)
    return BlendExamples(
        np.repeat(np.arange(n_visitors), 12),
        np.tile(np.arange(12, dtype=np.int32), n_visitors),
        came_true.ravel(),
        {name: values.ravel() for name, values in features.items()},
    )


def test_the_weights_that_visitors_choose_by_are_found() -> None:
    chosen_by = {
        "own": 3.0,
        "latest": 1.5,
        "people": 6.0,
        "visits": 2.0,
        "personal": 2.5,
        f"kind:{VIEW}": -1.0,
    }
    examples = simulated(chosen_by, 6000, seed=1)
    fitted = fit_blend(lambda _: [examples], [VIEW], history_length=7, recent_items=3)
    weights = fitted.weights
    assert fitted.n_visitors == 6000
    assert weights.own == pytest.approx(3.0, abs=0.25)
    assert weights.latest == pytest.approx(1.5, abs=0.25)
    assert weights.personal == pytest.approx(2.5, abs=0.25)
    assert weights.event_weights == pytest.approx({VIEW: -1.0}, abs=0.25)
    assert weights.similar == pytest.approx(8.0, abs=0.4)
    assert fitted.measures == pytest.approx({"people": 0.75, "visits": 0.25}, abs=0.04)
    assert (weights.history_length, weights.recent_items) == (7, 3)


def test_what_is_shown_never_counts_against_itself() -> None:
    examples = simulated({"popular": -3.0, "personal": -3.0, "people": -3.0, "visits": -3.0}, 2000, seed=2)
    fitted = fit_blend(lambda _: [examples], [VIEW], history_length=7, recent_items=3)
    assert fitted.weights.popular == fitted.weights.personal == fitted.weights.similar == 0
    assert sum(fitted.measures.values()) == pytest.approx(1)


def test_the_fading_that_foretells_best_is_kept() -> None:
    good = simulated({"own": 4.0}, 500, seed=3)
    blurred = replace(good, features={name: values * 0 for name, values in good.features.items()})
    fitted = fit_blend(
        lambda fading: [good if fading == Fading(0.97, 3.0) or fading == Fading(0.97, 14.0) else blurred],
        [VIEW], history_length=7, recent_items=3,
    )  # fmt: skip
    assert fitted.weights.rank_decay == 0.97


@pytest.mark.parametrize("parts", [[], [replace(simulated({}, 3, 0), came_true=np.zeros(36, np.bool_))]])
def test_without_a_visitor_to_learn_from_the_weights_stay_as_they_begin(parts: list[BlendExamples]) -> None:
    fitted = fit_blend(lambda _: parts, [VIEW, "wish"], history_length=7, recent_items=3)
    begins = BlendWeights(history_length=7, recent_items=3)
    assert fitted.weights == replace(begins, event_weights={VIEW: 1.0, "wish": begins.other_event_weight})
    assert (fitted.n_visitors, fitted.loss) == (0, None)
