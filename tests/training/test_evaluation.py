import itertools
import json
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import mlflow
import numpy as np
import pytest

from contract.blending import BlendWeights
from contract.events import ADD_TO_CART, PURCHASE, VIEW
from tests.training.shops import DAY, START, Row, interactions
from training.candidates import Candidates, best_per_user, no_candidates
from training.candidates.popular import Popular, RecentPopular
from training.errors import BadInputError
from training.evaluation import Answered, LookAheadError, answer, evaluate
from training.interactions import Interactions
from training.judged import HISTORIES, PROTOCOLS, Evaluation
from training.lists import Lists
from training.served import Served
from training.split import Window
from training.tracking import log_evaluation
from training.visitors import visitors

WEIGHTS = BlendWeights()
WINDOW = Window(START + 10 * DAY, START + 20 * DAY)


def served_before(events: Interactions, end: int, popular_length: int = 200) -> Served[Lists]:
    """Simple lists: what is popular, and what the same people turned to."""
    past = events.before(end).compact()
    everybody = np.zeros(1, dtype=np.int32)
    baselines = {}
    for source in (Popular(), RecentPopular()):
        source.fit(past, end)
        baselines[source.name] = source.candidates(everybody, popular_length)
    lists = Lists(
        events=past,
        personal=no_candidates(),
        similar=together(past),
        popular=baselines["recent_popular"],
        bought_together=no_candidates(),
        popular_by_category=no_candidates(),
        trending={},
        category_ids=np.array([], dtype=object),
        baselines=baselines,
        history_length=WEIGHTS.history_length,
    )
    return Served(lists=lists, weights=WEIGHTS, exclude_purchased=False, until=end)


def together(events: Interactions) -> Candidates:
    pairs: Counter[tuple[int, int]] = Counter()
    for user in events.distinct_users():
        pairs.update(itertools.permutations(sorted(set(events.items[events.users == user].tolist())), 2))
    if not pairs:
        return no_candidates()
    items, others = np.array(list(pairs), dtype=np.int32).T
    counts = np.array(list(pairs.values()), dtype=np.float32)
    return best_per_user(items, others, counts / counts.max(), 50)


def evaluate_window(events: Interactions, end: int = WINDOW.start, **options: Any) -> Evaluation:
    return evaluate(
        [WINDOW],
        events=events,
        served_at=lambda _: served_before(events, end),
        max_users=100,
        seed=0,
        **options,
    )


def shown_to(evaluation_of: Interactions, kind: str, **options: Any) -> dict[tuple[str, str, str], list[str]]:
    """Lists by protocol, model and user."""
    shown: list[Answered] = []
    evaluate_window(evaluation_of, on_answer=shown.append, **options)
    return {(each.protocol, each.model, each.user_id): each.items for each in shown if each.kind == kind}


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
        "users": 1, "precision@10": 0.1, "recall@10": 1, "ndcg@10": 1, "map@10": 1, "hit_rate@10": 1,
        "coverage": 1, "novelty": 0, "discovery_recall@10": 1,
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


def test_lists_of_a_later_version_are_refused_whatever_their_events_tell() -> None:
    events = interactions([("u", "i", PURCHASE, 1), ("u", "i", PURCHASE, 11 * DAY)])
    later = replace(served_before(events, WINDOW.start), until=WINDOW.start + 1)
    with pytest.raises(LookAheadError):
        evaluate([WINDOW], events=events, served_at=lambda _: later, max_users=100, seed=0)


# Before the window u viewed a, in it first b, then they carted a, b and new, and bought a again.
SOMEBODY: list[Row] = [("u", "a", VIEW, 1), ("u", "a", VIEW, 2), ("u", "b", VIEW, 11 * DAY)] + [
    ("u", item, ADD_TO_CART, 12 * DAY) for item in ("a", "b", "new")
] + [("u", "a", PURCHASE, 13 * DAY)]  # fmt: skip
# What others bought before, the most popular first; new is the last.
OTHERS: list[Row] = [
    (f"other-{n}", item, PURCHASE, 10 + n)
    for rank, item in enumerate(["a", "b", *(f"p{n}" for n in range(6)), "new"])
    for n in range(20 - rank)
]


def test_discovery_leaves_out_what_was_touched_from_lists_and_from_truth() -> None:
    events = interactions([*SOMEBODY, *OTHERS])
    shown = shown_to(events, "discovery")
    (visitor,) = visitors(events, WINDOW, max_users=10, seed=0)
    assert visitor.touched("batch") == {"a"}
    assert visitor.touched("session") == {"a", "b"}
    for model in ("served", "popular", "recent_popular"):
        assert sorted(shown["batch", model, "u"]) == ["b", "new", "p0", "p1", "p2", "p3", "p4", "p5"]
        assert sorted(shown["session", model, "u"]) == ["new", "p0", "p1", "p2", "p3", "p4", "p5"]
    judged = evaluate_window(events).judged
    assert judged["batch"]["served"].discovery.values["precision@10"].tolist() == [0.2]
    assert judged["session"]["served"].discovery.values["precision@10"].tolist() == [0.1]
    assert judged["batch"]["served"].rows.values["precision@10"].tolist() == [pytest.approx(0.3)]


@pytest.mark.parametrize("exclude_purchased", [False, True])
def test_lists_are_what_is_answered_with_and_without_exclusions(exclude_purchased: bool) -> None:
    chance = random.Random(4)
    kinds = [VIEW, VIEW, VIEW, ADD_TO_CART, PURCHASE]
    rows: list[Row] = [
        (
            f"u{chance.randrange(40)}",
            f"i{chance.randrange(60)}",
            chance.choice(kinds),
            chance.randrange(20 * DAY),
        )
        for _ in range(1_500)
    ]
    events = interactions(rows)
    served = replace(served_before(events, WINDOW.start), exclude_purchased=exclude_purchased)
    shown: list[Answered] = []
    evaluate(
        [WINDOW], events=events, served_at=lambda _: served, max_users=30, seed=0, on_answer=shown.append,
        models=["served"],
    )  # fmt: skip
    lists = {(each.protocol, each.kind, each.user_id): each.items for each in shown}
    found = visitors(events, WINDOW, max_users=30, seed=0)
    assert len(lists) == 2 * 2 * len(found) == 120
    for visitor in found:
        for protocol in PROTOCOLS:
            expected = [item.item_id for item in answer(served, visitor, protocol, start=WINDOW.start)]
            touched = visitor.touched(protocol)
            blended = answer(served, visitor, protocol, start=WINDOW.start, exclude=touched)
            new = [item.item_id for item in blended]
            assert lists[protocol, "served", visitor.user_id] == expected
            assert lists[protocol, "discovery", visitor.user_id] == new
            assert len(new) == 10


def test_users_who_turn_to_nothing_new_do_not_count_in_discovery() -> None:
    rows: list[Row] = [("u", "a", VIEW, 1), ("u", "a", PURCHASE, 11 * DAY), ("v", "a", PURCHASE, 11 * DAY)]
    shown: list[Answered] = []
    served = evaluate_window(interactions(rows), on_answer=shown.append).judged["batch"]["served"]
    assert len(served.rows) == 2
    assert len(served.discovery) == 1
    assert served.summary()["discovery"]["users"] == 1
    asked = {(each.kind, each.user_id) for each in shown}
    assert asked == {("served", "u"), ("served", "v"), ("discovery", "u"), ("discovery", "v")}


def test_a_list_that_exclusions_leave_short_is_filled_with_the_best_known_of_the_rest() -> None:
    """The reader has touched all that the popular list holds, which is cut to the four best."""
    popular = [f"popular-{n}" for n in range(4)]
    rare = [f"rare-{n:02}" for n in range(15)]
    rows: list[Row] = [(f"buyer-{n}", item, PURCHASE, n) for n in range(9) for item in popular]
    rows += [(f"looker-{n}", item, VIEW, n) for rank, item in enumerate(rare) for n in range(15 - rank)]
    rows += [("reader", item, VIEW, 50) for item in popular]
    rows += [("reader", "rare-09", PURCHASE, 11 * DAY)]
    events = interactions(rows)
    served = served_before(events, WINDOW.start, popular_length=4)
    shown: list[Answered] = []
    evaluate(
        [WINDOW], events=events, served_at=lambda _: served, max_users=9, seed=0, on_answer=shown.append,
        models=["popular"],
    )  # fmt: skip
    assert {each.kind: each.items for each in shown} == {"served": popular, "discovery": rare[:10]}


def test_parts_of_the_blend_are_judged_by_themselves() -> None:
    rows: list[Row] = [(f"both-{n}", item, VIEW, n) for n in range(5) for item in ("a", "b")]
    rows += [(f"buyer-{n}", f"p{n % 3}", PURCHASE, n) for n in range(9)]
    rows += [("u", "a", VIEW, 11 * DAY), ("u", "b", PURCHASE, 12 * DAY)]
    shown = shown_to(
        interactions(rows), "served", models=["own", "item_item", "popular"], protocols=["session"]
    )
    own, item_item, popular = (shown["session", model, "u"] for model in ("own", "item_item", "popular"))
    assert own[0] == "a"
    assert item_item[0] == "b"
    assert popular[:3] == ["p0", "p1", "p2"]
    assert own.index("p0") < own.index("b")
    assert item_item.index("p0") < item_item.index("a")


def test_an_unknown_model_is_told_with_those_there_are() -> None:
    rows: list[Row] = [("u", "i", PURCHASE, 1), ("u", "i", PURCHASE, 11 * DAY)]
    expected = "no model 'serve'; expected some of served, popular, recent_popular, item_item, own"
    with pytest.raises(BadInputError, match=expected):
        evaluate_window(interactions(rows), models=["served", "serve"])


def test_users_are_told_apart_by_how_much_was_known_of_them() -> None:
    rows: list[Row] = [("someone", "i", PURCHASE, 0)]
    for user, before, inside in [
        ("cold", 0, 0),
        ("new", 0, 2),
        ("some", 3, 1),
        ("more", 10, 0),
        ("most", 10, 1),
    ]:
        rows += [(user, f"i{n}", VIEW, n) for n in range(before)]
        rows += [(user, "i", VIEW, 11 * DAY + n) for n in range(inside)]
        rows += [(user, "i", PURCHASE, 12 * DAY)]
    judged = evaluate_window(interactions(rows)).judged
    users = {
        protocol: {name: each["users"] for name, each in by_model["served"].summary()["by_history"].items()}
        for protocol, by_model in judged.items()
    }
    assert users == {
        "batch": {"0": 2, "1-3": 1, "4-10": 2, "11+": 0},
        "session": {"0": 1, "1-3": 1, "4-10": 2, "11+": 1},
    }


def test_the_rows_of_all_models_are_of_the_same_users_and_windows() -> None:
    rows: list[Row] = [(f"u{n}", f"i{n % 7}", PURCHASE, n * DAY) for n in range(20)] + [
        (f"u{n}", f"i{n % 5}", PURCHASE, (n + 3) * DAY) for n in range(17)
    ]
    events = interactions(rows)
    held_out = [Window(START + 15 * DAY, START + 20 * DAY), Window(START + 10 * DAY, START + 15 * DAY)]
    evaluation = evaluate(
        held_out,
        events=events,
        served_at=lambda window: served_before(events, window.start),
        max_users=None,
        seed=0,
    )
    for by_model in evaluation.judged.values():
        first, *others = by_model.values()
        assert first.rows.windows.tolist() == sorted(first.rows.windows.tolist())
        assert set(first.rows.windows.tolist()) == {0, 1}
        for other in others:
            np.testing.assert_array_equal(other.rows.users, first.rows.users)
            np.testing.assert_array_equal(other.discovery.users, first.discovery.users)


def test_coverage_and_novelty_go_by_what_was_known_when_the_window_began() -> None:
    rows: list[Row] = [(f"u{n}", "all", PURCHASE, n) for n in range(4)]
    rows += [("u0", f"rare-{n}", VIEW, 9) for n in range(3)]
    rows += [("u1", "all", PURCHASE, 11 * DAY), ("later", "unknown", PURCHASE, 11 * DAY)]
    popular = evaluate_window(interactions(rows)).judged["batch"]["popular"]
    assert popular.coverage == 1
    # Of four items one is known to all four users, three to one of them.
    assert popular.novelty == pytest.approx((0 + 3 * 2) / 4)


def test_a_window_without_truth_has_no_metrics_and_no_nan() -> None:
    rows: list[Row] = [("u", "i", PURCHASE, 1), ("u", "i", VIEW, 11 * DAY)]
    evaluation = evaluate_window(interactions(rows))
    assert evaluation["batch"]["served"] == {"users": 0}
    summary = evaluation.judged["batch"]["served"].summary()
    nobody = {"users": 0}
    assert summary == {
        "users": 0, "coverage": None, "novelty": None, "discovery": nobody,
        "by_history": dict.fromkeys(HISTORIES, nobody),
    }  # fmt: skip


def test_an_evaluation_is_a_document_without_nan() -> None:
    evaluation = evaluate_window(interactions([*SOMEBODY, *OTHERS]))
    assert json.loads(json.dumps(dict(evaluation), allow_nan=False)) == evaluation
    assert dict(Evaluation.of_nothing()) == {"batch": {}, "session": {}}
    for by_model in evaluation.judged.values():
        for model, judged in by_model.items():
            summary = judged.summary()
            json.dumps(summary, allow_nan=False)
            recall = summary["recall@10"]
            assert recall["low"] <= recall["value"] <= recall["high"]
            assert recall["value"] == evaluation["batch"][model]["recall@10"]


def test_mlflow_gets_every_metric_with_its_interval(mlflow_server: str) -> None:
    evaluation = evaluate_window(interactions([*SOMEBODY, *OTHERS, ("v", "unknown", PURCHASE, 11 * DAY)]))
    mlflow.set_tracking_uri(mlflow_server)
    with mlflow.start_run() as run:
        log_evaluation(evaluation)
        log_evaluation(Evaluation.of_nothing())
    logged = mlflow.MlflowClient().get_run(run.info.run_id).data.metrics
    for protocol, by_model in evaluation.judged.items():
        for model, judged in by_model.items():
            assert logged[f"{protocol}.{model}.users"] == 2
            for part, rows in {"": judged.rows, "discovery_": judged.discovery}.items():
                recall = rows.intervals()["recall@10"]
                name = f"{protocol}.{model}.{part}recall_at_10"
                found = logged[name], logged[f"{name}_low"], logged[f"{name}_high"]
                assert found == pytest.approx((recall.value, recall.low, recall.high))
                assert recall.low < recall.high
