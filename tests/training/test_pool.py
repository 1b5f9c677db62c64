"""The table of all sources' candidates."""

import numpy as np
import pytest

from training.candidates import Candidates, no_candidates
from training.candidates.pool import UNRANKED, Pool, pool, relative_to_best

N_ITEMS = 10


def proposed(*rows: tuple[int, int, float]) -> Candidates:
    users, items, scores = zip(*rows, strict=True)
    return Candidates(np.array(users, np.int32), np.array(items, np.int32), np.array(scores, np.float32))


@pytest.fixture
def two_sources() -> Pool:
    return pool(
        {
            "first": proposed((0, 7, 4.0), (0, 2, 1.0), (3, 7, 0.5)),
            "second": proposed((0, 2, 10.0), (0, 9, 8.0), (1, 0, 2.0)),
        },
        N_ITEMS,
    )


def test_it_holds_each_pair_once_by_user_and_item(two_sources: Pool) -> None:
    pairs = list(zip(two_sources.users.tolist(), two_sources.items.tolist(), strict=True))
    assert pairs == [(0, 2), (0, 7), (0, 9), (1, 0), (3, 7)]
    assert two_sources.keys.tolist() == [user * N_ITEMS + item for user, item in pairs]
    assert len(two_sources) == len(pairs)


def test_scores_are_relative_to_the_users_best_of_the_same_source(two_sources: Pool) -> None:
    assert two_sources.scores["first"].tolist() == [0.25, 1, 0, 0, 1]
    assert two_sources.scores["second"] == pytest.approx([1, 0, 0.8, 1, 0])


def test_ranks_are_the_sources_own_and_unranked_elsewhere(two_sources: Pool) -> None:
    assert two_sources.ranks["first"].tolist() == [1, 0, UNRANKED, UNRANKED, 0]
    assert two_sources.ranks["second"].tolist() == [0, UNRANKED, 1, 0, UNRANKED]


def test_only_keeps_the_rows_of_every_column(two_sources: Pool) -> None:
    some = two_sources.only(np.array([False, True, False, False, True]))
    assert (some.keys.tolist(), some.users.tolist(), some.items.tolist()) == ([7, 37], [0, 3], [7, 7])
    assert {name: values.tolist() for name, values in some.scores.items()} == {
        "first": [1, 1],
        "second": [0, 0],
    }
    assert {name: values.tolist() for name, values in some.ranks.items()} == {
        "first": [0, 0],
        "second": [UNRANKED, UNRANKED],
    }


def test_scores_of_0_and_below_are_0() -> None:
    found = relative_to_best(proposed((0, 1, 2.0), (0, 2, 0.0), (0, 3, -1.0), (1, 1, 0.0), (2, 1, -0.5)))
    assert found.tolist() == [1, 0, 0, 0, 0]


def test_a_source_that_proposes_nothing_has_its_columns() -> None:
    found = pool({"silent": no_candidates(), "other": proposed((1, 4, 3.0))}, N_ITEMS)
    assert (found.scores["silent"].tolist(), found.ranks["silent"].tolist()) == ([0], [UNRANKED])


@pytest.mark.parametrize("n_items", [0, N_ITEMS])
def test_nothing_proposed_is_an_empty_pool(n_items: int) -> None:
    assert len(pool({}, n_items)) == 0
    assert len(pool({"silent": no_candidates()}, n_items)) == 0
