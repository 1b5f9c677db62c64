import numpy as np

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from tests.training.shops import START, interactions
from training.interactions import rank_within

ROWS = [
    ("u2", "i9", VIEW, 1),
    ("u1", "i1", VIEW, 2),
    ("u1", "i9", ADD_TO_CART, 3),
    ("u1", "i1", PURCHASE, 4),
    ("u1", "i2", "wishlist", 5),
]


def test_numbers_follow_the_order_of_the_ids_not_of_the_events() -> None:
    events = interactions(ROWS)
    assert events.user_ids.tolist() == ["u1", "u2"]
    assert events.item_ids.tolist() == ["i1", "i2", "i9"]
    assert events.users.tolist() == [1, 0, 0, 0, 0]
    assert [events.item_ids[item] for item in events.items] == ["i9", "i1", "i9", "i1", "i2"]


def test_carts_and_purchases_are_targets_and_nothing_else_is() -> None:
    assert interactions(ROWS).is_target.tolist() == [False, False, True, True, False]


def test_a_window_holds_its_start_and_not_its_end() -> None:
    assert (interactions(ROWS).between(START + 2, START + 4).timestamps - START).tolist() == [2, 3]


def test_a_kind_without_a_weight_gets_the_weight_of_others() -> None:
    weights = interactions(ROWS).weights({VIEW: 1.0, PURCHASE: 5.0}, other=0.25)
    assert weights.tolist() == [1.0, 1.0, 0.25, 5.0, 0.25]


def test_the_latest_distinct_items_are_kept_by_their_latest_event() -> None:
    latest = interactions(ROWS).latest_distinct(2)
    kept = [(latest.user_ids[u], latest.item_ids[i], int(t) - START)
            for u, i, t in zip(latest.users, latest.items, latest.timestamps, strict=True)]  # fmt: skip
    assert kept == [("u2", "i9", 1), ("u1", "i1", 4), ("u1", "i2", 5)]


def test_repeated_events_of_a_pair_add_up_in_the_matrix() -> None:
    events = interactions(ROWS)
    matrix = events.matrix(np.ones(len(events), dtype=np.float32)).toarray()
    assert matrix.tolist() == [[2, 1, 1], [0, 0, 1]]


def test_ranks_start_anew_in_each_run() -> None:
    assert rank_within(np.array([3, 3, 5, 5, 5, 3])).tolist() == [0, 1, 0, 1, 2, 0]
    assert rank_within(np.array([], dtype=np.int32)).tolist() == []
