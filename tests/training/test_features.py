"""What the ranker sees, against plain pandas and against sums by hand."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from tests.training.shops import DAY, START, Row, interactions, random_shop
from training.candidates import Candidates
from training.candidates.generator import fit_generator
from training.candidates.pool import Pool, pool
from training.features.aggregates import RECENT_DAYS, SECONDS_A_DAY, Aggregates, aggregate
from training.features.items import PRIOR_PEOPLE
from training.features.matrix import feature_matrix
from training.features.rows import MEMORIES_DAYS, NEVER_DAYS, known
from training.interactions import Interactions
from training.ranking.examples import Examples, examples, featured
from training.settings import Hyperparameters
from training.shop_items import ShopItems
from training.split import Window

NOW = START + 41 * DAY + 123_456
SETTINGS = Hyperparameters(als_factors=4, als_iterations=3, threads=1)


def frame(events: Interactions) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user": events.users,
            "item": events.items,
            "kind": events.event_types,
            "is_target": events.is_target,
            "age": (NOW - events.timestamps) // 1000,
            "day": events.timestamps // DAY,
        }
    )


def pairs_of(events: Interactions) -> pd.DataFrame:
    table = frame(events)
    by_pair, targets = table.groupby(["user", "item"]), table[table.is_target].groupby(["user", "item"])
    columns = {
        "last_age": by_pair.age.min(),
        "first_age": by_pair.age.max(),
        "days": by_pair.day.nunique(),
        "last_target_age": targets.age.min(),
        "first_target_age": targets.age.max(),
        "target_days": targets.day.nunique(),
    }
    for kind in range(len(events.event_type_names)):
        columns[f"n_{kind}"] = table[table.kind == kind].groupby(["user", "item"]).size()
    missing = {name: -1 if name.endswith("target_age") else 0 for name in columns}
    return pd.DataFrame(columns).fillna(missing).astype(int).reset_index()


def items_of(events: Interactions) -> pd.DataFrame:
    table, pairs = frame(events), pairs_of(events)
    by_item, again = table.groupby("item"), pairs[pairs.target_days > 1]
    columns = {
        "events": by_item.size(),
        "targets": by_item.is_target.sum(),
        "first_age": by_item.age.max(),
        "people": by_item.user.nunique(),
        "target_people": table[table.is_target].groupby("item").user.nunique(),
        "again_people": again.groupby("item").size(),
        "again_intervals": (again.target_days - 1).groupby(again["item"]).sum(),
        "again_time": (again.first_target_age - again.last_target_age).groupby(again["item"]).sum(),
    }
    for days in RECENT_DAYS:
        recent = table[table.age <= days * SECONDS_A_DAY]
        columns[f"events_{days}"] = recent.groupby("item").size()
        columns[f"targets_{days}"] = recent.groupby("item").is_target.sum()
    return pd.DataFrame(columns).reindex(range(len(events.item_ids))).fillna(0).astype(int)


def users_of(events: Interactions) -> pd.DataFrame:
    table, pairs = frame(events), pairs_of(events)
    by_user = table.groupby("user")
    columns = {
        "events": by_user.size(),
        "targets": by_user.is_target.sum(),
        "days": by_user.day.nunique(),
        "last_age": by_user.age.min(),
        "first_age": by_user.age.max(),
        "items": by_user["item"].nunique(),
        "target_items": pairs[pairs.target_days > 0].groupby("user").size(),
        "again_items": pairs[pairs.target_days > 1].groupby("user").size(),
    }
    return pd.DataFrame(columns).reindex(range(len(events.user_ids))).fillna(0).astype(int)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("threads", [1, 2])
def test_aggregates_are_those_of_plain_pandas(seed: int, threads: int) -> None:
    rows = random_shop(seed)
    late = [("newcomer", "latest-item", PURCHASE, 42 * DAY)]  # numbered, but without an event before now
    events = interactions(rows + late).before(NOW)
    found = aggregate(events, NOW, threads=threads)
    pairs, items, users = pairs_of(events), items_of(events), users_of(events)
    assert found.now == NOW
    assert found.pair_keys.tolist() == (pairs["user"] * len(events.item_ids) + pairs["item"]).tolist()
    for expected, columns in ((pairs, found.pairs), (items, found.items), (users, found.users)):
        assert set(columns) == set(expected.columns) - {"user", "item"}
        for name, values in columns.items():
            assert values.tolist() == expected[name].tolist(), name
    assert items.again_people.sum() > 0
    assert (pairs.last_target_age == -1).any()


def test_an_age_is_in_whole_seconds() -> None:
    events = interactions([("u", "i", PURCHASE, 0), ("u", "i", VIEW, 1_500)])
    found = aggregate(events, START + 4_000, threads=1)
    ages = {name: values.tolist() for name, values in found.pairs.items() if name.endswith("age")}
    assert ages == {"last_age": [2], "first_age": [4], "last_target_age": [4], "first_target_age": [4]}


def asked(events: Interactions, pairs: Sequence[tuple[str, str]]) -> Pool:
    """A pool of these pairs, by user and item."""
    users, items = (list(names) for names in (events.user_ids, events.item_ids))
    numbers = sorted((users.index(user), items.index(item)) for user, item in pairs)
    found = Candidates(
        np.array([user for user, _ in numbers], np.int32),
        np.array([item for _, item in numbers], np.int32),
        np.ones(len(numbers), np.float32),
    )
    return pool({"any": found}, len(items))


def features_of(rows: list[Row], pairs: Sequence[tuple[str, str]], now: int) -> list[dict[str, float]]:
    """The features of each of the pairs, which ascend."""
    events = interactions(rows)
    names, matrix = feature_matrix(asked(events, pairs), known(events, aggregate(events, now, threads=1)))
    return [dict(zip(names, map(float, row), strict=True)) for row in matrix]


def test_every_feature_of_every_pair_is_finite() -> None:
    events = interactions(random_shop(0))
    facts = known(events, aggregate(events, NOW, threads=1))
    every_pair = asked(events, [(user, item) for user in events.user_ids for item in events.item_ids])
    names, matrix = feature_matrix(every_pair, facts)
    assert matrix.shape == (len(events.user_ids) * len(events.item_ids), len(names))
    assert len(set(names)) == len(names)
    for name, column in zip(names, matrix.T, strict=True):
        assert np.isfinite(column).all(), name


def test_an_items_conversion_leaves_the_users_own_part_out() -> None:
    rows = [("u1", "i", VIEW, 0), ("u2", "i", PURCHASE, 1), ("u3", "i", VIEW, 2), ("u4", "j", VIEW, 3)]
    viewer, buyer, stranger = features_of(rows, [("u1", "i"), ("u2", "i"), ("u4", "i")], START + DAY)
    prior = PRIOR_PEOPLE * 1 / 4  # of four pairs, one bought
    assert viewer["item_conversion"] == pytest.approx((1 + prior) / (2 + PRIOR_PEOPLE))
    assert buyer["item_conversion"] == pytest.approx((0 + prior) / (2 + PRIOR_PEOPLE))
    assert stranger["item_conversion"] == pytest.approx((1 + prior) / (3 + PRIOR_PEOPLE))


def test_an_items_rate_of_return_leaves_the_users_own_part_out() -> None:
    rows = [
        ("u1", "i", PURCHASE, 0),
        ("u1", "i", PURCHASE, DAY),
        ("u2", "i", PURCHASE, 1),
        ("u3", "i", VIEW, 2),
    ]
    again, once, viewer = features_of(rows, [("u1", "i"), ("u2", "i"), ("u3", "i")], START + 2 * DAY)
    prior = PRIOR_PEOPLE * 1 / 2
    assert again["item_again"] == pytest.approx((0 + prior) / (1 + PRIOR_PEOPLE))
    assert once["item_again"] == pytest.approx((1 + prior) / (1 + PRIOR_PEOPLE))
    assert viewer["item_again"] == pytest.approx((1 + prior) / (2 + PRIOR_PEOPLE))


def test_a_monthly_buyer_is_due_after_a_month() -> None:
    rows = [("monthly", "soap", PURCHASE, month * 30 * DAY) for month in range(3)]
    rows += [("once", "soap", ADD_TO_CART, 15 * DAY), ("viewer", "soap", VIEW, 70 * DAY)]
    monthly, once, viewer = features_of(
        rows, [("monthly", "soap"), ("once", "soap"), ("viewer", "soap")], START + 75 * DAY
    )
    assert monthly["pair_due"] == pytest.approx(15 / 30)
    assert once["pair_due"] == pytest.approx(60 / 30)  # by the interval of those who came back
    assert viewer["pair_due"] == -1
    assert monthly["pair_target_age"] == pytest.approx(15)
    assert monthly["pair_target_days"] == 3
    assert monthly["pair_first_age"] == pytest.approx(75)


def test_a_pair_is_told_by_counts_strengths_and_ages() -> None:
    rows = [
        ("u", "i", PURCHASE, 0),
        ("u", "i", VIEW, 2 * DAY),
        ("u", "j", VIEW, 3 * DAY),
        ("u", "i", VIEW, 1),
    ]
    first, second = features_of(rows, [("u", "i"), ("u", "j")], START + 4 * DAY)
    assert first[f"pair_{VIEW}"] == pytest.approx(np.log(3))
    assert first[f"pair_{PURCHASE}"] == pytest.approx(np.log(2))
    assert (first["pair_days"], first["pair_age"], first["pair_first_age"]) == pytest.approx((2, 2, 4))
    assert first["pair_after_target"] == pytest.approx(2)
    assert (first["pair_recency_rank"], second["pair_recency_rank"]) == pytest.approx((np.log(2), 0))
    for half_life in MEMORIES_DAYS:
        strength = sum(0.5 ** (days / half_life) for days in (4, 4 - 1 / DAY, 2))
        assert np.exp(first[f"pair_strength_{half_life:g}d"]) == pytest.approx(strength + 1e-3)


def test_a_pair_without_events_has_its_missing_values() -> None:
    rows = [("u1", "i", PURCHASE, 0), ("u2", "j", VIEW, 1)]
    (stranger,) = features_of(rows, [("u2", "i")], START + DAY)
    missing = {
        f"pair_{VIEW}": 0.0,
        f"pair_{PURCHASE}": 0.0,
        "pair_days": 0.0,
        "pair_age": NEVER_DAYS,
        "pair_first_age": NEVER_DAYS,
        "pair_recency_rank": np.log1p(1e3),
        "pair_target_age": NEVER_DAYS,
        "pair_target_days": 0.0,
        "pair_after_target": 0.0,
        "pair_due": -1.0,
    } | {f"pair_strength_{half_life:g}d": np.log(1e-3) for half_life in MEMORIES_DAYS}
    assert {name: stranger[name] for name in stranger if name.startswith("pair_")} == pytest.approx(missing)


def test_features_are_the_same_for_any_number_of_threads() -> None:
    events = interactions(random_shop(3))
    every_pair = asked(events, [(user, item) for user in events.user_ids for item in events.item_ids])
    one, two, all_there_are = (
        feature_matrix(every_pair, known(events, aggregate(events, NOW, threads=threads)))[1].tobytes()
        for threads in (1, 2, 0)
    )
    assert one == two == all_there_are


def test_what_happens_later_changes_nothing_but_what_came_true() -> None:
    rows = random_shop(4)
    start = START + 30 * DAY
    earlier = [row for row in rows if START + row[3] < start]
    end_of_window = [("user-000", "item-000", VIEW, 39 * DAY), ("user-001", "item-001", VIEW, 39 * DAY)]
    people = sorted({user for user, *_ in rows})
    things = sorted({item for _, item, *_ in rows})
    numbered = [(user, things[0], VIEW, 50 * DAY) for user in people] + [
        (people[0], item, VIEW, 50 * DAY) for item in things
    ]

    def seen(later: list[Row]) -> Examples:
        events = interactions([*earlier, *later, *numbered])
        before = events.before(start)
        items = ShopItems.of(before, None, now=start)
        stage = featured(fit_generator(before, items, now=start, settings=SETTINGS), threads=1)
        window = Window(start, START + 45 * DAY)
        return examples(stage, events, window, before.distinct_users(), per_source=10)

    quiet = seen(end_of_window)
    busy = seen([row for row in rows if START + row[3] >= start])
    assert quiet.names == busy.names
    assert quiet.pool.keys.tolist() == busy.pool.keys.tolist()
    assert quiet.matrix.tobytes() == busy.matrix.tobytes()
    assert not quiet.came_true.any()
    assert busy.came_true.any()


def test_a_single_event_is_enough() -> None:
    (only,) = features_of([("u", "i", PURCHASE, 0)], [("u", "i")], START + DAY)
    assert all(np.isfinite(value) for value in only.values())
    assert only["item_conversion"] == pytest.approx(PRIOR_PEOPLE / PRIOR_PEOPLE)
    assert only["pair_due"] == -1  # nobody came back: no interval to measure by


def sizes(found: Aggregates) -> tuple[set[int], set[int], set[int], int]:
    tables = (found.users, found.items, found.pairs)
    users, items, pairs = ({len(values) for values in table.values()} for table in tables)
    return users, items, pairs, len(found.pair_keys)


def test_without_events_there_is_nothing_known_of_any_pair() -> None:
    events = interactions([("u", "i", PURCHASE, 0)]).before(START)
    found = aggregate(events, START, threads=1)
    assert sizes(found) == ({1}, {1}, {0}, 0)
    names, matrix = feature_matrix(asked(events, [("u", "i")]), known(events, found))
    assert matrix.shape == (1, len(names))
    assert np.isfinite(matrix).all()
    assert matrix[0, names.index("pair_age")] == NEVER_DAYS


def test_without_pairs_there_are_no_rows() -> None:
    events = interactions([("u", "i", PURCHASE, 0)])
    names, matrix = feature_matrix(asked(events, []), known(events, aggregate(events, NOW, threads=1)))
    assert matrix.shape == (0, len(names))
    nobody = events.before(START).compact()
    names, matrix = feature_matrix(pool({}, 0), known(nobody, aggregate(nobody, NOW, threads=1)))
    assert matrix.shape == (0, len(names))
