import pyarrow as pa

from contract.blending import BlendWeights
from contract.events import PURCHASE, VIEW
from contract.recommendations import EVERYTHING, ListKind
from tests.training.shops import DAY, START, Row, interactions, two_camps
from training import lists as lists_module
from training.lists import Lists
from training.lists_schema import LISTS_SCHEMA
from training.recipe import build_lists
from training.settings import Hyperparameters

WEIGHTS = BlendWeights()
SETTINGS = Hyperparameters(als_factors=4, personal_length=5, similar_length=2, popular_length=3)


def lists_of(rows: list[Row]) -> Lists:
    return build_lists(interactions(rows), now=START + DAY, settings=SETTINGS, weights=WEIGHTS)


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


def test_no_list_is_cut_in_two_where_tables_end(monkeypatch: object) -> None:
    whole = pa.concat_tables(list(lists_of(two_camps()).tables()))
    before = lists_module.USERS_A_TABLE
    lists_module.USERS_A_TABLE = 3
    try:
        tables = list(lists_of(two_camps()).tables())
    finally:
        lists_module.USERS_A_TABLE = before
    assert len(tables) > 10
    assert pa.concat_tables(tables).equals(whole)


def test_history_is_newest_first_and_cut_to_its_length() -> None:
    rows = [("u", f"i{n:02}", VIEW, n) for n in range(60)] + [("v", "i00", PURCHASE, 3)]
    lists = lists_of(rows)
    history = lists.history_of("u")
    assert [event.item_id for event in history[:3]] == ["i59", "i58", "i57"]
    assert len(history) == WEIGHTS.history_length


def test_items_of_the_future_change_nothing() -> None:
    """Events after the cut leave every list as it is, even where they bring new users and items."""
    past = two_camps()
    future = [("a-new-user", "a-new-item", PURCHASE, 2 * DAY), ("user-00", "b1", PURCHASE, 3 * DAY)]
    all_events = interactions(past + future)
    with_future = build_lists(
        all_events.before(START + DAY), now=START + DAY, settings=SETTINGS, weights=WEIGHTS
    )

    assert pa.concat_tables(list(with_future.tables())).equals(
        pa.concat_tables(list(lists_of(past).tables()))
    )
