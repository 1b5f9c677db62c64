import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from training import bootstrap
from training.bootstrap import (
    Interval,
    UndefinedRatioError,
    holm,
    mean_interval,
    mean_intervals,
    p_value_greater,
    paired_difference,
    paired_ratio,
)

RANDOM = np.random.default_rng(7)
USERS = np.arange(400)
VALUES = RANDOM.random(400) ** 3


def test_an_interval_is_that_of_another_implementation() -> None:
    ours = mean_interval(VALUES, USERS, draws=20_000)
    theirs = scipy.stats.bootstrap(
        (VALUES,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.value == np.mean(VALUES)
    assert ours.low == pytest.approx(theirs.low, abs=width / 40)
    assert ours.high == pytest.approx(theirs.high, abs=width / 40)


def test_an_interval_of_users_with_several_rows_draws_them_together() -> None:
    """Against drawing users one by one, the obvious way."""
    users = RANDOM.integers(0, 60, size=300)
    values = users / 60 + RANDOM.random(300) / 10
    rows_of = [np.flatnonzero(users == user) for user in np.unique(users)]
    means = []
    for _ in range(4_000):
        drawn = np.concatenate([rows_of[n] for n in RANDOM.integers(0, len(rows_of), len(rows_of))])
        means.append(values[drawn].mean())
    low, high = np.percentile(means, [2.5, 97.5])
    found = mean_interval(values, users, draws=4_000)
    assert found.low == pytest.approx(low, abs=(high - low) / 15)
    assert found.high == pytest.approx(high, abs=(high - low) / 15)
    as_if_independent = mean_interval(values, np.arange(300), draws=4_000)
    assert found.high - found.low > 1.5 * (as_if_independent.high - as_if_independent.low)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    held = 0
    for seed in range(200):
        found = mean_interval((random.random(200) < 0.3).astype(float), np.arange(200), draws=500, seed=seed)
        held += found.low <= 0.3 <= found.high
    assert 180 <= held <= 199


def test_intervals_of_many_columns_are_those_of_each() -> None:
    users = np.random.default_rng(11).integers(0, 150, size=400)
    columns = [VALUES**power for power in range(1, 13)] + [np.zeros(400), -np.zeros(400)]
    for column, found in zip(columns, mean_intervals(columns, users, draws=8_000), strict=True):
        alone = mean_interval(column, users, draws=8_000, seed=1)
        width = alone.high - alone.low
        assert found.value == alone.value
        assert found.low == pytest.approx(alone.low, abs=width / 20)
        assert found.high == pytest.approx(alone.high, abs=width / 20)
    assert mean_intervals(columns, users, draws=100) == mean_intervals(columns, users, draws=100)
    assert mean_intervals([], users) == []


def test_columns_of_users_who_look_alike_are_drawn_as_one_group() -> None:
    hits = (VALUES > 0.5).astype(float)
    columns = [hits * factor for factor in range(12)]
    sums, sizes = bootstrap._groups(USERS, tuple(columns))
    assert sums.shape == (2, 13)
    assert sorted(sizes) == sorted([np.sum(hits == 0), np.sum(hits == 1)])


def test_one_user_alone_leaves_nothing_to_draw() -> None:
    assert mean_interval(np.array([0.2, 0.4]), np.array([5, 5])) == Interval(
        pytest.approx(0.3), pytest.approx(0.3), pytest.approx(0.3)
    )


def test_the_same_seed_gives_the_same_interval_and_another_one_another() -> None:
    first, again, other = (mean_interval(VALUES, USERS, draws=200, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_the_order_of_rows_changes_nothing() -> None:
    shuffled = RANDOM.permutation(len(VALUES))
    binary = np.where(VALUES > 0.5, 0.5, 0.25)
    assert mean_interval(binary, USERS) == mean_interval(binary[shuffled], USERS[shuffled])


def test_blocks_of_draws_are_drawn_as_if_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mean_interval(VALUES, USERS, draws=100)
    monkeypatch.setattr(bootstrap, "CELLS_AT_ONCE", 1_000)
    assert mean_interval(VALUES, USERS, draws=100) == whole


def test_a_paired_difference_is_surer_than_the_two_apart() -> None:
    difference = paired_difference(VALUES + 0.01, VALUES, USERS)
    assert difference.value == pytest.approx(0.01)
    assert difference.low == pytest.approx(0.01)
    assert difference.high == pytest.approx(0.01)
    assert mean_interval(VALUES, USERS).high - mean_interval(VALUES, USERS).low > 0.03


def test_equals_differ_by_exactly_nothing() -> None:
    assert paired_difference(VALUES, VALUES, USERS) == Interval(0, 0, 0)
    assert paired_ratio(VALUES, VALUES, USERS) == Interval(1, 1, 1)
    assert p_value_greater(VALUES, VALUES, USERS) == 1


def test_a_ratio_takes_the_same_users_for_both() -> None:
    ratio = paired_ratio(3 * VALUES, VALUES, USERS)
    assert ratio == Interval(pytest.approx(3), pytest.approx(3), pytest.approx(3))


def test_a_ratio_to_nothing_is_refused() -> None:
    with pytest.raises(UndefinedRatioError, match="mean of zero"):
        paired_ratio(VALUES, np.zeros(400), USERS)


def test_a_ratio_that_hangs_on_few_users_is_refused() -> None:
    theirs = np.zeros(400)
    theirs[:2] = 1
    with pytest.raises(UndefinedRatioError, match=r"zero in 1\d\.\d% of the draws: too few of 400 users"):
        paired_ratio(VALUES, theirs, USERS)


def test_a_few_draws_without_a_denominator_do_not_harm_a_ratio() -> None:
    theirs = np.zeros(400)
    theirs[:5] = 1
    ratio = paired_ratio(theirs / 2, theirs, USERS, draws=4_000)
    assert ratio == Interval(0.5, 0.5, 0.5)


def test_a_p_value_is_that_of_a_test_of_means() -> None:
    ours = VALUES + RANDOM.normal(0.02, 0.3, 400)
    expected = scipy.stats.ttest_1samp(ours - VALUES, 0, alternative="greater").pvalue
    assert 0.005 < expected < 0.4
    assert p_value_greater(ours, VALUES, USERS, draws=20_000) == pytest.approx(expected, abs=0.02)


def test_a_p_value_is_never_zero() -> None:
    assert p_value_greater(VALUES + 1, VALUES, USERS, draws=999) == 1 / 1000
    assert p_value_greater(VALUES - 1, VALUES, USERS, draws=999) == 1


def test_holm_by_hand() -> None:
    assert holm({"c": 0.04, "a": 0.01, "b": 0.03, "d": 0.9}) == {
        "c": pytest.approx(0.09), "a": pytest.approx(0.04), "b": pytest.approx(0.09), "d": 0.9,
    }  # fmt: skip
    assert list(holm({"z": 0.5, "a": 0.1})) == ["z", "a"]
    assert holm({}) == {}


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1)))
@settings(deadline=None)
def test_holm_only_ever_makes_surer_claims_weaker_and_keeps_their_order(p_values: dict[str, float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= adjusted[name] <= 1 for name, p in p_values.items())
    ordered = sorted(p_values, key=lambda name: p_values[name])
    assert [adjusted[name] for name in ordered] == sorted(adjusted.values())


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.1, 1.0])), min_size=1, max_size=30),
    st.integers(0, 100),
)
@settings(deadline=None, max_examples=50)
def test_an_interval_lies_within_what_the_values_allow(rows: list[tuple[int, float]], seed: int) -> None:
    users, values = (np.array(column) for column in zip(*rows, strict=True))
    found = mean_interval(values, users, draws=100, seed=seed)
    assert values.min() - 1e-12 <= found.low <= found.high <= values.max() + 1e-12


@pytest.mark.parametrize(
    ("values", "users", "message"),
    [
        ([], [], "no row"),
        ([0.1], [1, 2], "one value a row"),
        ([0.1, np.nan], [1, 2], "finite"),
        ([0.1, np.inf], [1, 2], "finite"),
    ],
)
def test_what_has_no_mean_is_refused(values: list[float], users: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_interval(np.array(values, dtype=float), np.array(users, dtype=int))
