"""Known habits beside measured ones: the arithmetic in short, the whole of it in the long form."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from twin.simulate.habits import Habits, Rate
from twin.simulate.measured import agreements, compare
from twin.simulate.versions import publish_bad, publish_copy
from twin.simulate.visitors import ANSWERED

from contract.recommendations import EVERYTHING, ListKind
from contract.s3_layout import version_prefix
from tests.training.published import manifest, scored, table
from training.publish import publish_version, read_manifest
from training.storage import Folder

ROOT = Path(__file__).parents[2]
HABITS = {"v": Habits(clicks=0.4, carts=0.5, buys=0.5)}
DID = Counter({(ANSWERED, "v"): 1000, ("clicked", "v"): 400, ("carted", "v"): 200, ("bought", "v"): 100})


def measured(**changes: float) -> dict[str, dict[str, float]]:
    found = {ANSWERED: 1000.0, "clicked": 400.0, "carted": 200.0, "bought": 100.0, **changes}
    return {name: {"v": value} for name, value in found.items()}


def test_an_interval_is_that_of_wilson() -> None:
    low, high = Rate(10, 100).interval()
    assert (low, high) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert Rate(0, 20).interval()[0] == pytest.approx(0)
    assert Rate(0, 0).interval() == (0.0, 1.0)


def test_what_was_measured_as_it_was_done_agrees() -> None:
    compared = compare(HABITS, DID, measured())
    assert all(agreements(compared))
    assert compared["v"]["carted"]["measured_rate"] == 0.2


@pytest.mark.parametrize(
    ("changes", "disagreeing"),
    [
        ({"clicked": 399}, 1),
        ({"bought": 200}, 1),
        ({ANSWERED: 1011}, 1),
        ({ANSWERED: 100}, 4),
        ({"clicked": 0, "carted": 0, "bought": 0}, 3),
    ],
)
def test_what_is_missing_or_too_much_does_not_agree(changes: dict[str, float], disagreeing: int) -> None:
    assert agreements(compare(HABITS, DID, measured(**changes))).count(False) == disagreeing


def test_other_habits_than_those_that_visitors_had_do_not_agree() -> None:
    others = {"v": Habits(clicks=0.5, carts=0.5, buys=0.5)}
    assert agreements(compare(others, DID, measured())) == [False, False, True, True]


def test_a_bad_version_has_the_lists_of_others_and_a_copy_the_same(tmp_path: Path) -> None:
    out = Folder(tmp_path)
    lists = [scored(ListKind.PERSONAL, f"u{number}", [f"i{number}"]) for number in range(40)]
    publish_version(
        out, [table([*lists, scored(ListKind.POPULAR, EVERYTHING, ["i"])])], manifest=manifest("good")
    )
    publish_copy(out, "good", "copy")
    publish_bad(out, "good", "bad")
    good, copy, bad = (personal(tmp_path, name) for name in ("good", "copy", "bad"))
    assert good == copy
    assert sorted(good.values()) == sorted(bad.values())
    assert sum(good[user] == bad[user] for user in good) < 10
    assert read_manifest(out, "bad").counts == read_manifest(out, "good").counts


def personal(folder: Path, version: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in sorted((folder / version_prefix(version)).glob("*.parquet")):
        rows = pq.read_table(file).to_pylist()
        found |= {row["key"]: row["item_ids"] for row in rows if row["kind"] == ListKind.PERSONAL}
    return found


@pytest.mark.slow
def test_the_metrics_find_out_what_visitors_do(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "twin.simulate", "--seconds", "15", "--folder", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.endswith("simulate: ok\n")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["agree"] is True
    assert len(summary["versions"]) == 3
    assert summary["panels"]["drawn"] > len(summary["panels"]["without_data"])
