"""A shop whose right answers are known, from its files to the answers of the API."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from twin.postgres import create_database, drop_database

from contract.events import ADD_TO_CART, PURCHASE, VIEW
from contract.recommendations import ListKind, Manifest
from lambdas.migrate_database.migrate import migrate
from lambdas.recommendations_api.asked import Asked
from lambdas.recommendations_api.database import Database
from lambdas.recommendations_api.recommender import Recommender
from lambdas.recommendations_api.repository import NewEvent, Repository
from tests.training.shops import DAY, START, Row, events_table
from training.catalogue import latest_catalogue, read_catalogue
from training.catalogue_loader import load_catalogue
from training.events import read_events
from training.import_events import import_events
from training.interactions import Interactions
from training.lists import Lists
from training.loader import load_version
from training.moments import format_moment
from training.publish import publish_version
from training.recipe import fit_served
from training.served import Served
from training.settings import Hyperparameters
from training.storage import Folder

DAYS = 120
HOUR = DAY // 24
SETTINGS = Hyperparameters(als_factors=4, als_iterations=2, evaluation_days=14, fit_windows=3, threads=1)
CATEGORIES = {"a": "sofas", "b": "sofas", "c": "coffee", "d": "sofas"} | {
    f"x{n:02}": "odds" for n in range(30)
}


def rows() -> list[Row]:
    found: list[Row] = []
    for n in range(240):  # who looks at A buys B; many look at D beside it, which can't be had
        at = n * DAYS * DAY // 240 % ((DAYS - 1) * DAY)
        user = f"pair-{n:03}"
        found += [(user, "a", VIEW, at), (user, "d", VIEW, at + 60_000)]
        found += [(user, "b", VIEW, at + 120_000), (user, "b", PURCHASE, at + 4 * HOUR)]
    for n in range(60):  # C is bought again each month
        for month in range(4):
            at = (n % 28 + 30 * month) * DAY + n * 60_000
            found += [(f"monthly-{n:02}", "c", VIEW, at), (f"monthly-{n:02}", "c", PURCHASE, at + 600_000)]
            found.append((f"monthly-{n:02}", f"x{(n + 7 * month) % 30:02}", VIEW, at + DAY // 2))
    for n in range(300):  # and there are odd things
        at = n * 7 % DAYS * DAY + n * 1000
        found += [(f"odd-{n % 90:02}", f"x{n * 11 % 30:02}", VIEW, at)]
        if n % 4 == 0:
            found.append((f"odd-{n % 90:02}", f"x{n * 11 % 30:02}", ADD_TO_CART, at + 60_000))
    return [row for row in found if row[3] < DAYS * DAY]


@dataclass(frozen=True)
class Shop:
    """Learnt, published and loaded."""

    served: Served[Lists]
    database: str
    now: int

    def answer(self, user: str, *viewed: str) -> list[str]:
        """The API's, an hour after the training; what is viewed was so a minute ago."""
        now = self.now + HOUR
        connection = Database(self.database, connect_timeout=5, pause=1, statement_timeout=30)
        try:
            repository = Repository(
                connection,
                events_days=14,
                events_limit=50,
                read_timeout=30,
                write_timeout=30,
            )
            posted = [NewEvent(user, item, item, VIEW, now - 60_000) for item in viewed]
            if posted:
                repository.add_events(posted)
            answer = Recommender(repository, clock=lambda: now).for_visitor(user, Asked(limit=10))
        finally:
            connection.close()
        return [item.item_id for item in answer.items]


@pytest.fixture(scope="module")
def shop(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("known")
    pq.write_table(events_table(rows()), folder / "shop.parquet")
    with (folder / "items.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["item_id", "category_id", "available"])
        lines.writerows([item, category, item != "d"] for item, category in CATEGORIES.items())
    bucket = Folder(folder / "bucket")
    import_events([folder / "shop.parquet"], bucket, catalogue=[folder / "items.csv"], allow_empty_days=True)
    info = latest_catalogue(bucket)
    assert info is not None
    events = Interactions.from_table(read_events(folder / "bucket" / "events"))
    now = int(events.timestamps[-1]) + 1
    served = fit_served(events, now=now, settings=SETTINGS, catalogue=read_catalogue(bucket, info.version))
    manifest = Manifest(
        version="known",
        as_of=format_moment(now - 1),
        created_at=format_moment(now),
        training_window={"from": format_moment(START), "to": format_moment(now - 1)},
        dataset_fingerprint="0" * 64,
        code_version="unknown",
        counts={"events": len(events), "users": len(events.user_ids), "items": len(events.item_ids)},
        files=(),
        metrics={},
        blend_weights=served.weights,
        exclude_purchased=served.exclude_purchased,
        exclude_purchased_by_category=dict(served.exclude_purchased_by_category),
    )
    publish_version(bucket, served.lists.tables(), manifest=manifest)
    database = create_database(postgres_server, "known_shop")
    migrate(database)
    load_catalogue(database, bucket)
    load_version(database, bucket, "known")
    yield Shop(served, database, now)
    drop_database(postgres_server, "known_shop")


def test_who_looks_at_a_is_shown_b(shop: Shop) -> None:
    assert "b" in shop.answer("somebody new", "a")[:2]
    assert "b" in [item for item, _ in shop.served.lists.similar_to("a")[:2]]


def test_who_bought_c_a_month_ago_is_shown_it_first(shop: Shop) -> None:
    for number in (0, 1, 2):  # bought on the first days of each month, the last time a month ago
        assert shop.answer(f"monthly-{number:02}")[0] == "c"


def test_what_is_bought_again_stays_in_answers(shop: Shop) -> None:
    excluded = shop.served.exclude_purchased_by_category
    assert not excluded.get("coffee", shop.served.exclude_purchased)


def test_what_cannot_be_had_is_in_no_list_but_histories(shop: Shop) -> None:
    assert shop.served.unavailable == {"d"}
    table = pa.concat_tables(list(shop.served.lists.tables()))
    kinds = {row["kind"] for row in table.to_pylist() if "d" in row["item_ids"] and row["key"] != "d"}
    assert kinds == {ListKind.HISTORY}


@pytest.mark.parametrize("viewed", [(), ("d",), ("a", "d")], ids=["idle", "viewed d", "viewed a and d"])
@pytest.mark.parametrize("user", ["pair-000", "pair-239", "a stranger"])
def test_what_cannot_be_had_is_in_no_answer(shop: Shop, user: str, viewed: tuple[str, ...]) -> None:
    answer = shop.answer(user, *viewed)
    assert len(answer) == 10
    assert "d" not in answer
