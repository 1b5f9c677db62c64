import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from contract.events import KNOWN_EVENT_TYPES
from training.catalogue import read_catalogue
from training.errors import BadInputError
from training.generate_shop import generate_shop
from training.importing.catalogue import import_catalogue
from training.moments import MILLISECONDS_A_DAY
from training.shop import habits
from training.shop.sessions import CART, PURCHASE, VIEW
from training.shop.simulation import ShopSettings
from training.storage import Folder

SETTINGS = ShopSettings(users=6_000, items=600, days=60, seed=5)
FIRST_DATE = np.datetime64(SETTINGS.start_ms, "ms").astype("datetime64[D]")

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class KnownShop:
    """Events as numbers, a person's after another's, each in the order of time; and what is true."""

    users: Numbers
    items: Numbers
    kinds: Numbers
    days: Numbers
    items_truth: pa.Table
    users_truth: pa.Table
    truth: dict[str, dict[str, object]]
    catalogue: pa.Table

    @cached_property
    def category(self) -> npt.NDArray[np.object_]:
        """Of each event's item."""
        categories: npt.NDArray[np.object_] = self.items_truth["category_id"].to_numpy()[self.items]
        return categories

    def visits(self) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
        """User, day, and the items and kinds of the events, visit by visit."""
        rows = zip(
            self.users.tolist(), self.days.tolist(), self.items.tolist(), self.kinds.tolist(), strict=True
        )
        for (user, day), visit in groupby(rows, key=lambda row: row[:2]):
            yield user, day, [row[2:] for row in visit]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    generate_shop(
        SETTINGS,
        folder / "shop.parquet",
        truth=folder / "deep" / "truth",
        catalogue=folder / "deep" / "catalogue.parquet",
    )
    return folder


@pytest.fixture(scope="module")
def shop(folder: Path) -> KnownShop:
    events = pq.read_table(folder / "shop.parquet")
    users, items = (numbers(events[name]) for name in ("user_id", "item_id"))
    kinds = np.array([KNOWN_EVENT_TYPES.index(kind) for kind in events["event_type"].to_pylist()])
    days = (events["timestamp"].to_numpy() - SETTINGS.start_ms) // MILLISECONDS_A_DAY
    order = np.argsort(users, kind="stable")
    return KnownShop(
        users[order],
        items[order],
        kinds[order],
        days[order],
        items_truth=pq.read_table(folder / "deep" / "truth" / "items.parquet"),
        users_truth=pq.read_table(folder / "deep" / "truth" / "users.parquet"),
        truth=json.loads((folder / "deep" / "truth" / "truth.json").read_text()),
        catalogue=pq.read_table(folder / "deep" / "catalogue.parquet"),
    )


def numbers(ids: pa.ChunkedArray) -> Numbers:
    return np.array([int(name.rpartition("-")[2]) for name in ids.to_pylist()])


def days_of(dates: pa.ChunkedArray, otherwise: int) -> Numbers:
    """Days numbered from 0, of dates that may be missing."""
    days = (dates.to_numpy() - FIRST_DATE).astype("timedelta64[D]")
    return np.where(np.isnat(days), otherwise, days.astype(np.int64))


def standard_errors_off(happened: npt.NDArray[np.bool_], chance: npt.NDArray[np.float64]) -> float:
    """How far what happened is from what its chances let one expect."""
    return float((happened.sum() - chance.sum()) / np.sqrt((chance * (1 - chance)).sum()))


def test_every_item_and_every_user_has_a_row_of_truth(shop: KnownShop) -> None:
    assert (numbers(shop.items_truth["item_id"]) == np.arange(SETTINGS.items)).all()
    assert (numbers(shop.users_truth["user_id"]) == np.arange(SETTINGS.users)).all()
    assert shop.items_truth.schema.names == [
        "item_id",
        "category_id",
        "is_consumable",
        "conversion",
        "launched",
        "withdrawn",
        "popularity_at_start",
        "popularity_at_end",
    ]
    assert shop.users_truth.schema.names == ["user_id", "favourites", "keenness", "sessions_a_day", "joined"]
    assert shop.users_truth["joined"].null_count == 0


def test_constants_and_settings_are_told_by_name(shop: KnownShop) -> None:
    assert shop.truth["settings"] == {
        "users": 6_000,
        "items": 600,
        "days": 60,
        "seed": 5,
        "end_ms": SETTINGS.end_ms,
        "start": "2025-11-02T00:00:00.000Z",
        "end": "2026-01-01T00:00:00.000Z",
    }
    told = shop.truth["habits"]
    assert (told["repurchase"], told["days_until_repurchase"]) == (0.15, 10)
    assert told["cart_after_views"] == list(habits.CART_AFTER_VIEWS)
    assert set(told) == {name.lower() for name in vars(habits) if name.isupper()}


def test_a_first_look_leads_to_a_cart_as_often_as_the_truth_says(shop: KnownShop) -> None:
    views = np.flatnonzero(shop.kinds == VIEW)
    _, first = np.unique(shop.users[views] * SETTINGS.items + shop.items[views], return_index=True)
    looks = views[first]
    after = np.minimum(looks + 1, len(shop.users) - 1)
    is_same = (shop.users[after] == shop.users[looks]) & (shop.items[after] == shop.items[looks])
    carts = is_same & (shop.kinds[after] == CART)
    conversion = shop.items_truth["conversion"].to_numpy()[shop.items[looks]]
    keenness = shop.users_truth["keenness"].to_numpy()[shop.users[looks]]
    chance = np.minimum(habits.CART_AFTER_VIEWS[1] * conversion * keenness, 1.0)
    fifths = np.searchsorted(np.quantile(conversion, [0.2, 0.4, 0.6, 0.8]), conversion)
    assert len(looks) > 50_000
    for fifth in range(5):
        assert abs(standard_errors_off(carts[fifths == fifth], chance[fifths == fifth])) < 4
    assert carts[fifths == 4].mean() > 4 * carts[fifths == 0].mean()


def test_learning_conversion_by_item_pays(shop: KnownShop) -> None:
    """What items did in the first half tells how they do in the second, whatever their popularity."""

    def rates(is_half: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        views, carts = (
            np.bincount(shop.items[is_half & (shop.kinds == kind)], minlength=SETTINGS.items)
            for kind in (VIEW, CART)
        )
        return np.where(views >= 100, carts / np.maximum(views, 1), np.nan)

    early, late = rates(shop.days < SETTINGS.days // 2), rates(shop.days >= SETTINGS.days // 2)
    both = np.isfinite(early) & np.isfinite(late)
    assert both.sum() > 200
    assert spearmanr(early[both], late[both]).statistic > 0.5
    assert spearmanr(early[both], shop.items_truth["conversion"].to_numpy()[both]).statistic > 0.6


def test_first_visits_are_about_favourites_as_often_as_the_truth_says(shop: KnownShop) -> None:
    users, first = np.unique(shop.users, return_index=True)
    seen = shop.category[first]
    favourites = np.array(shop.users_truth["favourites"].to_pylist())[users]
    assert len(users) > 4_000
    _, sizes = np.unique(seen, return_counts=True)
    largest = sizes.max() / len(seen)
    for place, weight in enumerate(habits.FAVOURITE_WEIGHTS):
        chance = (1 - habits.ANY_CATEGORY) * weight
        others = np.delete(favourites, place, axis=1)
        is_clear = (others != favourites[:, [place]]).all(axis=1)
        share = (seen == favourites[:, place])[is_clear].mean()
        tolerance = 4 * np.sqrt(chance / is_clear.sum())
        assert chance - tolerance < share < chance + habits.ANY_CATEGORY * largest + tolerance


def test_people_come_as_often_as_the_truth_says_and_not_before_they_join(shop: KnownShop) -> None:
    rate = shop.users_truth["sessions_a_day"].to_numpy().astype(np.float64)
    joined = days_of(shop.users_truth["joined"], otherwise=0)
    assert (shop.days >= joined[shop.users]).all()
    comes = np.zeros((SETTINGS.users, SETTINGS.days), dtype=np.bool_)
    comes[shop.users, shop.days] = True
    weekdays = (FIRST_DATE + np.arange(SETTINGS.days)).astype("datetime64[D]").astype(np.int64) + 3
    chance = 1 - np.exp(-np.outer(rate, np.array(habits.WEEKDAY_FACTORS)[weekdays % 7]))
    chance[np.arange(SETTINGS.days) < joined[:, np.newaxis]] = 0.0
    for quarter in np.array_split(np.argsort(rate), 4):
        assert abs(standard_errors_off(comes[quarter], chance[quarter])) < 4


def test_consumables_are_bought_again_when_and_as_often_as_the_truth_says(shop: KnownShop) -> None:
    is_consumable = shop.items_truth["is_consumable"].to_pylist()
    withdrawn = days_of(shop.items_truth["withdrawn"], otherwise=SETTINGS.days + 1)
    due, early = [], []
    latest: dict[int, tuple[int, int]] = {}
    for user, day, visit in shop.visits():
        if user in latest and day < withdrawn[latest[user][0]]:
            item, bought_on = latest[user]
            buys_again = visit[:3] == [(item, VIEW), (item, CART), (item, PURCHASE)]
            (due if day - bought_on >= habits.DAYS_UNTIL_REPURCHASE else early).append(buys_again)
        for item, kind in visit:
            if kind == PURCHASE and is_consumable[item]:
                latest[user] = item, day
    assert len(due) > 1_000
    assert len(early) > 1_000
    assert abs(standard_errors_off(np.array(due), np.full(len(due), habits.REPURCHASE))) < 4
    assert np.mean(early) < 0.005


def test_nothing_happens_to_items_that_are_not_sold(shop: KnownShop) -> None:
    launched = days_of(shop.items_truth["launched"], otherwise=-1)
    withdrawn = days_of(shop.items_truth["withdrawn"], otherwise=SETTINGS.days + 1)
    assert (shop.days >= launched[shop.items]).all()
    assert (shop.days < withdrawn[shop.items]).all()
    assert (launched >= SETTINGS.days).sum() > 3
    assert (withdrawn <= SETTINGS.days).sum() > 10
    assert ((launched > 0) & (launched < SETTINGS.days)).sum() > 50


def test_popularity_tells_what_is_looked_at_within_a_category(shop: KnownShop) -> None:
    is_old = np.array(shop.items_truth["launched"].is_null()) & np.array(
        shop.items_truth["withdrawn"].is_null()
    )
    _, categories = np.unique(shop.items_truth["category_id"].to_numpy(), return_inverse=True)

    def share(weights: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        weights = np.where(is_old, weights, 0.0)
        return (weights / np.bincount(categories, weights)[categories])[is_old]

    def looks(days: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        return share(np.bincount(shop.items[days & (shop.kinds == VIEW)], minlength=SETTINGS.items))

    start, end = (share(shop.items_truth[f"popularity_at_{when}"].to_numpy()) for when in ("start", "end"))
    first, last = looks(shop.days < 5), looks(shop.days >= SETTINGS.days - 5)
    assert spearmanr(start, first).statistic > max(0.7, spearmanr(end, first).statistic)
    assert spearmanr(end, last).statistic > max(0.7, spearmanr(start, last).statistic)


def test_the_catalogue_says_what_is_sold_when_the_last_day_is_over(shop: KnownShop) -> None:
    assert shop.catalogue.select(["item_id", "category_id"]).equals(
        shop.items_truth.select(["item_id", "category_id"])
    )
    launched = days_of(shop.items_truth["launched"], otherwise=-1)
    withdrawn = days_of(shop.items_truth["withdrawn"], otherwise=SETTINGS.days + 1)
    expected = (launched <= SETTINGS.days) & (withdrawn > SETTINGS.days)
    assert shop.catalogue["available"].to_pylist() == expected.tolist()
    assert 0.85 < expected.mean() < 0.97


@pytest.mark.parametrize("name", ["catalogue.parquet", "catalogue.csv"])
def test_the_catalogue_can_be_imported(tmp_path: Path, name: str) -> None:
    settings = ShopSettings(users=20, items=300, days=10)
    generate_shop(settings, tmp_path / "shop.csv", catalogue=tmp_path / name)
    report = import_catalogue([tmp_path / name], tmp_path / "bucket", as_of_ms=settings.end_ms)
    assert (report.rows, report.rejected_rows) == (300, 0)
    imported = read_catalogue(Folder(tmp_path / "bucket"), report.info.version).items
    file = tmp_path / name
    written = pq.read_table(file) if file.suffix == ".parquet" else pacsv.read_csv(file)
    assert imported.equals(written)
    assert len(set(written["available"].to_pylist())) == 2


def test_truth_can_be_asked_in_sql(folder: Path) -> None:
    (first,) = duckdb.sql(f"""
        SELECT count(*) FROM '{folder}/shop.parquet' JOIN '{folder}/deep/truth/users.parquet' USING (user_id)
        JOIN '{folder}/deep/truth/items.parquet' USING (item_id) WHERE category_id = favourites[1]
    """).fetchall()
    rows = pq.read_metadata(folder / "shop.parquet").num_rows
    assert 0.4 < first[0] / rows < 0.65


def test_where_truth_and_catalogue_cannot_be_written_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = ShopSettings(users=5, items=5, days=2)
    with pytest.raises(BadInputError, match="truth: cannot be written"):
        generate_shop(settings, tmp_path / "a.csv", truth=tmp_path / "file" / "truth")
    with pytest.raises(BadInputError, match=r"a\.json: expected a name that ends with \.parquet or \.csv"):
        generate_shop(settings, tmp_path / "a.csv", catalogue=tmp_path / "a.json")
    assert not (tmp_path / "a.csv").exists()
