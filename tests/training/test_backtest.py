"""Backtests from files to figures, recomputed from the lists that they leave."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from contract.events import PURCHASE, VIEW
from tests.training.shops import DAY, START, Row, events_table
from training import backtest
from training.generate_shop import generate_shop
from training.shop.simulation import ShopSettings

QUICK_SETTINGS = ("als_factors=4", "als_iterations=2", "fit_windows=1", "ranker=linear")
QUICK = tuple(f"--set={setting}" for setting in QUICK_SETTINGS)
PROTOCOLS = ("batch", "session")
METRICS = ("precision@10", "recall@10", "ndcg@10", "map@10", "hit_rate@10")


class Measured:
    """What a run left: the document, and the lists."""

    def __init__(self, folder: Path, events: Path, *options: str) -> None:
        out, lists = folder / "result.json", folder / "lists.parquet"
        arguments = [str(events), "--out", str(out), "--recommendations", str(lists), *QUICK, *options]
        assert backtest.main(arguments) == 0
        self.document: dict[str, Any] = json.loads(out.read_text(), parse_constant=_no_constant)
        self.lists: pd.DataFrame = pq.read_table(lists).to_pandas()


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} in a result")


def write_events(rows: Iterable[Row], path: Path) -> Path:
    pq.write_table(events_table(rows), path)
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.parquet"
    generate_shop(ShopSettings(users=500, items=120, days=40, seed=3), path)
    return path


@pytest.fixture(scope="module")
def measured(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Measured]:
    return {
        protocol: Measured(
            tmp_path_factory.mktemp(protocol),
            shop,
            *("--protocol", protocol, "--days", "6", "--windows", "2", "--threads", "2"),
            *("--models", "served,popular,own"),
        )
        for protocol in PROTOCOLS
    }


def moment(text: str) -> int:
    return round(pd.Timestamp(text).timestamp() * 1000)


def states(events: pd.DataFrame, document: dict[str, Any]) -> list[dict[str, Any]]:
    """Of every user and window: what was right, what was known."""
    found = []
    for number, window in enumerate(document["windows"]):
        start, end = moment(window["from"]), moment(window["to"])
        inside = events[(events.timestamp >= start) & (events.timestamp < end)]
        targets = inside[inside.event_type.isin(["add_to_cart", "purchase"])]
        for user, of_user in targets.groupby("user_id"):
            until = start if document["protocol"] == "batch" else of_user.timestamp.min()
            known = events[(events.user_id == user) & (events.timestamp < until)]
            found.append(
                {
                    "window": number,
                    "user_id": user,
                    "truth": set(of_user.item_id),
                    "touched": set(known.item_id),
                    "events": len(known),
                }
            )
    return found


def judge(items: Sequence[str], truth: set[str]) -> dict[str, float]:
    hits = [item in truth for item in items[:10]]
    at_best = min(10, len(truth))
    dcg = sum(1 / math.log2(rank + 1) for rank, hit in enumerate(hits, 1) if hit)
    precisions = [sum(hits[:rank]) / rank for rank, hit in enumerate(hits, 1) if hit]
    return {
        "precision@10": sum(hits) / 10,
        "recall@10": sum(hits) / len(truth),
        "ndcg@10": dcg / sum(1 / math.log2(rank + 1) for rank in range(1, at_best + 1)),
        "map@10": sum(precisions) / at_best,
        "hit_rate@10": float(any(hits)),
    }


def assert_means(found: dict[str, Any], judged: list[dict[str, float]]) -> None:
    assert found["users"] == len(judged)
    for metric in METRICS if judged else ():
        values = [each[metric] for each in judged]
        assert found[metric]["value"] == pytest.approx(np.mean(values), abs=1e-12), metric
        spread = np.std(values) / math.sqrt(len(values))
        assert found[metric]["low"] <= found[metric]["value"] <= found[metric]["high"]
        # A user has rows in two windows, so the interval may be somewhat wider than of independent rows.
        assert 3 * spread <= found[metric]["high"] - found[metric]["low"] <= 6 * spread or len(values) < 30


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_figures_follow_from_the_lists_and_the_events(
    shop: Path, measured: dict[str, Measured], protocol: str
) -> None:
    document, lists = measured[protocol].document, measured[protocol].lists
    events = pd.read_parquet(shop).sort_values("timestamp")
    lists = lists.sort_values("rank")
    shown = lists.groupby(["kind", "window", "user_id"]).item_id.agg(list).to_dict()
    served = document["models"]["served"]
    everyone = states(events, document)
    assert len(everyone) > 100
    assert [window["users"] for window in document["windows"]] == [
        sum(state["window"] == number for state in everyone) for number in range(2)
    ]

    for state in everyone:
        key = (state["window"], state["user_id"])
        state["judged"] = judge(shown[("served", *key)], state["truth"])
        state["new"] = state["truth"] - state["touched"]
        assert not set(shown[("discovery", *key)]) & state["touched"]
    assert_means(served, [state["judged"] for state in everyone])
    assert_means(
        served["discovery"],
        [
            judge(shown[("discovery", state["window"], state["user_id"])], state["new"])
            for state in everyone
            if state["new"]
        ],
    )
    for name, counts in {"0": [0], "1-3": [1, 2, 3], "4-10": range(4, 11), "11+": range(11, 9999)}.items():
        of_users = [state["judged"] for state in everyone if state["events"] in counts]
        assert_means(served["by_history"][name], of_users)

    coverages, informations = [], []
    for number, window in enumerate(document["windows"]):
        past = events[events.timestamp < moment(window["from"])]
        shown_here = lists[(lists.kind == "served") & (lists.window == number)].item_id
        coverages.append(len(set(shown_here) & set(past.item_id)) / past.item_id.nunique())
        known_by = past.groupby("item_id").user_id.nunique() / past.user_id.nunique()
        share = shown_here.map(known_by).fillna(1 / (past.user_id.nunique() + 1))
        informations.append(-np.log2(share))
    assert served["coverage"] == pytest.approx(np.mean(coverages))
    assert served["novelty"] == pytest.approx(np.concatenate(informations).mean())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_lists_hold_ten_distinct_items_for_everyone(measured: dict[str, Measured], protocol: str) -> None:
    document, lists = measured[protocol].document, measured[protocol].lists
    users = sum(window["users"] for window in document["windows"])
    by_list = lists.groupby(["kind", "window", "user_id"])
    assert by_list.ngroups == 2 * users
    assert (by_list["rank"].agg(list).map(lambda ranks: ranks == list(range(1, 11)))).all()
    assert (by_list.item_id.nunique() == 10).all()


def test_what_is_served_beats_popularity_where_history_is_live(measured: dict[str, Measured]) -> None:
    """On a shop whose visitors come back to what they looked at."""
    models = measured["session"].document["models"]
    assert list(models) == ["served", "popular", "own"]
    assert models["served"]["recall@10"]["low"] > models["popular"]["recall@10"]["high"]


def test_differences_are_paired(measured: dict[str, Measured]) -> None:
    document = measured["session"].document
    models, differences = document["models"], document["differences"]
    assert list(differences) == ["served - popular", "served - own"]
    for name, difference in differences.items():
        ours, theirs = (models[model]["recall@10"] for model in name.split(" - "))
        found = difference["recall@10"]
        assert found["value"] == pytest.approx(ours["value"] - theirs["value"])
        assert found["low"] < found["value"] < found["high"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_any_number_of_threads_gives_the_same(
    shop: Path, measured: dict[str, Measured], protocol: str, tmp_path: Path
) -> None:
    options = ("--protocol", protocol, "--days", "6", "--windows", "2", "--threads", "1")
    alone = Measured(tmp_path, shop, *options, "--models", "served,popular,own")
    assert alone.document == measured[protocol].document
    pd.testing.assert_frame_equal(alone.lists, measured[protocol].lists)


def shuffled(events: pd.DataFrame, future: "pd.Series[bool]") -> pd.DataFrame:
    """The same events, but which items those under the mask are about is left to chance."""
    items = events.item_id.to_numpy(copy=True)
    items[future.to_numpy()] = np.random.default_rng(0).permutation(items[future.to_numpy()])
    return events.assign(item_id=items)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_happens_later_changes_no_list(shop: Path, protocol: str, tmp_path: Path) -> None:
    options = ("--protocol", protocol, "--days", "8", "--windows", "1")
    before = Measured(tmp_path, shop, *options)
    events = pd.read_parquet(shop)
    start = moment(before.document["windows"][0]["from"])
    future = events.timestamp >= start
    if protocol == "session":
        targets = events[future & events.event_type.isin(["add_to_cart", "purchase"])]
        first = events.user_id.map(targets.groupby("user_id").timestamp.min())
        future = events.timestamp >= first
    assert future.sum() > 500
    other = tmp_path / "shuffled.parquet"
    changed = shuffled(events, future)
    assert (changed.item_id != events.item_id).sum() > 400
    changed.to_parquet(other)
    after = Measured(tmp_path, other, *options)
    # Rows that became equal to others are dropped by the import, so targets may be fewer, but users aren't.
    assert after.document["windows"] == before.document["windows"]
    served = [each.lists[each.lists.kind == "served"].reset_index(drop=True) for each in (before, after)]
    pd.testing.assert_frame_equal(*served)
    pd.testing.assert_frame_equal(before.lists, after.lists)
    assert after.document["models"]["served"] != before.document["models"]["served"]


def rows_of_a_small_shop() -> list[Row]:
    rows: list[Row] = [(f"u{n % 7}", f"i{n % 5}", VIEW, n * DAY // 4) for n in range(80)]
    return rows + [(f"u{n % 7}", f"i{n % 5}", PURCHASE, n * DAY // 4 + 9) for n in range(0, 80, 3)]


def test_a_span_too_short_shrinks_the_windows_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Measured(
        tmp_path, write_events(rows_of_a_small_shop(), tmp_path / "events.parquet"), "--protocol", "batch"
    )
    (note,) = found.document["notes"]
    assert note.startswith("the events span too little for 3 windows of 14 days: there are 1 of 9.87")
    assert note in capsys.readouterr().err
    assert found.document["days_asked"] == 14
    assert found.document["days"] == pytest.approx(9.875, abs=0.001)
    assert len(found.document["windows"]) == 1
    assert found.document["models"]["served"]["users"] == 7


def test_a_shop_with_fewer_than_ten_items_shows_all_of_them(tmp_path: Path) -> None:
    events = write_events(rows_of_a_small_shop(), tmp_path / "events.parquet")
    lists = Measured(tmp_path, events, "--protocol", "session").lists
    served = lists[lists.kind == "served"]
    assert (served.groupby("user_id").item_id.nunique() == 5).all()


def test_a_window_without_truth_counts_for_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row for row in rows_of_a_small_shop() if row[2] == VIEW or not 15 * DAY <= row[3] < 17.5 * DAY]
    events = write_events(rows, tmp_path / "events.parquet")
    found = Measured(tmp_path, events, "--protocol", "batch", "--days", "2.4", "--windows", "3")
    users = [window["users"] for window in found.document["windows"]]
    assert users[1] == 0
    assert users[0] > 0 < users[2]
    assert sum(users) == found.document["models"]["served"]["users"]
    assert "nobody has a target event from" in capsys.readouterr().err


def test_ids_come_out_as_they_went_in(tmp_path: Path) -> None:
    users, items = (
        ["007", 'a "b" c', "кот 🐈", "1e5", "x,y"],
        ["0012", " spaced ", "🎁", "'quoted'", "1.0", "NaN"],
    )
    rows: list[Row] = [(user, item, VIEW, n * DAY) for n in range(4) for user in users for item in items]
    rows += [(user, item, PURCHASE, 5 * DAY) for user in users for item in items[:2]]
    events = write_events(rows, tmp_path / "events.parquet")
    lists = Measured(tmp_path, events, "--protocol", "batch", "--days", "2", "--windows", "1").lists
    assert set(lists.user_id) == set(users)
    assert set(lists.item_id) == set(items)


def test_other_targets_are_foretold_when_told(tmp_path: Path) -> None:
    rows: list[Row] = [(f"u{n}", "i", VIEW, n) for n in range(3)]
    rows += [("u0", "wished", "wishlist", 9 * DAY), ("u1", "i", PURCHASE, 10 * DAY)]
    events = write_events(rows, tmp_path / "events.parquet")
    options = ("--protocol", "batch", "--windows", "1")
    bought = Measured(tmp_path, events, *options).document
    wished = Measured(tmp_path, events, *options, "--targets", "wishlist").document
    assert (bought["targets"], wished["targets"]) == (["add_to_cart", "purchase"], ["wishlist"])
    assert bought["models"]["served"]["recall@10"]["value"] == 1
    assert wished["models"]["served"]["recall@10"]["value"] == 0


def test_a_sample_of_users_is_taken_where_there_are_more(shop: Path, tmp_path: Path) -> None:
    options = (
        "--protocol",
        "batch",
        "--days",
        "6",
        "--windows",
        "1",
        "--max-users",
        "9",
        "--models",
        "popular,served",
    )
    first = Measured(tmp_path, shop, *options, "--seed", "1")
    assert [window["users"] for window in first.document["windows"]] == [9]
    again = Measured(tmp_path, shop, *options, "--seed", "1")
    other = Measured(tmp_path, shop, *options, "--seed", "2")
    assert set(first.lists.user_id) == set(again.lists.user_id) != set(other.lists.user_id)


def test_settings_come_from_a_file_below_what_the_command_line_tells(shop: Path, tmp_path: Path) -> None:
    file = tmp_path / "tuned.toml"
    file.write_text('evaluation_days = 6\nseed = 7\nals_factors = 4\nfit_windows = 1\nranker = "boosted"\n')
    options = ("--protocol", "batch", "--windows", "1", "--models", "served", "--settings", str(file))
    of_file = Measured(tmp_path, shop, *options).document
    assert (of_file["days"], of_file["seed"]) == (6, 7)
    # Of QUICK, which the command line has as well.
    assert of_file["windows"][0]["learnt"]["ranking"]["ranker"] == "linear"
    own = Measured(tmp_path, shop, *options, "--days", "5", "--seed", "8").document
    assert (own["days"], own["seed"]) == (5, 8)


def fails(events: Path, folder: Path, *options: str) -> list[str]:
    return [str(events), "--protocol", "batch", "--out", str(folder / "result.json"), *QUICK, *options]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("u", "i", PURCHASE, 0)], "the events span 0.00 days: too few to hold out a window"),
        ([(f"u{n}", "i", PURCHASE, 7) for n in range(9)], "the events span 0.00 days"),
        (
            [("u", "i", VIEW, 0), ("u", "i", "favourite", 9 * DAY), ("u", "j", VIEW, 9 * DAY)],
            "nobody has add_to_cart or purchase in the days held out, .*there are favourite, view: name others",
        ),
        ([("u", "i", PURCHASE, 0), ("u", "i", VIEW, 9 * DAY)], "nobody has add_to_cart or purchase"),
    ],
)
def test_events_that_nothing_can_be_measured_by_are_refused(
    rows: list[Row], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backtest.main(fails(write_events(rows, tmp_path / "events.parquet"), tmp_path)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "served,poplar"], "no model 'poplar'; expected some of served, popular"),
        (["--set", "als_factor=3"], "--set: als_factor is unknown; the nearest is als_factors"),
        (["--settings", "nowhere.toml"], "nowhere.toml: cannot be read: No such file or directory"),
        (
            ["--threads", "-1", "--set", "seed=x"],
            "--threads: threads=-1: expected greater than or equal to 0",
        ),
        (["--recommendations", "lists.parquet", "--models", "popular"], "name it in --models"),
        (
            ["--out", "nowhere/result.json"],
            "nowhere/result.json: cannot be written: No such file or directory",
        ),
        (["--out", "."], "is a folder, expected the name of a file"),
        (["--recommendations", "nowhere/lists.parquet"], "nowhere/lists.parquet: cannot be written"),
        (["--as-of", "yesterday"], "'yesterday' is no moment"),
        (["--as-of", "1999-01-01"], "all 107 events came after 1999"),
        (["--column", "no_such=user_id"], "no_such"),
    ],
)
def test_options_that_cannot_be_followed_are_refused_before_the_work(
    options: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    events = write_events(rows_of_a_small_shop(), tmp_path / "events.parquet")
    assert backtest.main(fails(events, tmp_path, *options)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    "option", [("--days", "0"), ("--windows", "-1"), ("--days", "nan"), ("--models", "a,,b")]
)
def test_numbers_and_names_that_make_no_sense_are_refused(
    option: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        backtest.main(fails(tmp_path / "events.parquet", tmp_path, *option))
    assert f"argument {option[0]}" in capsys.readouterr().err


def test_bad_rows_are_told_without_a_path_that_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = tmp_path / "events.csv"
    events.write_text("user_id,item_id,event_type,timestamp\nu,i,view,soon\nu,i,view,1750000000\n")
    assert backtest.main(fails(events, tmp_path)) == 1
    error = capsys.readouterr().err
    assert "1 of 2 rows (50.00%) are bad" in error
    assert "training.import_events" in error
    assert "backtest-" not in error


def test_events_after_a_moment_are_left_out(tmp_path: Path) -> None:
    events = write_events(rows_of_a_small_shop(), tmp_path / "events.parquet")
    as_of = pd.Timestamp(START + 12 * DAY, unit="ms", tz="UTC").isoformat()
    found = Measured(tmp_path, events, "--protocol", "batch", "--as-of", as_of, "--windows", "1").document
    assert moment(found["as_of"]) <= START + 12 * DAY
    assert moment(found["windows"][0]["to"]) == moment(found["as_of"]) + 1


def test_the_program_prints_a_table_and_nothing_else(tmp_path: Path) -> None:
    events = write_events(rows_of_a_small_shop(), tmp_path / "events.parquet")
    options = ["--protocol", "session", "--days", "3", "--windows", "2", "--out", "result.json", *QUICK]
    done = subprocess.run(
        [sys.executable, "-m", "training.backtest", str(events), *options],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    head, blank, headings, served, popular, difference = done.stdout.splitlines()
    assert head.startswith("session: ")
    assert (blank, headings.split()[:3]) == ("", ["model", "users", "recall@10"])
    recall = json.loads((tmp_path / "result.json").read_text())["models"]["served"]["recall@10"]
    assert f"{recall['value']:.4f} ({recall['low']:.4f} to {recall['high']:.4f})" in served
    assert popular.startswith("popular")
    assert difference.startswith("served - popular")
