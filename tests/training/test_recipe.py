from itertools import pairwise

import pyarrow as pa
import pytest

from contract.events import PURCHASE, VIEW
from contract.recommendations import EVERYTHING, ListKind
from tests.training.shops import DAY, START, Row, interactions, two_camps
from training import lists as lists_module
from training.lists import Lists
from training.lists_schema import LISTS_SCHEMA
from training.recipe import fit_served
from training.settings import Hyperparameters

SETTINGS = Hyperparameters(
    als_factors=4, als_iterations=2, personal_length=5, similar_length=2, popular_length=3, threads=1
)


def lists_of(rows: list[Row]) -> Lists:
    return fit_served(interactions(rows), now=START + DAY, settings=SETTINGS).lists


def test_tables_hold_every_list_once_and_follow_the_schema() -> None:
    tables = list(lists_of(two_camps()).tables())
    assert all(table.schema == LISTS_SCHEMA for table in tables)
    rows = pa.concat_tables(tables).to_pylist()
    keys = [(row["kind"], row["key"]) for row in rows]
    assert len(keys) == len(set(keys))
    assert sum(kind == ListKind.PERSONAL for kind, _ in keys) == 20
    assert sum(kind == ListKind.HISTORY for kind, _ in keys) == 20
    assert sum(kind == ListKind.SIMILAR for kind, _ in keys) == 6
    assert (ListKind.POPULAR, EVERYTHING) in keys


def test_tables_and_look_ups_tell_the_same() -> None:
    lists = lists_of(two_camps())
    rows = {(row["kind"], row["key"]): row for row in pa.concat_tables(list(lists.tables())).to_pylist()}
    for user in lists.events.user_ids:
        personal = rows[ListKind.PERSONAL, user]
        assert lists.personal_of(user) == list(zip(personal["item_ids"], personal["scores"], strict=True))
        history = rows[ListKind.HISTORY, user]
        assert [event.item_id for event in lists.history_of(user)] == history["item_ids"]
        assert [event.timestamp for event in lists.history_of(user)] == history["timestamps"]
    for item in lists.events.item_ids:
        similar = rows[ListKind.SIMILAR, item]
        assert lists.similar_to(item) == list(zip(similar["item_ids"], similar["scores"], strict=True))


def test_no_list_is_cut_in_two_where_tables_end(monkeypatch: pytest.MonkeyPatch) -> None:
    lists = lists_of(two_camps())
    whole = pa.concat_tables(list(lists.tables()))
    monkeypatch.setattr(lists_module, "USERS_A_TABLE", 3)
    tables = list(lists.tables())
    assert len(tables) > 10
    assert pa.concat_tables(tables).equals(whole)


def test_history_is_newest_first_and_cut_to_its_length() -> None:
    rows = [("u", f"i{n:02}", VIEW, n) for n in range(60)] + [("v", "i00", PURCHASE, 3)]
    lists = lists_of(rows)
    history = lists.history_of("u")
    assert [event.item_id for event in history[:3]] == ["i59", "i58", "i57"]
    assert len(history) == SETTINGS.history_length


def test_lists_are_best_first_and_cut_to_their_lengths() -> None:
    lists = lists_of(two_camps())
    for user in lists.events.user_ids:
        scores = [score for _, score in lists.personal_of(user)]
        assert len(scores) <= SETTINGS.personal_length
        assert scores[0] == 1
        assert all(one >= other >= 0 for one, other in pairwise(scores))
    assert len(lists.popular_items) == SETTINGS.popular_length


def test_an_item_leads_its_own_similar_list_and_is_not_counted_in_its_length() -> None:
    lists = lists_of(two_camps())
    for item in lists.events.item_ids:
        (itself, odds), *others = lists.similar_to(item)
        assert itself == item
        assert 0 < odds < 1
        assert len(others) == SETTINGS.similar_length
        assert {other[0] for other, _ in others} == {item[0]}
        assert all(0 < score <= 1 for _, score in others)
        assert others == sorted(others, key=lambda scored: (-scored[1], scored[0]))


def test_what_people_come_back_to_has_higher_odds_than_what_they_leave() -> None:
    rows: list[Row] = [(f"u{n}", item, VIEW, n) for n in range(30) for item in ("kept", "left")]
    rows += [(f"u{n}", "kept", PURCHASE, 100 + n) for n in range(30)]
    lists = lists_of(rows)
    odds = {item: lists.similar_to(item)[0][1] for item in ("kept", "left")}
    assert odds["left"] < 0.5 < odds["kept"]


def test_personal_lists_keep_to_a_camp() -> None:
    lists = lists_of(two_camps())
    for user in lists.events.user_ids:
        camp = "ab"[int(user[-2:]) % 2]
        assert {item[0] for item, _ in lists.personal_of(user)[:3]} == {camp}


def test_what_was_learnt_is_told() -> None:
    served = fit_served(interactions(two_camps()), now=START + DAY, settings=SETTINGS)
    assert served.notes["ranking"]["ranker"] in ("prior", "linear", "boosted")
    assert served.notes["ranking"]["reason"]
    assert sum(served.notes["blend"]["measures"].values()) == pytest.approx(1)
    assert served.notes["event_weights"].keys() == set(served.lists.events.event_type_names)


def test_items_of_the_future_change_nothing() -> None:
    """Events after the cut leave every list as it is, even where they bring new users and items."""
    past = two_camps()
    future = [("a-new-user", "a-new-item", PURCHASE, 2 * DAY), ("user-00", "b1", PURCHASE, 3 * DAY)]
    with_future = fit_served(
        interactions(past + future).before(START + DAY), now=START + DAY, settings=SETTINGS
    )
    assert pa.concat_tables(list(with_future.lists.tables())).equals(
        pa.concat_tables(list(lists_of(past).tables()))
    )
