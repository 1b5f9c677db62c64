"""The material of model reports, made by the parts that a training is made of."""

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.training import catalogues, published
from tests.training.shops import DAY, START, Row, events_table, interactions, random_shop
from training.catalogue import Catalogue
from training.data_report.profile import DataProfile, profile_events
from training.errors import TooLittleDataError
from training.evaluation import evaluate
from training.gate import GateReport, Live, inspect, read_live, weigh_recipe
from training.import_events import import_events
from training.interactions import Interactions
from training.judged import Evaluation
from training.lists import Lists
from training.model_report.material import Material, SinceCutOff
from training.model_report.report import report_page
from training.moments import format_moment
from training.publish import publish_version
from training.recipe import fit_served
from training.served import Served
from training.settings import Hyperparameters
from training.shop.simulation import ShopSettings, simulate
from training.split import windows
from training.storage import Folder
from training.verdict import decide

SETTINGS = Hyperparameters(
    als_factors=4,
    als_iterations=2,
    evaluation_days=7,
    evaluation_windows=2,
    fit_windows=2,
    gate_min_users=10,
    ranker="boosted",
    ranker_iterations=30,
    served_version="20251201T000000Z-live",
    threads=1,
)
"""Of a run beside a version that is live."""
FIRST = SETTINGS.model_copy(update={"ranker": "auto", "served_version": None, "gate_min_users": 100})
"""Of the first run."""
SECRET = "secret-shopper"
"""What every user's id begins with."""
HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=http://evil.example/x onerror=alert(1)>",
    "$\\frac{",
    "{{ 7*7 }}",
    "购买",
    "\x1b[31m",
    "a\u202eb",
    "]]>&amp;",
    "x" * 256,
    "\u2028line",
]
"""Ids that try to get out of a page, into a formula, or into a terminal."""
MODELS = ("served", "popular", "recent_popular", "item_item")


@cache
def shop_material() -> Material:
    """A shop with a catalogue and a version that is live; trees rank."""
    table = pa.concat_tables(simulate(ShopSettings(users=300, items=90, days=40, seed=5), threads=1))
    rows: list[Row] = [
        (f"{SECRET}-{user}", item, kind, moment - START)
        for user, item, kind, moment in (tuple(row.values()) for row in table.to_pylist())
    ]
    items = sorted({row[1] for row in rows})
    of_items = {item: f"category-{number % 18:02}" for number, item in enumerate(items)}
    with tempfile.TemporaryDirectory() as folder:
        return material_of(
            interactions(rows),
            Path(folder),
            SETTINGS,
            catalogue=catalogues.catalogue(of_items | dict.fromkeys(items[:9])),
            live_days=9,
            profile=profiled(rows, Path(folder)),
        )


@cache
def shop_page() -> str:
    """The page of `shop_material`."""
    return report_page(shop_material())


@cache
def hostile_page() -> str:
    """The page of `hostile_material`."""
    return report_page(hostile_material())


@cache
def hostile_material() -> Material:
    """Items, kinds and categories under `HOSTILE` names."""
    rows: list[Row] = [
        (
            f"{SECRET}-{user}",
            f"{HOSTILE[int(item[-3:]) % len(HOSTILE)][:240]}{item}",
            "<b>wish\x07</b>" if kind == "wish" else kind,
            moment,
        )
        for user, item, kind, moment in random_shop(3, users=30, items=40, events=900)
    ]
    items = sorted({row[1] for row in rows})
    of_items = {item: HOSTILE[number % len(HOSTILE)] for number, item in enumerate(items)}
    with tempfile.TemporaryDirectory() as folder:
        return material_of(
            interactions(rows),
            Path(folder),
            FIRST,
            catalogue=catalogues.catalogue(of_items),
            profile=profiled(rows, Path(folder)),
        )


def material_of(
    events: Interactions,
    folder: Path,
    settings: Hyperparameters,
    *,
    catalogue: Catalogue | None = None,
    live_days: float | None = None,
    profile: DataProfile | None = None,
) -> Material:
    """A run over all `events`; a version that knows all but the last `live_days` is served where that is set."""
    now = int(events.timestamps[-1]) + 1

    def fit_before(moment: int) -> Served[Lists]:
        return fit_served(events.before(moment), now=moment, settings=settings, catalogue=catalogue)

    try:
        held_out = windows(events, days=settings.evaluation_days, count=settings.evaluation_windows, end=now)
    except TooLittleDataError:
        held_out = []
    evaluation = (
        evaluate(
            held_out,
            events=events,
            served_at=lambda window: fit_before(window.start),
            max_users=None,
            seed=settings.seed,
            models=MODELS,
        )
        if held_out
        else Evaluation.of_nothing()
    )
    live = (
        _live(events, folder, now - round(live_days * DAY), now=now, settings=settings, catalogue=catalogue)
        if live_days is not None
        else None
    )
    weighed = weigh_recipe(
        live, events, now=now, evaluation=evaluation, fit_before=fit_before, settings=settings
    )
    served = fit_before(now)
    lists = inspect(served, live, events, now=now, catalogue_items=_items_of(catalogue))
    verdict = decide(weighed.evidence, lists, settings)
    since = (
        SinceCutOff(window=live.window, recipe=weighed.recipe, champion=weighed.served)
        if live and weighed.recipe and weighed.served
        else None
    )
    return Material(
        gate=GateReport("20260101T000000Z-0a1b2c3d", verdict, weighed.evidence, lists, settings),
        evaluation=evaluation,
        windows=tuple(held_out),
        since_cut_off=since,
        learnt=served.notes,
        examples=served.examples,
        is_release=True,
        category_of=dict(served.category_of),
        profile=profile,
        counts={
            "events": len(events),
            "users": len(events.user_ids),
            "items": len(events.item_ids),
        },
        training_window={
            "from": format_moment(int(events.timestamps[0])),
            "to": format_moment(int(events.timestamps[-1])),
        },
        identity={"dataset_fingerprint": "0f" * 32, "code_version": "c0ffee"},
        seconds={"evaluate": 12.5, "fit": 3.25},
    )


def _live(
    events: Interactions,
    folder: Path,
    until: int,
    *,
    now: int,
    settings: Hyperparameters,
    catalogue: Catalogue | None,
) -> Live:
    """A version of a poorer recipe."""
    poorer = settings.model_copy(update={"without_sources": ("similar", "session_knn")})
    served = fit_served(events.before(until), now=until, settings=poorer, catalogue=catalogue)
    manifest = replace(
        published.manifest("20251201T000000Z-live"),
        as_of=format_moment(until - 1),
        training_window={"from": format_moment(int(events.timestamps[0])), "to": format_moment(until - 1)},
        blend_weights=served.weights,
        exclude_purchased=served.exclude_purchased,
    )
    bucket = Folder(folder / "bucket")
    manifest = publish_version(bucket, served.lists.tables(), manifest=manifest)
    return read_live(bucket, manifest, events, now=now, settings=settings)


def profiled(rows: Iterable[Row], folder: Path) -> DataProfile:
    """The data profile of rows, that come in as a shop's events do."""
    pq.write_table(events_table(rows), folder / "events.parquet")
    import_events(
        [folder / "events.parquet"], folder / "imported", allow_empty_days=True, allow_no_targets=True
    )
    return profile_events(Folder(folder / "imported"))


def _items_of(catalogue: Catalogue | None) -> frozenset[str]:
    return frozenset(catalogue.items["item_id"].to_pylist()) if catalogue else frozenset()
