"""Both measures of likeness, by hand."""

from math import sqrt

import numpy as np
import pytest
import scipy.sparse as sp

from contract.events import VIEW
from tests.training.shops import DAY, Row, interactions, random_shop
from training.candidates.similar_items import MEASURES, SHRINKAGE, Similarities, similarities

A, B, C, D = range(4)


def shop() -> list[Row]:
    """Person p visits {a, b, c}, then {d}; q visits {a, b}; r visits {c}, then {d, a}."""
    visits = [("p", "abc", 0), ("p", "d", DAY), ("q", "ab", 0), ("r", "c", 0), ("r", "da", DAY)]
    return [(user, item, VIEW, day + n) for user, items, day in visits for n, item in enumerate(items)]


def measured(neighbours: int = 10, history: int = 100) -> dict[str, np.ndarray]:
    found = similarities(interactions(shop()), neighbours=neighbours, history=history)
    return {name: matrix.toarray() for name, matrix in found.by_measure.items()}


def test_people_is_how_likely_somebody_with_the_one_item_has_the_other() -> None:
    people = measured()["people"]
    of = {A: 3 + SHRINKAGE, B: 2 + SHRINKAGE, C: 2 + SHRINKAGE, D: 2 + SHRINKAGE}
    together = {(A, B): 2, (A, C): 2, (A, D): 2, (B, C): 1, (B, D): 1, (C, D): 2}
    expected = np.zeros((4, 4))
    for (one, other), both in together.items():
        expected[one, other] = both / of[one]
        expected[other, one] = both / of[other]
    assert people == pytest.approx(expected)


def test_visits_is_a_cosine_in_which_a_long_visit_says_less() -> None:
    visits = measured()["visits"]
    of = {A: 3 + SHRINKAGE, B: 2 + SHRINKAGE, C: 2 + SHRINKAGE, D: 2 + SHRINKAGE}
    of_three, of_two = 1 / sqrt(3), 1 / sqrt(2)
    together = {(A, B): of_three + of_two, (A, C): of_three, (B, C): of_three, (A, D): of_two}
    expected = np.zeros((4, 4))
    for (one, other), both in together.items():
        expected[one, other] = expected[other, one] = both / sqrt(of[one] * of[other])
    assert visits == pytest.approx(expected)


def test_of_each_item_the_nearest_are_kept() -> None:
    every, one = measured(), measured(neighbours=1)
    for name in MEASURES:
        assert np.count_nonzero(one[name], axis=1).tolist() == [1, 1, 1, 1]
        assert one[name].max(axis=1) == pytest.approx(every[name].max(axis=1))
        kept = one[name] > 0
        assert one[name][kept] == pytest.approx(every[name][kept])


def test_of_a_person_the_latest_items_count() -> None:
    people = measured(history=2)["people"]  # p: c and d, q: a and b, r: d and a
    sharing = {(int(one), int(other)) for one, other in np.argwhere(people)}
    assert sharing == {(A, B), (B, A), (C, D), (D, C), (A, D), (D, A)}


def test_no_item_is_its_own_neighbour_and_scores_stay_below_1() -> None:
    found = similarities(interactions(random_shop(1)), neighbours=5, history=50)
    for matrix in found.by_measure.values():
        assert matrix.diagonal().max() == 0
        assert 0 < matrix.data.min() <= matrix.data.max() < 1
        assert np.diff(matrix.indptr).max() <= 5


def one_value(value: float) -> sp.csr_array:
    return sp.csr_array(np.array([[0, value], [0, 0]], np.float32))


@pytest.mark.parametrize(
    ("people", "visits", "expected"),
    [
        (1, 1, 0.5),
        (3, 1, 0.65),
        (0, 2, 0.2),
        (2, 0, 0.8),
        (-5, 1, 0.2),
        (1, -5, 0.8),
        (0, 0, 0),
        (-1, -2, 0),
    ],
)
def test_a_mixture_is_the_mean_by_shares_those_below_0_left_out(
    people: float, visits: float, expected: float
) -> None:
    both = Similarities({"people": one_value(0.8), "visits": one_value(0.2)})
    mixed = both.mixture({"people": people, "visits": visits})
    assert mixed.toarray() == pytest.approx(np.array([[0, expected], [0, 0]]))
    assert both.by_measure["people"].toarray()[0, 1] == pytest.approx(0.8)


def test_a_mixture_holds_the_neighbours_of_either() -> None:
    other = sp.csr_array(np.array([[0, 0], [0.4, 0]], np.float32))
    mixed = Similarities({"people": one_value(0.8), "visits": other}).mixture({"people": 1, "visits": 3})
    assert mixed.toarray() == pytest.approx(np.array([[0, 0.2], [0.3, 0]]))
