"""What rankers learn from, and which of them serves."""

from collections.abc import Callable

import numpy as np
import pytest

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from tests.training.shops import DAY, START, Row, interactions, random_shop
from training.candidates import Candidates
from training.candidates.generator import fit_generator
from training.candidates.pool import pool
from training.errors import VersionError
from training.interactions import BoolArray, FloatArray, Interactions
from training.ranking import Ranker
from training.ranking.boosted import BoostedRanker
from training.ranking.choice import FEWEST_FOR_BOOSTED, FEWEST_FOR_LINEAR, choose_ranker, ndcg_of_groups
from training.ranking.examples import Examples, Featured, examples, featured, stacked
from training.ranking.linear import LinearRanker
from training.ranking.prior import SHARES, PriorRanker
from training.ranking.stored import ranker_from_json, ranker_to_json
from training.ranking_metrics import K, row_values
from training.settings import Hyperparameters
from training.shop_items import ShopItems
from training.split import Window

SETTINGS = Hyperparameters(als_factors=4, als_iterations=3, ranker_iterations=15, threads=1)
SOURCES = tuple(name.removesuffix("_score") for name in SHARES)

Truth = Callable[[FloatArray], BoolArray]


def stage_of(events: Interactions, now: int) -> Featured:
    before = events.before(now)
    items = ShopItems.of(before, None, now=now)
    return featured(fit_generator(before, items, now=now, settings=SETTINGS), threads=1)


def shop_examples(rows: list[Row], window: Window, *, per_source: int = 20) -> Examples:
    events = interactions(rows)
    return examples(
        stage_of(events, window.start), events, window, events.distinct_users(), per_source=per_source
    )


def made(came_true: BoolArray, matrix: FloatArray, *, n_true: list[int] | None = None) -> Examples:
    """Examples of users × candidates, in which the features are `matrix`."""
    n_users, per_user = came_true.shape
    candidates = Candidates(
        np.repeat(np.arange(n_users, dtype=np.int32), per_user),
        np.tile(np.arange(per_user, dtype=np.int32), n_users),
        np.ones(n_users * per_user, np.float32),
    )
    return Examples(
        names=tuple(f"feature_{column}" for column in range(matrix.shape[1])),
        pool=pool({"any": candidates}, per_user),
        matrix=matrix,
        came_true=came_true.ravel(),
        users=np.arange(n_users, dtype=np.int32),
        n_true=came_true.sum(axis=1) if n_true is None else np.array(n_true),
    )


def learnable(seed: int, truth: Truth, *, users: int = 150, per_user: int = 8) -> Examples:
    """Features at random, and `truth` says which rows of them come true."""
    matrix = np.random.default_rng(seed).normal(size=(users * per_user, 4)).astype(np.float32)
    return made(truth(matrix).reshape(users, per_user), matrix)


def is_large(matrix: FloatArray) -> BoolArray:
    return matrix[:, 0] + matrix[:, 1] > 0.5


def are_alike(matrix: FloatArray) -> BoolArray:
    """What no weighted sum can tell."""
    return matrix[:, 0] * matrix[:, 1] > 0.3


def with_hits(hits: int) -> Examples:
    """Examples of which exactly so many came true, spread over the users."""
    users, per_user = 120, 10
    came_true = np.zeros(users * per_user, np.bool_)
    came_true[np.random.default_rng(0).permutation(users * per_user)[:hits]] = True
    return made(came_true.reshape(users, per_user), came_true[:, None] + learnable(1, is_large).matrix[:, :2])


class TestExamples:
    WINDOW = Window(START + 10 * DAY, START + 20 * DAY)
    ROWS = (
        ("buyer", "a", VIEW, DAY),
        ("buyer", "b", VIEW, DAY + 1),
        ("carter", "b", VIEW, 2 * DAY),
        ("late", "a", VIEW, 3 * DAY),
        ("looker", "a", PURCHASE, 4 * DAY),
        ("buyer", "a", PURCHASE, 12 * DAY),
        ("buyer", "a", PURCHASE, 13 * DAY),
        ("buyer", "unheard-of", ADD_TO_CART, 14 * DAY),
        ("buyer", "b", VIEW, 15 * DAY),
        ("carter", "b", ADD_TO_CART, 10 * DAY),  # the window's first moment
        ("late", "a", PURCHASE, 20 * DAY),  # no longer within it
        ("looker", "b", VIEW, 11 * DAY),
        ("newcomer", "a", PURCHASE, 12 * DAY),
    )

    def test_what_came_true_is_what_was_carted_or_bought_within_the_window(self) -> None:
        found = shop_examples(list(self.ROWS), self.WINDOW)
        events = interactions(self.ROWS)
        users, items = events.user_ids[found.pool.users], events.item_ids[found.pool.items]
        pairs = set(zip(users, items, strict=True))
        assert {("buyer", "a"), ("buyer", "b"), ("carter", "b"), ("late", "a"), ("looker", "a")} <= pairs
        assert not any(item == "unheard-of" for item in items)
        came_true = set(zip(users[found.came_true], items[found.came_true], strict=True))
        assert came_true == {("buyer", "a"), ("carter", "b")}

    def test_users_are_those_with_events_before_and_all_their_truth_is_counted(self) -> None:
        found = shop_examples(list(self.ROWS), self.WINDOW)
        users = interactions(self.ROWS).user_ids[found.users]
        counted = dict(zip(users, found.n_true.tolist(), strict=True))
        assert counted == {"buyer": 2, "carter": 1, "late": 0, "looker": 0}
        assert found.users[found.groups].tolist() == found.pool.users.tolist()
        assert found.matrix.shape == (len(found.pool), len(found.names))

    def test_some_users_keep_their_rows(self) -> None:
        found = shop_examples(list(self.ROWS), self.WINDOW)
        some = found.only(np.array([False, True, False, True]))
        kept = np.isin(found.pool.users, found.users[[1, 3]])
        assert some.users.tolist() == found.users[[1, 3]].tolist()
        assert some.n_true.tolist() == [1, 0]
        assert some.pool.keys.tolist() == found.pool.keys[kept].tolist()
        assert some.matrix.tolist() == found.matrix[kept].tolist()
        assert some.came_true.tolist() == found.came_true[kept].tolist()
        assert set(some.groups.tolist()) == {0, 1}

    def test_stacked_are_the_groups_in_which_something_came_true(self) -> None:
        first = made(np.array([[True, False], [False, False]]), np.arange(4, dtype=np.float32)[:, None])
        second = made(np.array([[False, False], [True, True]]), np.arange(10, 14, dtype=np.float32)[:, None])
        matrix, came_true, groups = stacked([first, second])
        assert matrix.ravel().tolist() == [0, 1, 12, 13]
        assert came_true.tolist() == [True, False, True, True]
        assert groups.tolist() == [0, 0, 3, 3]


def test_the_prior_adds_up_what_sources_think() -> None:
    names = ("pair_days", "own_score", "similar_score", "own_rank")
    matrix = np.array([[9, 1, 0, 5], [9, 0.5, 1, 5], [0, 0, 0, 0]], np.float32)
    assert PriorRanker(names).scores(matrix) == pytest.approx(
        [SHARES["own_score"], SHARES["own_score"] / 2 + SHARES["similar_score"], 0]
    )


def test_the_priors_shares_are_of_sources_that_there_are() -> None:
    found = shop_examples(random_shop(0), Window(START + 30 * DAY, START + 40 * DAY))
    proposing = {name for name in found.names if name.endswith("_score")}
    with_a_catalogue = {"category_score", "new_items_score"}
    assert set(SHARES) - with_a_catalogue <= proposing


@pytest.mark.parametrize("decimals", [1, 8])
def test_ndcg_is_that_of_the_metrics_on_the_same_lists(decimals: int) -> None:
    random = np.random.default_rng(decimals)
    came_true = random.random((60, 25)) < 0.1
    unfound = random.integers(0, 14, 60) * random.integers(0, 2, 60)
    n_true = (came_true.sum(axis=1) + unfound).tolist()
    part = made(came_true, np.zeros((60 * 25, 1), np.float32), n_true=n_true)
    scores = np.round(random.random(60 * 25), decimals)  # with one decimal there are ties, broken by item
    expected = []
    for user in range(60):
        of_user = scores[user * 25 : (user + 1) * 25]
        best = sorted(range(25), key=lambda item: (-of_user[item], item))[:K]
        if n_true[user]:
            values = row_values(came_true[user, best][None], np.array([n_true[user]]))
            expected.append(values[f"ndcg@{K}"][0])
    assert ndcg_of_groups(part, scores) == pytest.approx(np.array(expected))
    assert 0 in n_true
    assert max(n_true) > K


class TestChoice:
    def test_with_no_window_the_prior_ranks(self) -> None:
        choice = choose_ranker([], SETTINGS)
        assert (choice.ranker.name, choice.unseen, choice.ndcg) == ("prior", [], {})

    def test_with_few_examples_the_prior_ranks_and_the_reason_says_how_few(self) -> None:
        part = with_hits(FEWEST_FOR_LINEAR - 1)
        choice = choose_ranker([part], SETTINGS)
        assert (choice.ranker.name, choice.ndcg) == ("prior", {})
        assert choice.unseen[0].tolist() == choice.ranker.scores(part.matrix).tolist()
        assert choice.reason == "only 19 candidates came true, too few to learn from (at least 20)"

    @pytest.mark.parametrize("hits", [FEWEST_FOR_LINEAR, FEWEST_FOR_BOOSTED - 1])
    def test_below_500_that_came_true_the_linear_one_ranks(self, hits: int) -> None:
        choice = choose_ranker([with_hits(hits)], SETTINGS)
        assert (choice.ranker.name, set(choice.ndcg)) == ("linear", {"linear"})
        assert choice.reason == (
            f"only {hits} candidates came true, too few for the boosted ranker, which is tried from 500 on"
        )
        document = {"ranker": "linear", "reason": choice.reason, "ndcg@10": choice.ndcg, "curves": {}}
        assert choice.document() == document

    def test_from_500_on_both_are_tried(self) -> None:
        assert set(choose_ranker([with_hits(FEWEST_FOR_BOOSTED)], SETTINGS).ndcg) == {"linear", "boosted"}

    @pytest.mark.parametrize(("truth", "better"), [(is_large, "linear"), (are_alike, "boosted")])
    def test_what_orders_unseen_days_better_serves(self, truth: Truth, better: str) -> None:
        parts = [learnable(seed, truth) for seed in range(3)]
        choice = choose_ranker(parts, SETTINGS)
        (worse,) = {"linear", "boosted"} - {better}
        assert choice.ranker.name == better
        assert choice.ndcg[better] > choice.ndcg[worse]
        assert choice.reason == (
            f"NDCG@10 {choice.ndcg[better]:.4f} on unseen days, "
            f"against {choice.ndcg[worse]:.4f} of the {worse} one"
        )
        pooled = [ndcg_of_groups(part, scores) for part, scores in zip(parts, choice.unseen, strict=True)]
        assert choice.ndcg[better] == pytest.approx(np.concatenate(pooled).mean())

    @pytest.mark.parametrize("wanted", ["linear", "boosted"])
    def test_the_ranker_that_was_asked_for_serves_though_it_orders_worse(self, wanted: str) -> None:
        truth = {"linear": are_alike, "boosted": is_large}[wanted]
        parts = [learnable(seed, truth) for seed in range(2)]
        assert choose_ranker(parts, SETTINGS).ranker.name != wanted
        choice = choose_ranker(parts, SETTINGS.model_copy(update={"ranker": wanted}))
        assert (choice.ranker.name, set(choice.ndcg), choice.reason) == (wanted, {wanted}, "it was asked for")

    def test_the_boosted_one_serves_on_few_examples_where_it_was_asked_for(self) -> None:
        choice = choose_ranker([with_hits(100)], SETTINGS.model_copy(update={"ranker": "boosted"}))
        assert (choice.ranker.name, set(choice.ndcg)) == ("boosted", {"boosted"})
        assert choice.reason == "it was asked for"

    def test_the_halves_of_a_single_windows_users_are_ranked_by_each_other(self) -> None:
        part = learnable(0, is_large, users=21)
        (unseen,) = choose_ranker([part], SETTINGS).unseen
        is_even = part.users % 2 == 0
        for half in (is_even, ~is_even):
            rows = half[part.groups]
            others = LinearRanker.fit([part.only(~half)])
            assert unseen[rows].tolist() == others.scores(part.matrix[rows]).tolist()

    @pytest.mark.parametrize("count", [2, 3, 5])
    def test_a_window_is_ranked_by_what_learnt_from_others(self, count: int) -> None:
        parts = [learnable(seed, is_large, users=12) for seed in range(count)]
        unseen = choose_ranker(parts, SETTINGS).unseen
        folds = min(3, count)
        for place, part in enumerate(parts):
            others = [other for at, other in enumerate(parts) if at % folds != place % folds]
            assert unseen[place].tolist() == LinearRanker.fit(others).scores(part.matrix).tolist()

    def test_a_window_in_which_nothing_came_true_is_no_obstacle(self) -> None:
        quiet = learnable(1, lambda matrix: np.zeros(len(matrix), np.bool_))
        for busy in (learnable(0, is_large, users=20), learnable(0, is_large)):
            choice = choose_ranker([busy, quiet], SETTINGS)
            assert choice.ranker.name in {"linear", "boosted"}
            assert all(np.isfinite(scores).all() for scores in choice.unseen)

    def test_a_single_user_with_all_that_came_true_is_no_obstacle(self) -> None:
        came_true = np.zeros((4, 60), np.bool_)
        came_true[2, ::2] = True
        part = made(came_true, came_true.reshape(-1, 1).astype(np.float32))
        choice = choose_ranker([part], SETTINGS)
        assert choice.ranker.name == "linear"
        assert np.isfinite(choice.unseen[0]).all()


def test_rankers_are_compared_on_a_real_pass_over_a_shop() -> None:
    rows = random_shop(0, users=300, events=9000, days=60)
    events = interactions(rows)
    parts = [
        examples(stage_of(events, start), events, Window(start, start + 12 * DAY), events.distinct_users(),
                 per_source=10)
        for start in (START + 48 * DAY, START + 36 * DAY)
    ]  # fmt: skip
    assert sum(int(part.came_true.sum()) for part in parts) >= FEWEST_FOR_BOOSTED
    choice = choose_ranker(parts, SETTINGS)
    assert set(choice.ndcg) == {"linear", "boosted"}
    assert choice.ranker.name == max(choice.ndcg, key=lambda name: choice.ndcg[name])
    random = np.random.default_rng(0)
    by_chance = np.concatenate([ndcg_of_groups(part, random.random(len(part.pool))) for part in parts]).mean()
    assert min(choice.ndcg.values()) > by_chance


def test_the_boosted_ranker_gives_the_same_twice_and_tells_what_it_looks_at() -> None:
    part = learnable(0, are_alike)
    first, again = (BoostedRanker.fit([part], SETTINGS) for _ in range(2))
    assert first.scores(part.matrix).tolist() == again.scores(part.matrix).tolist()
    importance = first.importance()
    assert list(importance) == list(part.names)
    assert sum(importance.values()) == pytest.approx(100)
    assert min(importance["feature_0"], importance["feature_1"]) > 10 * importance["feature_2"]


@pytest.fixture(scope="module")
def rankers() -> list[Ranker]:
    part = learnable(0, is_large)
    names = ("own_score", "similar_score", *part.names[2:])
    return [LinearRanker.fit([part]), BoostedRanker.fit([part], SETTINGS), PriorRanker(names)]


def test_a_stored_ranker_gives_the_same_scores(rankers: list[Ranker]) -> None:
    matrix = learnable(1, is_large).matrix
    for ranker in rankers:
        read = ranker_from_json(ranker_to_json(ranker))
        assert (read.name, read.names) == (ranker.name, ranker.names)
        assert read.scores(matrix).tolist() == ranker.scores(matrix).tolist()
        assert read.importance() == ranker.importance()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"ranker": "newer"}', '{"ranker": "linear"}'])
def test_a_stored_ranker_that_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(VersionError, match="the stored ranker can't be read"):
        ranker_from_json(text)


def test_contributions_of_features_add_up_to_what_sets_scores_apart(rankers: list[Ranker]) -> None:
    matrix = learnable(1, is_large).matrix
    for ranker in rankers:
        added = ranker.contributions(matrix)
        assert added.shape == matrix.shape
        common = ranker.scores(matrix) - added.sum(axis=1)
        assert np.ptp(common) < 1e-5 * max(1, np.ptp(ranker.scores(matrix)))


def test_importance_adds_up_to_a_hundred_and_knows_what_matters(rankers: list[Ranker]) -> None:
    for ranker in rankers:
        importance = ranker.importance()
        assert tuple(importance) == ranker.names
        assert sum(importance.values()) == pytest.approx(100)
    linear, boosted, _ = rankers
    for ranker in (linear, boosted):
        *told, _, _ = sorted(ranker.importance(), key=lambda name: -ranker.importance()[name])
        assert set(told) == {"feature_0", "feature_1"}


@pytest.mark.parametrize("windows", [1, 3])
def test_learning_curves_have_a_loss_for_each_tree(windows: int) -> None:
    parts = [learnable(seed, are_alike, users=300) for seed in range(windows)]
    curves = choose_ranker(parts, SETTINGS.model_copy(update={"ranker": "boosted"})).curves
    assert {name: len(losses) for name, losses in curves.items()} == dict.fromkeys(
        ("learnt", "unseen"), SETTINGS.ranker_iterations
    )
    assert curves["learnt"][-1] < curves["learnt"][0]
    assert curves["unseen"][-1] < curves["unseen"][0]
    assert curves["learnt"][-1] < curves["unseen"][-1]


def test_there_is_no_curve_of_a_ranker_that_grows_no_trees() -> None:
    choice = choose_ranker([with_hits(FEWEST_FOR_LINEAR)], SETTINGS)
    assert choice.document()["curves"] == {}
