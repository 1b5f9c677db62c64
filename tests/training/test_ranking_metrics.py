import math
import random
import warnings

import numpy as np
import pytest

from training.ranking_metrics import METRICS, K, coverage, hits_of, novelty, row_values

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # those of numba, on which ranx is built
    import numba

    numba.config.DISABLE_JIT = True  # to compile ranx takes a hundred times as long as to run it
    import ranx


def values_of(shown: list[str], truth: set[str]) -> dict[str, float]:
    values = row_values(np.array([hits_of(shown, truth)]), np.array([len(truth)]))
    return {name: float(column[0]) for name, column in values.items()}


def test_metrics_of_a_list_worked_out_by_hand() -> None:
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert values_of(["x", "hit", "y", "other hit"], {"hit", "other hit", "missed"}) == {
        "precision@10": pytest.approx(0.2),
        "recall@10": pytest.approx(2 / 3),
        "ndcg@10": pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal),
        "map@10": pytest.approx((1 / 2 + 2 / 4) / 3),
        "hit_rate@10": 1.0,
    }


def test_only_the_first_ten_count() -> None:
    assert set(values_of([f"x{n}" for n in range(10)] + ["hit"], {"hit"}).values()) == {0.0}


def test_a_perfect_list_is_worth_one_however_long_the_truth_is() -> None:
    items = [f"i{n:02}" for n in range(25)]
    for length in (1, 9, 10, 11, 25):
        values = values_of(items, set(items[:length]))
        assert values["ndcg@10"] == pytest.approx(1)
        assert values["map@10"] == pytest.approx(1)
        assert values["recall@10"] == min(K, length) / length
        assert values["precision@10"] == min(K, length) / K


def test_an_empty_list_is_worth_nothing() -> None:
    assert set(values_of([], {"a"}).values()) == {0.0}


def test_a_row_without_truth_is_refused() -> None:
    with pytest.raises(ValueError, match="without truth"):
        row_values(np.zeros((1, K), dtype=bool), np.array([0]))


def test_no_rows_give_no_values() -> None:
    values = row_values(np.zeros((0, K), dtype=bool), np.array([], dtype=int))
    assert {name: len(column) for name, column in values.items()} == dict.fromkeys(METRICS, 0)


@pytest.mark.parametrize("lengths", [[10], [10, 14, 30], [1, 3, 7, 9]])
def test_ranx_gives_the_same(lengths: list[int]) -> None:
    """But for average precision, which it divides by the whole truth."""
    chance = random.Random(len(lengths))
    items = [f"i{n}" for n in range(60)]
    shown = {f"u{n:03}": chance.sample(items, chance.choice(lengths)) for n in range(300)}
    truth = {user: chance.sample(items, chance.choice([1, 1, 2, 3, 9, 10, 11, 25])) for user in shown}
    sizes = np.array([len(truth[user]) for user in shown])
    ours = row_values(np.array([hits_of(shown[user], truth[user]) for user in shown]), sizes)
    theirs = ranx.evaluate(
        ranx.Qrels({user: dict.fromkeys(right, 1) for user, right in truth.items()}),
        ranx.Run(
            {user: {item: 1 / (1 + rank) for rank, item in enumerate(each)} for user, each in shown.items()}
        ),
        list(METRICS),
        return_mean=False,
        threads=1,
    )
    theirs["map@10"] = theirs["map@10"] * sizes / np.minimum(K, sizes)
    assert ours["recall@10"].sum() > 10
    for metric in METRICS:
        np.testing.assert_allclose(ours[metric], theirs[metric], atol=1e-12, err_msg=metric)


def test_coverage_is_the_share_of_known_items_that_anyone_was_shown() -> None:
    assert coverage({"a", "b", "new"}, {"a", "b", "c", "d"}) == 0.5
    assert coverage({"new"}, set()) is None


def test_novelty_is_how_few_know_what_is_shown() -> None:
    users_by_item = {"all": 8, "half": 4, "one": 1}
    assert novelty({"all": 5}, users_by_item, 8) == 0
    assert novelty({"half": 1}, users_by_item, 8) == 1
    assert novelty({"all": 2, "one": 1}, users_by_item, 8) == pytest.approx(3 / 3)


def test_an_item_that_nobody_knew_is_newer_than_one_that_somebody_did() -> None:
    unseen = novelty({"new": 3}, {"one": 1}, 8)
    assert unseen == pytest.approx(math.log2(9))
    assert unseen > (novelty({"one": 3}, {"one": 1}, 8) or 0)
    assert novelty({"new": 3}, {}, 0) == 0


def test_nothing_shown_has_no_novelty() -> None:
    assert novelty({}, {"a": 1}, 1) is None
