import math

import pytest

from contract.blending import BlendWeights
from contract.events import ADD_TO_CART, PURCHASE, VIEW
from tests.training.shops import DAY, START, Row, interactions
from training.evaluation import LookAheadError, Tally, evaluate, visitors
from training.interactions import Interactions
from training.lists import Lists
from training.recipe import build_lists
from training.served import Served
from training.settings import Hyperparameters
from training.split import Window

WEIGHTS = BlendWeights()
SETTINGS = Hyperparameters(als_factors=2)
WINDOW = Window(START + 10 * DAY, START + 20 * DAY)


def served_before(events: Interactions, end: int) -> Served[Lists]:
    lists = build_lists(events.before(end), now=end, settings=SETTINGS, weights=WEIGHTS)
    return Served(lists=lists, weights=WEIGHTS, exclude_purchased=False, until=end)


def evaluate_window(events: Interactions, end: int = WINDOW.start) -> dict[str, dict[str, dict[str, float]]]:
    return evaluate(
        [WINDOW],
        events=events,
        served_at=lambda _: served_before(events, end),
        max_users=100,
        seed=0,
    )


def test_metrics_of_a_list_worked_out_by_hand() -> None:
    tally = Tally()
    tally.add(["x", "hit", "y", "other hit"], {"hit", "other hit", "missed"})
    metrics = tally.metrics()
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert metrics == {
        "users": 1,
        "precision@10": pytest.approx(0.2),
        "recall@10": pytest.approx(2 / 3),
        "ndcg@10": pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal),
        "hit_rate@10": 1.0,
    }


def test_only_the_first_ten_count() -> None:
    tally = Tally()
    tally.add([f"x{n}" for n in range(10)] + ["hit"], {"hit"})
    assert tally.metrics()["recall@10"] == 0


def test_no_users_means_no_metric_rather_than_nan() -> None:
    assert Tally().metrics() == {"users": 0}


def test_a_session_ends_just_before_the_first_cart_or_purchase() -> None:
    rows: list[Row] = [
        ("u", "before", VIEW, 9 * DAY),
        ("u", "a", VIEW, 11 * DAY),
        ("u", "b", VIEW, 12 * DAY),
        ("u", "b", ADD_TO_CART, 12 * DAY + 1),
        ("u", "c", VIEW, 13 * DAY),
        ("u", "c", PURCHASE, 14 * DAY),
        ("only looks", "a", VIEW, 11 * DAY),
        ("too late", "a", PURCHASE, 20 * DAY),
    ]
    (visitor,) = visitors(interactions(rows), WINDOW, max_users=10, seed=0)
    assert visitor.truth == {"b", "c"}
    assert [event.item_id for event in visitor.live] == ["b", "a"]
    assert visitor.first_target == START + 12 * DAY + 1


def test_live_history_finds_what_the_batch_cannot_know() -> None:
    old: list[Row] = [("someone", f"popular-{n}", PURCHASE, n) for n in range(12)]
    new: list[Row] = [("u", "niche", VIEW, 11 * DAY), ("u", "niche", PURCHASE, 11 * DAY + 5)]
    rows = [*old, ("other", "niche", VIEW, 1), *new]
    metrics = evaluate_window(interactions(rows))
    assert metrics["session"]["served"]["recall@10"] == 1
    assert metrics["batch"]["served"]["recall@10"] == 0
    assert metrics["batch"]["popular"]["users"] == 1


def test_users_without_history_count_too() -> None:
    rows: list[Row] = [("someone", "hit", PURCHASE, 1), ("cold", "hit", PURCHASE, 11 * DAY)]
    metrics = evaluate_window(interactions(rows))
    assert metrics["batch"]["served"] == {
        "users": 1, "precision@10": 0.1, "recall@10": 1, "ndcg@10": 1, "hit_rate@10": 1,
    }  # fmt: skip


def test_a_sample_of_users_is_the_same_for_the_same_seed() -> None:
    rows: list[Row] = [(f"u{n}", "i", PURCHASE, 11 * DAY + n) for n in range(50)]
    events = interactions(rows)
    first, again, other = (
        [each.user_id for each in visitors(events, WINDOW, max_users=7, seed=seed)] for seed in (1, 1, 2)
    )
    assert len(first) == 7
    assert first == again != other


def test_lists_that_know_the_window_are_refused() -> None:
    rows: list[Row] = [("u", "i", PURCHASE, 1), ("u", "i", PURCHASE, 11 * DAY)]
    with pytest.raises(LookAheadError):
        evaluate_window(interactions(rows), end=WINDOW.end)
