"""What each part of the model is worth, on a shop that is too small to say so."""

from pathlib import Path

import pytest

from benchmarks.ablations import SOURCES, main
from training.generate_shop import generate_shop
from training.shop.simulation import ShopSettings


def test_each_part_is_left_out_and_compared_with_the_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = tmp_path / "shop.parquet"
    generate_shop(ShopSettings(users=80, items=30, days=20, seed=3), shop)

    assert main(["--events", str(shop), "--days", "5", "--windows", "1"]) == 0

    header, _, *lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == [
        "the whole",
        "the blend without stored personal lists",
        "personal lists by the linear ranker",
        "personal lists by the boosted ranker",
        *(f"without {source}" for source in SOURCES),
    ]
    assert {line.count("|") for line in lines} == {header.count("|")}
    assert "nan" not in "".join(lines)


def test_events_that_are_not_there_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--events", str(tmp_path / "none.parquet")]) == 1
    assert "none.parquet" in capsys.readouterr().err
