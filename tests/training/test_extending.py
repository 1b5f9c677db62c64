"""The worked examples of `docs/extend.md`, applied to a copy of the code and run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from training.generate_shop import generate_shop
from training.shop.simulation import ShopSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/extend.md").read_text()
NEW_FILE = re.compile(r"^`([\w/]+\.py)`\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DIFF = re.compile(r"^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def section(heading: str) -> str:
    (found,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def lines_of(diff: str, signs: str) -> str:
    return "".join(line[1:] + "\n" for line in diff.splitlines() if line[0] in signs)


def apply(text: str, code: Path) -> None:
    """Write the new file of a section, and make its changes to the one file that it names for them."""
    ((name, content),) = NEW_FILE.findall(text)
    assert not (code / name).exists()
    (code / name).write_text(content)
    (registry,) = re.findall(r"is registered.* in `([\w/]+\.py)`:", text)
    source = (code / registry).read_text()
    diffs = DIFF.findall(text)
    assert len(diffs) == 2  # an import, and the line that registers
    for diff in diffs:
        assert source.count(lines_of(diff, " ")) == 1
        source = source.replace(lines_of(diff, " "), lines_of(diff, " +"))
        assert len(lines_of(diff, "+").splitlines()) == 1
    (code / registry).write_text(source)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code with every example applied."""
    folder = tmp_path_factory.mktemp("code")
    for name in ("contract", "training"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for heading in ("A candidate source", "A feature", "A metric"):
        apply(section(heading), folder)
    return folder


def run(code: Path, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=code,
        env={**os.environ, "PYTHONPATH": str(code)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_examples_take_part_in_a_backtest(code: Path, tmp_path: Path) -> None:
    shop, out = tmp_path / "shop.parquet", tmp_path / "out.json"
    generate_shop(ShopSettings(users=150, items=50, days=40, seed=1), shop)
    quick = ["--windows", "1", "--days", "7", "--set", "als_factors=4", "--set", "fit_windows=2"]
    backtest = ["-m", "training.backtest", str(shop), "--protocol", "batch", "--out", str(out), *quick]
    run(code, *backtest)
    document = json.loads(out.read_text())
    (window,) = document["windows"]
    assert window["learnt"]["sources"]["weekday"]["shown"] > 0
    features = window["learnt"]["ranking"]["importance"]
    assert {"weekday_score", "weekday_rank", "item_momentum"} <= features.keys()
    served = document["models"]["served"]
    reciprocal_rank = served["mrr@10"]
    assert reciprocal_rank["low"] <= reciprocal_rank["value"] <= reciprocal_rank["high"]
    assert served["ndcg@10"]["value"] / 2 < reciprocal_rank["value"] <= served["hit_rate@10"]["value"]

    run(code, *backtest, "--set", "without_sources=weekday")
    (window,) = json.loads(out.read_text())["windows"]
    assert "weekday" not in window["learnt"]["sources"]


def test_the_examples_keep_to_the_rules_of_the_house(code: Path) -> None:
    new = [name for name, _ in NEW_FILE.findall(PAGE)]
    assert len(new) == 3
    run(code, "-m", "ruff", "check", *new)
    run(code, "-m", "ruff", "format", "--check", *new)
