"""The notebook's figures, on shops whose right answer is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from tests.training.shops import DAY, START, interactions, random_shop
from training.candidates.visits import visits_of
from training.errors import BadInputError
from training.exploration import (
    PEOPLE_TO_JUDGE_AN_ITEM,
    acquaintance,
    conversion,
    events_by_hour,
    gini,
    known_item_share,
    lorenz,
    odds_by_age,
    odds_by_looks,
    popularity_by_memory,
    read_shop,
    sessions_of,
    share_of_top,
)
from training.exploration_answers import meaning, of_memory, of_odds, of_returns, of_seasons
from training.features.aggregates import aggregate
from training.generate_shop import generate_shop
from training.import_events import import_events
from training.interactions import Interactions
from training.shop import habits
from training.shop.simulation import ShopSettings

MINUTE, HOUR = 60_000, 3_600_000


@pytest.fixture(scope="module")
def generated() -> Interactions:
    """A shop whose truth is `training.shop.habits`."""
    return read_shop().events


def test_sessions_are_those_of_the_session_source() -> None:
    events = interactions(random_shop(3))
    sessions, visits = sessions_of(events), visits_of(events)
    assert sessions.ends.tolist() == visits.ends.tolist()
    assert sessions.items.tolist() == np.diff(visits.matrix.indptr).tolist()
    assert sessions.events.sum() == len(events)
    assert sessions.targets.sum() == events.is_target.sum()


def test_a_session_knows_its_user_its_ends_and_its_events() -> None:
    events = interactions(
        [
            ("u", "a", VIEW, 0),
            ("u", "a", ADD_TO_CART, 30 * MINUTE),
            ("u", "b", VIEW, 61 * MINUTE),
            ("v", "a", VIEW, 5 * MINUTE),
        ]
    )
    sessions = sessions_of(events)
    assert events.user_ids[sessions.users].tolist() == ["u", "u", "v"]
    assert (sessions.starts - START).tolist() == [0, 61 * MINUTE, 5 * MINUTE]
    assert (sessions.ends - START).tolist() == [30 * MINUTE, 61 * MINUTE, 5 * MINUTE]
    assert sessions.of_event.tolist() == [0, 2, 0, 1]
    assert sessions.gaps_days.tolist() == pytest.approx([31 / (24 * 60)])


def test_an_hour_of_the_week_is_a_mean_over_all_weeks_that_had_it() -> None:
    monday = 4 * DAY - START % DAY - START // DAY % 7 * DAY  # 1970-01-01 was a Thursday
    rows = [("u", f"i{n}", VIEW, monday + 9 * HOUR + n) for n in range(4)]
    by_hour = events_by_hour(interactions([*rows, ("u", "i", VIEW, monday + 7 * DAY + 9 * HOUR)]))
    assert by_hour.loc[0, 9] == 2.5
    assert by_hour.loc[0, 10] == 0
    assert by_hour.notna().all(axis=None)


def test_an_hour_that_never_came_is_unknown_and_not_empty() -> None:
    by_hour = events_by_hour(interactions([("u", "i", VIEW, 0)]))
    assert by_hour.notna().sum().sum() == 1
    assert "in the hour from" in of_seasons(by_hour, [])


def test_the_generated_shop_is_busiest_when_its_truth_says_so(generated: Interactions) -> None:
    by_hour = events_by_hour(generated)
    assert by_hour.mean().idxmax() == np.argmax(habits.HOUR_WEIGHTS)
    assert by_hour.mean(axis=1).idxmax() == np.argmax(habits.WEEKDAY_FACTORS)


def test_targets_are_told_by_where_the_item_was_met() -> None:
    events = interactions(
        [
            ("u", "earlier", VIEW, 0),
            ("u", "now", VIEW, DAY),
            ("u", "now", ADD_TO_CART, DAY + MINUTE),
            ("u", "now", PURCHASE, DAY + 2 * MINUTE),
            ("u", "earlier", ADD_TO_CART, DAY + 3 * MINUTE),
            ("u", "new", ADD_TO_CART, DAY + 4 * MINUTE),
            ("u", "new", PURCHASE, 2 * DAY),
        ]
    )
    met = acquaintance(events, sessions_of(events))
    assert met.to_dict() == {"in an earlier session": 2, "in this session": 1, "never before": 1}


def test_known_items_are_looked_for_in_later_sessions_alone() -> None:
    events = interactions(
        [("u", "a", VIEW, 0), ("u", "a", VIEW, 1), ("u", "a", VIEW, DAY), ("u", "b", VIEW, 2 * DAY)]
    )
    assert known_item_share(events, sessions_of(events)) == 0.5
    once = interactions([("u", "a", VIEW, 0), ("v", "a", VIEW, 1)])
    assert np.isnan(known_item_share(once, sessions_of(once)))


def test_looks_count_until_the_first_target_of_a_pair() -> None:
    events = interactions(
        [
            ("u", "a", VIEW, 0),
            ("u", "a", VIEW, 1),
            ("u", "a", ADD_TO_CART, 2),
            ("u", "a", VIEW, 3),
            ("u", "a", PURCHASE, 4),
            ("v", "a", VIEW, 5),
            ("w", "b", ADD_TO_CART, 6),
            *(("x", "a", "wish", 10 + n) for n in range(8)),
        ]
    )
    looks = odds_by_looks(events)
    assert looks["looks"].to_dict() == {1: 3, 2: 2, 3: 1, 4: 1, 5: 1, "6+": 3}
    assert looks["targets"].to_dict() == {1: 0, 2: 1, 3: 0, 4: 0, 5: 0, "6+": 0}
    assert looks["share"][2] == 0.5


def test_looking_again_helps_in_the_generated_shop_as_its_truth_says(generated: Interactions) -> None:
    share = odds_by_looks(generated)["share"]
    assert share[1] < share[2] < share[3]
    assert share[3] / share[1] == pytest.approx(
        habits.CART_AFTER_VIEWS[3] / habits.CART_AFTER_VIEWS[1], rel=0.4
    )


def test_the_odds_by_age_are_targets_over_the_time_waited() -> None:
    events = interactions(
        [
            ("u", "a", VIEW, 0),
            ("u", "a", ADD_TO_CART, 2 * DAY),
            ("v", "a", VIEW, 0),
            ("v", "a", VIEW, 4 * DAY),
            ("w", "b", VIEW, 10 * DAY),
        ]
    )
    ages = odds_by_age(events).set_index("from_days")
    # u waited 2 days for the target; v 4 and then 6 until the data's end; w not at all.
    assert ages["pair_days"].sum() == pytest.approx(12)
    assert ages.loc[1.0, ["targets", "pair_days", "to_days"]].tolist() == pytest.approx([1, 1 + 2 + 2, 3])
    assert ages.loc[1.0, "a_day"] == pytest.approx(1 / 5)
    assert ages["targets"].sum() == 1
    assert ages["to_days"].max() == 6


def test_equal_counts_have_no_gini_and_one_that_has_all_the_most() -> None:
    assert gini(np.full(7, 3)) == pytest.approx(0)
    assert gini(np.array([0, 0, 0, 5])) == pytest.approx(3 / 4)
    assert gini(np.zeros(3, dtype=int)) == 0
    assert lorenz(np.array([3, 1])).tolist() == [0, 0.25, 1]


def test_the_top_is_at_least_one() -> None:
    assert share_of_top(np.array([1, 2, 7]), 0.01) == 0.7
    assert share_of_top(np.arange(100), 0.1) == pytest.approx(sum(range(90, 100)) / sum(range(100)))


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_the_spread_of_conversion_is_found_beneath_what_chance_adds(spread: float) -> None:
    random = np.random.default_rng(0)
    mean, people = 0.2, random.integers(PEOPLE_TO_JUDGE_AN_ITEM, 200, 4000)
    # A beta distribution of this mean and standard deviation.
    size = (1 - mean) / (mean * spread**2) - 1 if spread else np.inf
    true = random.beta(mean * size, (1 - mean) * size, len(people)) if spread else mean
    found = conversion(people, random.binomial(people, true))
    assert found is not None
    assert found.items == len(people)
    assert found.mean == pytest.approx(mean, rel=0.05)
    assert found.spread == pytest.approx(spread, abs=0.08)


def test_conversion_is_unknown_where_no_item_has_enough_people_or_a_buyer() -> None:
    few, many = np.array([PEOPLE_TO_JUDGE_AN_ITEM - 1]), np.array([PEOPLE_TO_JUDGE_AN_ITEM])
    assert conversion(few, np.array([3])) is None
    assert conversion(many, np.array([0])) is None


def test_a_short_memory_wins_where_fashion_changes_each_week() -> None:
    rows = []
    for day in range(56):
        for person in range(40):
            # Twenty items a fortnight: what came before is never bought again.
            item = f"i{day // 14:02}-{person % 20:02}"
            rows.append((f"u{person}", item, PURCHASE, day * DAY + person))
    memory = popularity_by_memory(interactions(rows), count=1)
    assert memory["7"] > memory["inf"]
    assert memory["7"] == pytest.approx(0.5)  # ten of the fortnight's twenty


def test_nothing_is_said_of_memory_where_there_is_nothing_to_hit() -> None:
    assert popularity_by_memory(interactions([("u", "a", VIEW, 0)])).isna().all()
    memory = popularity_by_memory(interactions([("u", "a", VIEW, day * DAY) for day in range(9)]))
    assert memory.isna().all()
    assert "no memory can be preferred" in of_memory(memory)


def test_a_shop_without_a_target_gets_no_advice_from_it() -> None:
    events = interactions([("u", "a", VIEW, day * DAY) for day in range(9)])
    counts = aggregate(events, int(events.timestamps[-1]) + 1, threads=1)
    met, memory = acquaintance(events, sessions_of(events)), popularity_by_memory(events)
    advice = meaning(events, counts, met, memory, None)
    assert (advice["this shop"].iloc[[0, 1, 2, 3, 5]] == "too few to tell").all()
    assert of_odds(met, odds_by_looks(events), odds_by_age(events), pd.Series(dtype=float), None) == (
        "**Nothing was carted or bought.**"
    )


def test_a_shop_to_which_nobody_comes_back_is_told_so() -> None:
    events = interactions([("u", "a", VIEW, 0), ("v", "a", VIEW, 1)])
    counts = aggregate(events, int(events.timestamps[-1]) + 1, threads=1)
    assert of_returns(events, sessions_of(events), counts).startswith("**Nobody comes back.**")


def test_a_file_and_the_folder_that_it_was_imported_into_are_the_same_shop(tmp_path: Path) -> None:
    file, bucket = tmp_path / "shop.csv", tmp_path / "bucket"
    generate_shop(ShopSettings(users=40, items=20, days=4, seed=1), file)
    import_events([file], bucket, allow_empty_days=True)
    before = sorted(bucket.rglob("*"))
    of_file, of_bucket = read_shop(str(file)), read_shop(str(bucket))
    assert of_file.events.timestamps.tolist() == of_bucket.events.timestamps.tolist()
    assert of_file.events.user_ids.tolist() == of_bucket.events.user_ids.tolist()
    assert of_file.profile.funnels == of_bucket.profile.funnels
    assert of_file.source == str(file)
    assert sorted(bucket.rglob("*")) == before


def test_a_source_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="nowhere.csv"):
        read_shop(str(tmp_path / "nowhere.csv"))
