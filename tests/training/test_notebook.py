"""The notebook as it is stored, and as it runs: on a generated shop, and on a file with names of its own."""

import ast
import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from contract.events import KNOWN_EVENT_TYPES
from training.event_weights import learned_event_weights
from training.exploration import Shop, acquaintance, gini, popularity_by_memory, read_shop, sessions_of
from training.features.aggregates import aggregate
from training.generate_shop import generate_shop
from training.repurchase import repurchase_share
from training.shop import habits
from training.shop.simulation import ShopSettings

NOTEBOOK = Path(__file__).parents[2] / "training/notebooks/explore_events.ipynb"
LONGEST_FUNCTION = 4
GENERATED = ShopSettings(users=500, items=120, days=28, seed=3)
THEIR_NAMES = {"view": "Product-View", "add_to_cart": "Add To Basket", "purchase": "Order"}
OWN_KIND = "put on my wish list"


@pytest.fixture(scope="module")
def stored() -> NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_stored_without_output_and_without_a_trace_of_a_machine(stored: NotebookNode) -> None:
    nbformat.validate(stored)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert stored.metadata == {"kernelspec": kernel}
    for cell in _code(stored):
        assert (cell.outputs, cell.execution_count, cell.metadata) == ([], None, {}), cell.id


def test_its_logic_lives_in_the_project(stored: NotebookNode) -> None:
    for cell in _code(stored):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                assert node.end_lineno - node.lineno < LONGEST_FUNCTION, f"{cell.id}: {node.name}"


def test_every_plot_has_a_question_before_it_and_an_answer_after_it(stored: NotebookNode) -> None:
    ids = [cell.id for cell in stored.cells]
    questions = [name for name in ids if name.endswith("-question")]
    assert len(questions) >= 10
    assert all("?" in cell.source for cell in stored.cells if cell.id in questions)
    answered = "".join(cell.source for cell in _code(stored) if cell.id.endswith("-answer"))
    for name in ("funnel", "by_hour", "sessions", "met", "looks", "ages", "weights", "differs", "memory"):
        assert name in answered


@pytest.fixture(scope="module", params=["a generated shop", "a CSV with names of its own"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notebook")
    if request.param == "a generated shop":
        file = folder / "shop.parquet"
        generate_shop(GENERATED, file)
        return file
    file = folder / "export.csv"
    generate_shop(ShopSettings(users=200, items=60, days=15, seed=4), folder / "ours.parquet")
    ours = pd.read_parquet(folder / "ours.parquet").replace({"event_type": THEIR_NAMES})
    wishes = ours[ours["event_type"] == THEIR_NAMES["view"]].iloc[::9].assign(event_type=OWN_KIND)
    ours = pd.concat([ours, wishes.assign(timestamp=wishes["timestamp"] + 1)])
    ours.set_axis(["Customer ID", "SKU", "Event", "Time"], axis=1).to_csv(file, sep=";", index=False)
    return file


@pytest.fixture(scope="module")
def shop(source: Path) -> Shop:
    return read_shop(str(source))


@pytest.fixture(scope="module")
def executed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookNode]:
    """Run with nothing but temporary folders to write to; an error in a cell ends the test."""
    temporary = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENTS", str(source))
        patch.setenv("TMPDIR", str(temporary))
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        folder = {"metadata": {"path": str(tmp_path_factory.mktemp("elsewhere"))}}
        client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=folder)
        # In a thread of its own: nbclient's event loop would take the place of this one's, and stay open.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, client.async_execute()).result()
        yield notebook
    assert not list(temporary.iterdir()), "the notebook left something behind"


def test_it_runs_without_a_warning_and_shows_every_plot(executed: NotebookNode) -> None:
    outputs = [(cell.id, output) for cell in _code(executed) for output in cell.outputs]
    assert not [(name, output.text) for name, output in outputs if output.output_type == "stream"]
    plots = [name for name, output in outputs if {"image/png", "image/svg+xml"} & set(output.get("data", {}))]
    assert plots == [
        "funnel",
        "days",
        "hours",
        "returns",
        "tail",
        "sessions",
        "met",
        "looks",
        "ages",
        "kinds",
        "items",
        "memory",
    ]


def test_the_size_that_it_tells_is_the_shops(executed: NotebookNode, shop: Shop) -> None:
    events = shop.events
    told = _answer(executed, "shop")
    assert (
        f"{len(events):,} events of {len(events.user_ids):,} users and {len(events.item_ids):,} items" in told
    )
    assert f"{len(sessions_of(events).users):,} sessions" in told
    assert f"{events.is_target.mean():.1%} of the events are targets" in told


def test_the_funnel_is_the_data_reports(executed: NotebookNode, shop: Shop) -> None:
    users, sessions = shop.profile.funnels
    told = _answer(executed, "funnel")
    assert f"{users.cart_rate:.1%} carted; of these, {users.purchase_rate:.1%} bought" in told
    assert f"{sessions.cart_rate:.1%} and {sessions.purchase_rate:.1%}" in told


def test_the_busiest_hour_is_about_the_one_of_the_shops_truth(executed: NotebookNode) -> None:
    told = re.search(r"hour from (\d\d):00 UTC", _answer(executed, "seasons"))
    assert told
    assert habits.HOUR_WEIGHTS[int(told[1])] > 0.8 * max(habits.HOUR_WEIGHTS)


def test_the_figures_of_the_training_are_the_trainings_own(executed: NotebookNode, shop: Shop) -> None:
    events = shop.events
    counts = aggregate(events, int(events.timestamps[-1]) + 1, threads=1)
    share = repurchase_share(events)
    assert share is None or f"{share:.1%} hit what they had bought" in _answer(executed, "returns")
    assert f"Gini {gini(counts.items['events']):.2f}" in _answer(executed, "tail")
    kind, weight = max(
        (
            (name, weight)
            for name, weight in learned_event_weights(events).items()
            if name not in events.targets
        ),
        key=lambda learned: learned[1],
    )
    assert f"{kind} tells the most ({weight:.3f})" in _answer(executed, "odds")
    met = acquaintance(events, sessions_of(events))
    assert f"{met.iloc[0] / met.sum():.1%} of what is carted or bought" in _answer(executed, "odds")
    assert f"the vote gets {popularity_by_memory(events)['vote']:.1%}" in _answer(executed, "memory")


def test_a_kind_of_event_that_only_this_shop_has_is_shown(executed: NotebookNode, shop: Shop) -> None:
    (table,) = [cell for cell in _code(executed) if cell.id == "shop"]
    counts = dict(zip(shop.events.event_type_names, np.bincount(shop.events.event_types), strict=True))
    for kind, count in counts.items():
        assert kind in table.outputs[0].data["text/html"]
        assert f"<td>{count}</td>" in table.outputs[0].data["text/html"]
    if shop.source.endswith(".csv"):
        assert set(counts) - set(KNOWN_EVENT_TYPES) == {OWN_KIND}


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _answer(notebook: NotebookNode, section: str) -> str:
    (cell,) = [cell for cell in _code(notebook) if cell.id == f"{section}-answer"]
    told: str = cell.outputs[0].data["text/markdown"]
    return told
