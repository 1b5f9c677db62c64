import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks import __main__ as benchmarks
from benchmarks.bars import Bar
from benchmarks.quality.run import PEERS_PYTHON, PROJECT
from benchmarks.training import ours
from benchmarks.training.candidates import candidates_per_user
from benchmarks.training.ours import Part, Retrained, read_retrained
from benchmarks.training.run import Turn, bars, growth_exponent, table_of_parts
from benchmarks.training.shops import MadeShop, made_shop, read_shop, settings_of
from training.errors import BadInputError
from training.settings import Hyperparameters

needs_peers = pytest.mark.skipif(
    not PEERS_PYTHON.exists(), reason="the peers are not installed (make bench-training does it)"
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> MadeShop:
    return made_shop(0.02, tmp_path_factory.mktemp("shops"))


def test_a_shop_has_about_as_many_events_as_asked_for_and_is_kept(shop: MadeShop) -> None:
    assert shop.events == pytest.approx(20_000, rel=0.05)
    before = shop.file.stat()
    again = made_shop(0.02, shop.file.parent)
    assert (again, again.file.stat().st_mtime_ns) == (shop, before.st_mtime_ns)
    assert list(shop.file.parent.iterdir()) == [shop.file]


def test_a_shop_of_another_size_is_refused(shop: MadeShop, tmp_path: Path) -> None:
    settings = settings_of(0.03)
    name = f"events-{settings.users}-users-{settings.items}-items-{settings.days}-days-{settings.seed}-seed"
    (tmp_path / f"{name}.parquet").write_bytes(shop.file.read_bytes())
    with pytest.raises(BadInputError, match="about 30,000 were asked for"):
        made_shop(0.03, tmp_path)


def test_a_shop_is_in_order_of_time_and_distinct(shop: MadeShop) -> None:
    events = read_shop(shop.file)
    assert (np.diff(events.timestamps) >= 0).all()
    table = pq.read_table(shop.file)
    assert table.group_by(table.column_names).aggregate([]).num_rows == table.num_rows


def test_a_retrain_tells_its_parts_and_gives_everybody_a_list(shop: MadeShop, tmp_path: Path) -> None:
    assert ours.main([str(shop.file), "--out", str(tmp_path / "ours.json")]) == 0
    done = read_retrained(tmp_path / "ours.json")
    events = read_shop(shop.file)
    assert (done.events, done.users) == (shop.events, len(events.distinct_users()))
    names = [part.part for part in done.parts]
    assert (names[0], names[-1]) == ("read", "publish")
    assert {"lessons", "ranker", "blend", "candidates", "lists"} <= set(names)
    peaks = [part.peak_mb for part in done.parts]
    assert peaks == sorted(peaks)
    # The parts after `read` lie within the whole; each is rounded to hundredths.
    assert sum(part.seconds for part in done.parts[1:]) <= done.seconds + 0.01 * len(names)


@needs_peers
def test_the_peer_answers_for_everybody_from_no_more_candidates_than_ours(
    shop: MadeShop, tmp_path: Path
) -> None:
    wanted = candidates_per_user(read_shop(shop.file), Hyperparameters())
    out = tmp_path / "rectools.json"
    command = [
        PEERS_PYTHON, "-m", "benchmarks.peers.retrain", shop.file, "--candidates", wanted, "--trees", 3,
        "--length", 20, "--out", out,
    ]  # fmt: skip
    subprocess.run(list(map(str, command)), cwd=PROJECT, check=True, capture_output=True, timeout=240)
    done = json.loads(out.read_text())
    users = len(read_shop(shop.file).distinct_users())
    assert (done["users"], done["rows"], done["trees"]) == (users, 20 * users, 3)
    assert 0.9 * wanted < done["candidates_per_user"] <= wanted
    assert done["seconds"] == pytest.approx(done["fit_seconds"] + done["recommend_seconds"])


def turn(millions: float, seconds: float, peak_mb: float) -> Turn:
    parts = [Part("read", 1.0, 100.0), Part("lists", seconds, peak_mb)]
    return Turn(Retrained(round(millions * 1e6), 10, 10, "linear", seconds, parts), peak_mb)


def named(found: list[Bar]) -> dict[str, Bar]:
    return {bar.name: bar for bar in found}


def test_growth_is_the_slope_of_log_time_over_log_events() -> None:
    events = [1_000_000, 3_000_000, 10_000_000, 30_000_000]
    assert growth_exponent(events, [each**1.2 / 5 for each in events]) == pytest.approx(1.2)


def test_bars_stand_on_medians_of_time_and_the_worst_memory() -> None:
    turns = {1.0: [turn(1, 10, 50), turn(1, 30, 70), turn(1, 20, 60)], 30.0: [turn(30, 600, 7000)]}
    found = named(bars(turns, {"retrain_vs_rectools": [90, 120, 100]}))
    assert found["retrain_vs_rectools"] == Bar("retrain_vs_rectools", 5.0, 5.0, "higher")
    assert found["growth_exponent"].value == pytest.approx(1.0)
    assert found["growth_exponent"].limit == 1.15
    assert found["peak_mb_1m"] == Bar("peak_mb_1m", 70, None, "lower")
    assert not found["peak_mb_30m"].holds


def test_other_sizes_are_told_without_limits() -> None:
    found = bars({0.05: [turn(0.05, 1, 9999)], 3.0: [turn(3, 900, 9999)]}, {"retrain_vs_rectools": [1.0]})
    assert {bar.name for bar in found} == {
        "retrain_vs_rectools",
        "growth_exponent",
        "peak_mb_0.05m",
        "peak_mb_3m",
    }
    assert {bar.limit for bar in found} == {None}


def test_ours_alone_has_no_ratio() -> None:
    assert [bar.name for bar in bars({3.0: [turn(3, 900, 100)]}, {})] == ["peak_mb_3m"]


def test_the_table_has_a_line_a_part() -> None:
    lines = table_of_parts({1.0: [turn(1, 10, 150)], 3.0: [turn(3, 31, 1450)]}).splitlines()
    assert lines[0] == "| Part | 1,000,000 events | 3,000,000 events |"
    assert lines[3] == "| lists | 10.0 s, 150 MB | 31.0 s, 1,450 MB |"


def test_it_runs_only_when_named() -> None:
    assert "training" in benchmarks.WHEN_NAMED
    assert "training" not in benchmarks.BENCHMARKS
