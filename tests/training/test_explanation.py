"""Why users get what they get, in shops where the reason is known."""

from collections.abc import Sequence

import numpy as np
import pytest

from contract.events import ADD_TO_CART, PURCHASE, VIEW, Event
from tests.training.shops import DAY, START, Row, interactions, two_camps
from training.candidates.generator import fit_generator
from training.catalogue import Catalogue
from training.explainer import Explainer
from training.explanation import ExplainedItem
from training.ranking.examples import featured
from training.ranking.prior import PriorRanker
from training.recipe import EXAMPLES, fit_served
from training.settings import Hyperparameters
from training.shop_items import ShopItems

NOW = START + 10 * DAY
SETTINGS = Hyperparameters(als_factors=4, als_iterations=2, threads=1)
CAMPS: list[Row] = [*two_camps(), ("one", "a1", VIEW, DAY), ("one", "a1", ADD_TO_CART, 2 * DAY)]


def explainer_of(rows: Sequence[Row], catalogue: Catalogue | None = None) -> Explainer:
    events = interactions(rows)
    items = ShopItems.of(events, catalogue, now=NOW)
    generator = fit_generator(items.extended(events), items, now=NOW, settings=SETTINGS)
    stage = featured(generator, threads=1)
    _, names, _ = stage.candidates(np.empty(0, dtype=np.int32), per_source=1)
    return Explainer(stage, PriorRanker(names), {"people": 0.5, "visits": 0.5}, 40, history_length=50)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return explainer_of(CAMPS)


def one(explainer: Explainer, item: str, live: Sequence[Event] = ()) -> ExplainedItem:
    (explained,) = explainer.explain("one", [item], live).items
    return explained


def test_an_item_of_the_users_own_is_brought_by_their_events_with_it(explainer: Explainer) -> None:
    explained = one(explainer, "a1")
    assert [(cause.how, cause.event.event_type) for cause in explained.causes] == [
        ("same_item", ADD_TO_CART),
        ("same_item", VIEW),
    ]
    assert explained.sources["own"] == 1


def test_an_item_that_the_same_people_turn_to_is_brought_by_the_similar_one(explainer: Explainer) -> None:
    explained = one(explainer, "a2")
    (cause,) = explained.causes
    assert (cause.how, cause.event) == ("similar_item", Event("a1", ADD_TO_CART, START + 2 * DAY))
    assert 0 < cause.strength < 1
    assert "similar" in explained.sources
    assert "own" not in explained.sources


def test_what_has_nothing_to_do_with_the_user_has_no_cause(explainer: Explainer) -> None:
    explained = one(explainer, "b1")
    assert explained.causes == ()
    assert set(explained.sources) <= {"als", "recent_popular"}


def test_what_nobody_proposes_has_neither_sources_nor_features(explainer: Explainer) -> None:
    explained = one(explainer, "unheard-of")
    assert (explained.sources, explained.features, explained.causes) == ({}, (), ())


def test_a_users_last_minute_counts_too(explainer: Explainer) -> None:
    live = [Event("b2", VIEW, START + 9 * DAY)]
    explained = one(explainer, "b1", live)
    assert [(cause.how, cause.event.item_id) for cause in explained.causes] == [("similar_item", "b2")]
    assert explainer.explain("one", [], live).history[0] == live[0]


def test_a_user_that_the_training_did_not_know_is_explained_by_what_they_just_did(
    explainer: Explainer,
) -> None:
    explained = explainer.explain("nobody", ["a1", "a2"], [Event("a1", VIEW, START)])
    assert [item.sources for item in explained.items] == [{}, {}]
    assert [cause.how for item in explained.items for cause in item.causes] == ["same_item", "similar_item"]


def test_features_are_those_that_moved_the_score_most_and_add_up_to_it(explainer: Explainer) -> None:
    user = int(np.flatnonzero(explainer.stage.generator.events.user_ids == "one")[0])
    pool, names, matrix = explainer.stage.candidates(np.array([user], dtype=np.int32), 40)
    for item, row in zip(pool.items.tolist(), matrix, strict=True):
        explained = one(explainer, explainer.stage.generator.events.item_ids[item])
        sizes = [abs(each.added) for each in explained.features]
        assert sizes == sorted(sizes, reverse=True)
        for each in explained.features:
            assert each.value == pytest.approx(float(row[names.index(each.name)]))
        if len(sizes) < 5:
            whole = float(explainer.ranker.scores(row[None])[0])
            assert sum(each.added for each in explained.features) == pytest.approx(whole)


def test_each_training_explains_some_users_from_short_histories_to_long_ones() -> None:
    rows = [*CAMPS, *((f"busy-{n}", f"a{1 + n % 3}", VIEW, DAY + n + k) for n in range(20) for k in range(n))]
    served = fit_served(interactions(rows), now=NOW, settings=SETTINGS)
    assert len({user.user_id for user in served.examples}) == EXAMPLES
    lengths = [len(user.history) for user in served.examples]
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (1, 19)
    for user in served.examples:
        answer = served.answer(user.user_id, [], now=NOW, limit=10)
        assert [item.item_id for item in user.items] == answer
        assert any(item.sources for item in user.items)


def test_a_shop_with_fewer_users_has_fewer_examples() -> None:
    served = fit_served(interactions([("u", "a", PURCHASE, 1)]), now=NOW, settings=SETTINGS)
    assert [user.user_id for user in served.examples] == ["u"]
