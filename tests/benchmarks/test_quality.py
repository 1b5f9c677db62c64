import json
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp

from benchmarks.bars import Bar
from benchmarks.peers.lists import NOTHING, Truth, best, filled, recall_and_ndcg
from benchmarks.peers.session_knn import SessionKnn
from benchmarks.peers.split import Ints, read_split
from benchmarks.quality.judge import OURS, Part, Rows, Shown, bars, beating, judge, read_lists
from benchmarks.quality.report import plot, tables
from benchmarks.quality.run import PEERS_PYTHON, PROJECT, RETAILROCKET, Asked, compare
from benchmarks.quality.split import Split, write_split
from contract.events import ADD_TO_CART, PURCHASE, VIEW
from tests.training.shops import DAY, Row, interactions
from training.errors import BadInputError, TooLittleDataError
from training.interactions import Interactions
from training.judged import KINDS, PROTOCOLS
from training.ranking_metrics import row_values
from training.visitors import visitors

needs_peers = pytest.mark.skipif(
    not PEERS_PYTHON.exists(), reason="the peers are not installed (make bench-quality does it)"
)


def shop() -> Interactions:
    """Forty users who look at an item of their own, and then buy it and its companion, in each of six weeks."""
    rows: list[Row] = []
    for user in range(40):
        for week in range(12):
            moment = week * 7 * DAY + user * 1000
            own = (user + week) % 20
            rows += [
                (f"u{user}", f"i{own}", VIEW, moment),
                (f"u{user}", f"i{own}", ADD_TO_CART, moment + 60_000),
                (f"u{user}", f"i{(own + 1) % 20}", PURCHASE, moment + 120_000),
            ]
    return interactions(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quality") / "split"


@pytest.fixture(scope="module")
def split(folder: Path) -> Split:
    return write_split(shop(), folder, days=7, count=4, max_users=30, seed=0)


def test_the_earlier_half_of_the_windows_is_for_tuning_and_the_later_for_judging(split: Split) -> None:
    assert (split.judged, split.tuning) == ([0, 1], [2, 3])


def test_files_hold_the_users_histories_and_truths_of_the_evaluation(split: Split, folder: Path) -> None:
    events = shop()
    for number, window in enumerate(split.windows):
        found = visitors(events, window, max_users=30, seed=0)
        files = {
            name: pq.read_table(folder / f"window-{number}" / f"{name}.parquet").to_pylist()
            for name in ("training", "live", "visitors", "truth")
        }
        assert all(row["timestamp"] < window.start for row in files["training"])
        assert len(files["training"]) == len(events.before(window.start))
        first = {row["user_id"]: row["first_target"] for row in files["visitors"]}
        assert first == {each.user_id: each.first_target for each in found}
        assert all(window.start <= row["timestamp"] < first[row["user_id"]] for row in files["live"])
        truth = defaultdict(set)
        for row in files["truth"]:
            truth[row["user_id"]].add(row["item_id"])
        assert truth == {each.user_id: each.truth for each in found}


def test_the_peers_read_the_same_states(split: Split, folder: Path) -> None:
    for window in read_split(folder).windows:
        cases = [case for case in split.cases if case.window == window.number]
        assert window.user_ids == [case.user_id for case in cases]
        for protocol in PROTOCOLS:
            new = window.truth_of(protocol, "discovery")
            assert np.diff(new.indptr).tolist() == [len(case.unseen[protocol]) for case in cases]
        latest = window.states["session"].history.timestamps.max()
        assert latest >= window.start > window.states["batch"].history.timestamps.max()


def test_events_for_less_than_two_windows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TooLittleDataError, match="--days"):
        write_split(shop(), tmp_path / "split", days=70, count=6, max_users=10, seed=0)


def test_nobody_with_truth_in_a_half_is_refused(tmp_path: Path) -> None:
    rows: list[Row] = [("u", "i", VIEW, day * DAY) for day in range(40)]
    with pytest.raises(TooLittleDataError, match="nobody"):
        write_split(interactions(rows), tmp_path / "split", days=5, count=4, max_users=10, seed=0)


def lists_of(split: Split, *, right: float) -> dict[Part, Shown]:
    """Lists that hold the truth for a share of the users."""
    random = np.random.default_rng(7)
    parts: dict[Part, Shown] = {}
    for protocol in PROTOCOLS:
        for kind in KINDS:
            shown = {}
            for case in split.cases:
                truth = case.truth if kind == "served" else case.unseen[protocol]
                found = sorted(truth) if random.random() < right else []
                shown[case.window, case.user_id] = [*found, *(f"wrong-{n}" for n in range(10))][:10]
            parts[protocol, kind] = shown
    return parts


def judged_with(split: Split, **rights: float) -> dict[Part, Rows]:
    return judge(
        split,
        {
            (name, part): shown
            for name, right in rights.items()
            for part, shown in lists_of(split, right=right).items()
        },
    )


def test_everybody_is_judged_by_lists_and_truth_alone(split: Split) -> None:
    rows = judged_with(split, ours=1.0, none=0.0)["batch", "served"]
    assert set(rows.values[OURS]["recall@10"]) == {1.0}
    assert set(rows.values["none"]["recall@10"]) == {0.0}
    assert len(rows.users) == len(split.cases)


def test_who_answered_for_other_users_is_refused(split: Split) -> None:
    parts = lists_of(split, right=0.5)
    del parts["session", "served"][split.cases[0].window, split.cases[0].user_id]
    with pytest.raises(BadInputError, match="ours: answered in session served"):
        judge(split, {(OURS, part): shown for part, shown in parts.items()})


def named(found: list[Bar]) -> dict[str, Bar]:
    return {bar.name: bar for bar in found}


def test_bars_hold_where_ours_finds_more_than_the_peers(split: Split) -> None:
    judged = judged_with(split, ours=0.9, popular=0.2, other=0.3)
    found = named(bars(split, judged, ["popular", "other"]))
    assert all(bar.holds for bar in found.values())
    assert found["beaten_by_any_peer"].value == 0
    assert found["popularity_excluded"].value == 1
    estimate = found["recall_estimate_batch"]
    assert estimate.limit is None
    assert 2 < estimate.value < found["recall_vs_best_peer_batch"].value


def test_bars_fail_where_a_peer_finds_more(split: Split) -> None:
    judged = judged_with(split, ours=0.2, popular=0.2, better=0.9)
    found = named(bars(split, judged, ["popular", "better"]))
    assert found["beaten_by_any_peer"].value == 1
    assert not any(
        found[name].holds
        for name in (
            "recall_vs_best_peer_batch",
            "recall_vs_best_peer_session",
            "beaten_by_any_peer",
            "discovery_vs_best_peer",
            "popularity_excluded",
        )
    )


def test_many_peers_make_it_harder_for_each_of_them_to_be_surely_better() -> None:
    ours, one = np.zeros((60, 10), dtype=bool), np.zeros((60, 10), dtype=bool)
    one[:5, 0] = True  # better for five users of sixty: alone it counts, among many it doesn't
    sizes = np.ones(60, dtype=np.int64)
    values = {OURS: row_values(ours, sizes), "one": row_values(one, sizes)}
    values |= {f"same-{n}": row_values(ours, sizes) for n in range(60)}
    rows = Rows(users=np.arange(60), windows=np.zeros(60, dtype=np.int64), values=values)
    assert list(beating(rows, ["one"])) == ["one"]
    assert beating(rows, [name for name in values if name != OURS]) == {}


def test_a_peer_that_finds_nothing_leaves_no_ratio(split: Split) -> None:
    judged = judged_with(split, ours=0.5, popular=0.0)
    with pytest.raises(TooLittleDataError, match="popular"):
        bars(split, judged, ["popular"])


def test_tables_and_plot_tell_of_everybody(split: Split, tmp_path: Path) -> None:
    judged = judged_with(split, ours=0.6, popular=0.3)
    told = tables(split, judged)
    assert told.count("| **ours** |") == told.count("| popular |") == 4
    for name in ("a.svg", "b.svg"):
        plot(split, judged, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_lists_are_read_in_the_order_of_their_ranks(tmp_path: Path) -> None:
    rows = {
        "kind": ["served"] * 2,
        "window": [0, 0],
        "user_id": ["u", "u"],
        "rank": [2, 1],
        "item_id": ["b", "a"],
    }
    pq.write_table(pa.table(rows), tmp_path / "lists.parquet")
    lists = read_lists(tmp_path / "lists.parquet", names={"peer": OURS, "protocol": "batch"})
    assert lists == {(OURS, ("batch", "served")): {(0, "u"): ["a", "b"]}}


def test_missing_events_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="--events"):
        compare(Asked(sources=(tmp_path / "none.parquet",)))


def test_the_real_events_are_looked_for_beside_the_checkout() -> None:
    assert RETAILROCKET.parents[3] == PROJECT.parent


def numbers(*rows: list[int]) -> Ints:
    return np.array(rows, dtype=np.int64)


def test_best_scores_win_ties_go_to_the_more_popular_and_hidden_items_are_left_out() -> None:
    scores = sp.csr_matrix(np.array([[1.0, 3.0, 3.0, 0.0], [0.0, 0.0, 0.0, 2.0]], dtype=np.float32))
    hidden = sp.csr_matrix(np.array([[0.0, 0.0, 1.0, 0.0], [0.0] * 4], dtype=np.float32))
    nothing = sp.csr_matrix((2, 4))
    assert best(scores, nothing)[:, :4].tolist() == [[1, 2, 0, NOTHING], [3, NOTHING, NOTHING, NOTHING]]
    assert best(scores, hidden)[0, :3].tolist() == [1, 0, NOTHING]


def test_a_fill_repeats_nothing() -> None:
    own = numbers([5, 3, *[NOTHING] * 8])
    fill = numbers(list(range(20)))
    assert filled(own, fill).tolist() == [[5, 3, 0, 1, 2, 4, 6, 7, 8, 9]]


def test_the_peers_tune_by_the_metrics_that_judge_them() -> None:
    random = np.random.default_rng(3)
    lists = np.array([random.permutation(30)[:10] for _ in range(50)])
    relevant = random.random((50, 30)) < 0.1
    relevant[relevant.sum(axis=1) == 0, 0] = True
    found = recall_and_ndcg(lists, Truth.of(sp.csr_matrix(relevant.astype(np.float32))))
    hits = np.take_along_axis(relevant, lists, axis=1)
    values = row_values(hits, relevant.sum(axis=1))
    np.testing.assert_allclose(found, np.column_stack([values["recall@10"], values["ndcg@10"]]))


def test_session_knn_finds_what_came_with_the_latest_item(split: Split, folder: Path) -> None:
    window = read_split(folder).windows[0]
    states = window.states["session"]
    model = SessionKnn().fit(window, {"session": 30, "k": 100, "decay": "quadratic", "idf": False})
    listed = best(model.scores(states), sp.csr_matrix((len(states), window.n_items)))
    names = window.item_ids
    for state in range(len(states)):
        latest = states.history.items[states.history.users == state][-1]
        companion = f"i{(int(names[latest][1:]) + 1) % 20}"
        assert companion in names[listed[state][:3]]


@needs_peers
def test_peers_answer_for_every_user_with_ten_distinct_items(
    split: Split, folder: Path, tmp_path: Path
) -> None:
    names = ["popular", "repeat + co-visitation", "session-kNN", "item-item cosine"]
    only = [word for name in names for word in ("--only", name)]
    command = [
        PEERS_PYTHON,
        "-W",
        "error::RuntimeWarning",
        "-m",
        "benchmarks.peers",
        folder,
        "--out",
        tmp_path,
        *only,
    ]
    subprocess.run(list(map(str, command)), cwd=PROJECT, check=True, capture_output=True, timeout=240)
    lists = read_lists(tmp_path / "lists.parquet", names={})
    for shown in lists.values():
        assert all(len(items) == len(set(items)) == 10 for items in shown.values() if len(items) > 9)
    judged = judge(split, lists)  # refuses other users than the split's
    session = judged["session", "served"].values
    assert session["repeat + co-visitation"]["recall@10"].mean() > session["popular"]["recall@10"].mean()
    seen = {(case.window, case.user_id): case.truth - case.unseen["session"] for case in split.cases}
    for name in names:
        for key, items in lists[name, ("session", "discovery")].items():
            assert not seen[key] & set(items)
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert set(settings) == set(names)
