"""Visits, and what visits like the user's went on to."""

import numpy as np
import pytest

from contract.events import VIEW
from tests.training.shops import DAY, START, Row, interactions, random_shop
from training.candidates import session_knn
from training.candidates.session_knn import QUERY_ITEMS, SessionKnn
from training.candidates.visits import GAP_MS, LONGEST_VISIT, visits_of
from training.interactions import Interactions

NOW = START + 100 * DAY


def items_of_visits(events: Interactions) -> list[set[str]]:
    return [set(events.item_ids[row > 0]) for row in visits_of(events).matrix.toarray()]


def proposed(rows: list[Row], user: str, *, per_user: int = 20) -> dict[str, float]:
    events = interactions(rows)
    source = SessionKnn()
    source.fit(events, NOW)
    found = source.candidates(np.array([list(events.user_ids).index(user)], np.int32), per_user)
    return dict(zip(events.item_ids[found.items], found.scores.tolist(), strict=True))


def test_a_visit_ends_where_more_than_half_an_hour_passes() -> None:
    moments = {"a": 0, "b": GAP_MS, "c": 2 * GAP_MS + 1, "d": 2 * GAP_MS + 2}
    events = interactions([("u", item, VIEW, moment) for item, moment in moments.items()])
    assert GAP_MS == 30 * 60 * 1000
    assert items_of_visits(events) == [{"a", "b"}, {"c", "d"}]
    assert visits_of(events).ends.tolist() == [START + GAP_MS, START + 2 * GAP_MS + 2]


def test_visits_are_of_one_user_each_and_hold_an_item_once() -> None:
    events = interactions(
        [("u", "a", VIEW, 0), ("v", "b", VIEW, 1), ("u", "c", VIEW, 2), ("u", "a", VIEW, 3)]
    )
    visits = visits_of(events)
    assert items_of_visits(events) == [{"a", "c"}, {"b"}]
    assert visits.matrix.data.tolist() == [1, 1, 1]
    assert visits.ends.tolist() == [START + 3, START + 1]


def test_of_a_robots_visit_the_latest_items_count() -> None:
    names = [f"item-{number:03}" for number in range(LONGEST_VISIT + 20)]
    rows = [("robot", name, VIEW, 1_000 * number) for number, name in enumerate(names)]
    again = [("robot", names[0], VIEW, 1_000 * len(names))]  # so the first item is the latest
    assert LONGEST_VISIT == 100
    assert items_of_visits(interactions(rows)) == [set(names[20:])]
    assert items_of_visits(interactions(rows + again)) == [{names[0], *names[21:]}]


def test_visits_are_those_of_a_plain_loop() -> None:
    events = interactions(random_shop(5))
    expected: list[set[str]] = []
    for user in range(len(events.user_ids)):
        last = None
        for row in np.flatnonzero(events.users == user):
            if last is None or events.timestamps[row] - last > GAP_MS:
                expected.append(set())
            expected[-1].add(events.item_ids[events.items[row]])
            last = events.timestamps[row]
    assert items_of_visits(events) == expected
    assert len(expected) > 2 * len(events.user_ids)


def test_no_events_are_no_visits() -> None:
    visits = visits_of(interactions([("u", "a", VIEW, 0)]).before(START))
    assert visits.matrix.shape == (0, 1)
    assert len(visits.ends) == 0


def test_visits_vote_by_the_users_items_that_they_share_later_ones_more() -> None:
    rows = [("near", item, VIEW, number) for number, item in enumerate("abx")]
    rows += [("far", item, VIEW, number) for number, item in enumerate("ay")]
    rows += [("stranger", "z", VIEW, 0)]
    rows += [("u", "a", VIEW, DAY), ("u", "b", VIEW, 2 * DAY)]
    older, newer = 1 - 1 / QUERY_ITEMS, 1.0  # of the user's items, `b` is the latest
    near, far, own_a, own_b = older + newer, older, older, newer
    assert proposed(rows, "u") == pytest.approx(
        {"a": near + far + own_a, "b": near + own_b, "x": near, "y": far}
    )


def test_only_the_users_latest_items_are_looked_up() -> None:
    rows = [("u", f"item-{number:02}", VIEW, number * DAY) for number in range(QUERY_ITEMS + 1)]
    rows += [("v", "item-00", VIEW, 0), ("v", "forgotten", VIEW, 1)]
    rows += [("w", "item-01", VIEW, 0), ("w", "remembered", VIEW, 1)]
    found = proposed(rows, "u")
    assert "forgotten" not in found
    assert found["remembered"] == pytest.approx(1 / QUERY_ITEMS)


def test_of_an_item_the_latest_visits_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    # The numbers of the users, and so of the visits, run against time.
    rows: list[Row] = []
    for number in range(4):
        rows += [(f"v{9 - number}", "shared", VIEW, number * DAY)]
        rows += [(f"v{9 - number}", f"with-{number}", VIEW, number * DAY + 1)]
    rows += [("u", "shared", VIEW, 10 * DAY)]
    assert set(proposed(rows, "u")) == {"shared", "with-0", "with-1", "with-2", "with-3"}
    monkeypatch.setattr(session_knn, "INDEXED_VISITS", 3)
    assert set(proposed(rows, "u")) == {"shared", "with-2", "with-3"}  # the user's own visit is the latest


def test_the_nearest_visits_alone_vote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_knn, "NEIGHBOURS", 1)
    rows = [("near", item, VIEW, number) for number, item in enumerate("abx")]
    rows += [("far", "a", VIEW, 0), ("far", "y", VIEW, 1)]
    rows += [("u", "a", VIEW, DAY), ("u", "b", VIEW, 2 * DAY)]
    assert set(proposed(rows, "u")) == {"a", "b", "x"}
