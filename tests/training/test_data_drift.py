from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data_report.days import judge_days, usual_events
from training.data_report.drift import drift

COUNTS = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 1000), min_size=1)


def test_an_index_and_a_distance_are_as_computed_by_hand() -> None:
    change = drift("kinds", "events", {"a": 899.5, "b": 99.5}, {"a": 499.5, "b": 499.5})
    assert change
    # Shares of 0.9 and 0.1, then of 0.5 and 0.5.
    assert change.psi == pytest.approx(0.4 * np.log(0.9 / 0.5) + 0.4 * np.log(0.5 / 0.1))
    divergence = 0.5 * (
        0.9 * np.log2(0.9 / 0.7) + 0.1 * np.log2(0.1 / 0.3) + np.log2(0.5 / 0.7) / 2 + np.log2(0.5 / 0.3) / 2
    )
    assert change.js_distance == pytest.approx(np.sqrt(divergence))


@given(COUNTS, COUNTS)
def test_an_index_is_symmetric_and_zero_only_without_a_change(
    before: dict[str, int], now: dict[str, int]
) -> None:
    change, back = drift("", "", before, now), drift("", "", now, before)
    if not sum(before.values()) or not sum(now.values()):
        assert change is None
        return
    assert change
    assert back
    assert change.psi == pytest.approx(back.psi)
    assert change.psi >= 0
    assert 0 <= change.js_distance <= 1
    same = drift("", "", before, before)
    assert same
    assert (same.psi, same.js_distance) == (0, 0)


def test_what_never_occurred_before_has_a_finite_weight() -> None:
    change = drift("kinds", "events", {"a": 1000}, {"b": 1000})
    assert change
    assert change.labels == ("a", "b")
    assert 0.25 < change.psi < 100
    assert change.js_distance == pytest.approx(1, abs=0.01)


def test_chance_stays_below_its_limit_in_19_of_20_cases() -> None:
    random = np.random.default_rng(1)
    shares = random.dirichlet(np.full(10, 5.0))
    changes = [
        drift(
            "",
            "",
            *(
                {str(label): int(n) for label, n in enumerate(random.multinomial(size, shares))}
                for size in (400, 900)
            ),
        )
        for _ in range(1000)
    ]
    beyond = sum(change is not None and change.exceeds(0) for change in changes)
    assert 25 <= beyond <= 75


def test_few_events_do_not_count_as_a_large_change() -> None:
    few = drift("", "", {"a": 3, "b": 1}, {"a": 1, "b": 3})
    many = drift("", "", {"a": 3000, "b": 1000}, {"a": 1000, "b": 3000})
    assert few
    assert many
    assert few.psi > 0.25
    assert not few.exceeds(0.25)
    assert many.exceeds(0.25)
    assert not many.exceeds(5)


MONDAY = date(2026, 1, 5)
FOUR_WEEKS = [MONDAY + timedelta(days=number) for number in range(28)]


def weekly(day: date) -> int:
    """A shop that is quiet at the weekend."""
    return (1000, 980, 1010, 990, 1050, 300, 250)[day.weekday()] + day.day % 5


def test_a_weekend_is_no_gap_but_a_weekday_like_one_is() -> None:
    events = {day: weekly(day) for day in FOUR_WEEKS}
    assert set(judge_days(FOUR_WEEKS, events).values()) == {"usual"}
    events[FOUR_WEEKS[16]] = 280  # a Wednesday
    events[FOUR_WEEKS[20]] = 0
    judged = judge_days(FOUR_WEEKS, events)
    assert {day: verdict for day, verdict in judged.items() if verdict != "usual"} == {
        FOUR_WEEKS[16]: "low",
        FOUR_WEEKS[20]: "empty",
    }


def test_a_day_that_is_not_known_whole_is_cut_off() -> None:
    events = {day: weekly(day) for day in FOUR_WEEKS[:-1]}
    assert judge_days(FOUR_WEEKS, events)[FOUR_WEEKS[-1]] == "cut off"


def test_a_noisy_shop_has_no_low_days() -> None:
    random = np.random.default_rng(5)
    events = {day: int(random.poisson(random.lognormal(3, 1))) + 1 for day in FOUR_WEEKS}
    assert "low" not in judge_days(FOUR_WEEKS, events).values()


def test_usual_is_the_median_of_a_weekday_or_of_all_days_where_there_are_few() -> None:
    saturdays = dict(zip(FOUR_WEEKS[5::7], (10, 40, 20, 900), strict=True))
    events = {day: weekly(day) for day in FOUR_WEEKS} | saturdays
    assert usual_events(events)[5] == 30
    few = {MONDAY: 10, MONDAY + timedelta(days=1): 20, MONDAY + timedelta(days=2): 90}
    assert set(usual_events(few).values()) == {20}
    assert set(usual_events({}).values()) == {0}
