"""A catalogue in Postgres: whole or not at all, and the shop's own later changes left alone."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from training.catalogue import CatalogueInfo, list_catalogues, write_catalogue
from training.catalogue_commands import main
from training.catalogue_loader import CATALOGUE_LOCK, load_catalogue
from training.errors import DatabaseError, VersionError
from training.importing.catalogue_rows import ITEM_COLUMNS
from training.importing.catalogue_tree import CATEGORIES_SCHEMA
from training.moments import format_moment
from training.storage import Folder

T0 = 1_420_070_400_000  # 2015-01-01
DAY = 86_400_000

Item = tuple[str, str | None, bool]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "bucket")


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


def store(
    folder: Folder, items: list[Item], as_of_ms: int = T0, categories: dict[str, str | None] | None = None
) -> CatalogueInfo:
    rows = [dict(zip(ITEM_COLUMNS.names, item, strict=True)) for item in items]
    table = pa.Table.from_pylist(rows, schema=ITEM_COLUMNS)
    tree = [{"category_id": name, "parent_id": parent} for name, parent in (categories or {}).items()]
    return write_catalogue(
        folder, table.to_batches(), ITEM_COLUMNS, pa.Table.from_pylist(tree, CATEGORIES_SCHEMA), as_of_ms
    )


def items(connection: psycopg.Connection[Any]) -> list[Item]:
    return connection.execute("SELECT item_id, category_id, available FROM items ORDER BY item_id").fetchall()


def changed_at(connection: psycopg.Connection[Any]) -> dict[str, str]:
    rows = connection.execute("SELECT item_id, changed_at FROM items").fetchall()
    return {item: format_moment(round(moment.timestamp() * 1000)) for item, moment in rows}


def change(connection: psycopg.Connection[Any], item: str, as_of_ms: int) -> None:
    """What the shop does when something is sold out."""
    connection.execute(
        "UPDATE items SET available = false, changed_at = %s WHERE item_id = %s",
        (format_moment(as_of_ms), item),
    )


def test_a_catalogue_is_loaded_with_all_that_it_says(
    database: str, connection: psycopg.Connection[Any], folder: Folder
) -> None:
    schema = pa.schema(
        [
            *ITEM_COLUMNS,
            ("price", pa.float64()),
            ("title", pa.string()),
            ("new", pa.bool_()),
            ("since", pa.timestamp("ms", "UTC")),
        ]
    )
    rows = [
        {
            "item_id": "a",
            "category_id": "c",
            "available": True,
            "price": 9.5,
            "title": 'a\\b\t"ü"\n',
            "new": True,
        },
        {"item_id": "b", "category_id": None, "available": False, "price": float("nan"), "since": 0},
    ]
    tree = pa.table({"category_id": ["c", "d"], "parent_id": ["d", None]}, schema=CATEGORIES_SCHEMA)
    table = pa.Table.from_pylist(rows, schema=schema)
    info = write_catalogue(folder, table.to_batches(), schema, tree, T0)
    load = load_catalogue(database, folder)
    assert (load.version, load.items, load.written, load.deleted, load.left_alone) == (
        info.version,
        2,
        2,
        0,
        0,
    )
    assert (load.reused, load.previous, load.as_of) == (False, None, "2015-01-01T00:00:00.000Z")
    assert connection.execute(
        "SELECT item_id, category_id, available, attributes FROM items ORDER BY 1"
    ).fetchall() == [
        ("a", "c", True, {"price": 9.5, "title": 'a\\b\t"ü"\n', "new": True}),
        ("b", None, False, {"since": "1970-01-01 00:00:00+00:00"}),
    ]
    assert set(changed_at(connection).values()) == {"2015-01-01T00:00:00.000Z"}
    assert connection.execute("SELECT * FROM categories ORDER BY 1").fetchall() == [("c", "d"), ("d", None)]


def test_the_next_catalogue_replaces_what_has_changed_and_removes_what_is_gone(
    database: str, connection: psycopg.Connection[Any], folder: Folder
) -> None:
    store(folder, [("a", "c", True), ("b", "c", True), ("c", "c", True)], T0, {"c": "d", "d": None})
    load_catalogue(database, folder)
    store(folder, [("a", "c", True), ("b", "x", True), ("z", None, False)], T0 + DAY, {"c": None, "e": "c"})
    load = load_catalogue(database, folder)
    assert (load.written, load.deleted, load.left_alone) == (2, 1, 0)
    assert items(connection) == [("a", "c", True), ("b", "x", True), ("z", None, False)]
    assert connection.execute("SELECT * FROM categories ORDER BY 1").fetchall() == [("c", None), ("e", "c")]


def test_what_the_shop_changed_after_the_catalogue_stays(
    database: str, connection: psycopg.Connection[Any], folder: Folder
) -> None:
    store(folder, [("before", "c", True), ("after", "c", True), ("gone", "c", True)])
    load_catalogue(database, folder)
    change(connection, "before", T0 + DAY)
    change(connection, "after", T0 + DAY + 1)
    change(connection, "gone", T0 + DAY + 1)
    store(folder, [("before", "c", True), ("after", "x", True)], T0 + DAY)
    load = load_catalogue(database, folder)
    assert (load.written, load.deleted, load.left_alone) == (1, 0, 2)
    assert items(connection) == [("after", "c", False), ("before", "c", True), ("gone", "c", False)]


def test_the_same_version_again_changes_nothing(
    database: str, connection: psycopg.Connection[Any], folder: Folder
) -> None:
    info = store(folder, [("a", "c", True)])
    load_catalogue(database, folder)
    connection.execute("UPDATE items SET available = false")
    load = load_catalogue(database, folder, info.version)
    assert (load.reused, load.previous, load.written) == (True, info.version, 0)
    assert items(connection) == [("a", "c", False)]


def test_an_earlier_catalogue_is_refused_unless_forced_and_then_replaces_the_later_one(
    database: str, connection: psycopg.Connection[Any], folder: Folder
) -> None:
    early = store(folder, [("a", "c", True), ("b", "c", True), ("same", "c", True)], T0)
    late = store(folder, [("a", "x", False), ("new", "x", True), ("same", "c", True)], T0 + DAY)
    middle = store(folder, [("a", "m", True), ("same", "m", True)], T0 + DAY // 2)
    load_catalogue(database, folder)
    with pytest.raises(
        VersionError, match=f"{early.version} tells of .*{late.version} was loaded, .*--force"
    ):
        load_catalogue(database, folder, early.version)
    assert [item for item, *_ in items(connection)] == ["a", "new", "same"]
    change(connection, "new", T0 + 2 * DAY)
    assert load_catalogue(database, folder, early.version, force=True).left_alone == 1
    assert items(connection) == [
        ("a", "c", True), ("b", "c", True), ("new", "x", False), ("same", "c", True),
    ]  # fmt: skip
    # What is as it was in the later catalogue counts as of the earlier one now, too.
    load_catalogue(database, folder, middle.version)
    assert items(connection) == [("a", "m", True), ("new", "x", False), ("same", "m", True)]
    load_catalogue(database, folder, late.version)
    assert items(connection) == [("a", "x", False), ("new", "x", False), ("same", "c", True)]


def test_readers_see_the_old_or_the_new_catalogue_and_nothing_between(database: str, folder: Folder) -> None:
    for number in range(4):
        rows: list[Item] = [(f"{item:04}", f"c{number}", number % 2 == 0) for item in range(2000)]
        store(folder, rows, T0 + number * DAY, {f"c{number}": None})
    versions = [info.version for info in list_catalogues(folder)]
    load_catalogue(database, folder, versions[0])
    ended, seen = threading.Event(), set()

    def read() -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            while not ended.is_set():
                rows = connection.execute(
                    "SELECT items.category_id, available, count(*), count(categories.category_id) FROM items"
                    " LEFT JOIN categories USING (category_id) GROUP BY 1, 2"
                ).fetchall()
                seen.add(tuple(rows))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for version in versions[1:]:
            load_catalogue(database, folder, version)
    finally:
        ended.set()
        reader.join()
    whole = {((f"c{number}", number % 2 == 0, 2000, 2000),) for number in range(4)}
    assert seen
    assert seen <= whole


def test_a_load_that_fails_leaves_the_items_as_they_were(
    database: str, connection: psycopg.Connection[Any], folder: Folder
) -> None:
    store(folder, [("a", "c", True)])
    load_catalogue(database, folder)
    connection.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full; END $$"
    )
    connection.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON catalogues FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    store(folder, [("b", "c", True)], T0 + DAY)
    with pytest.raises(DatabaseError, match="the database's disk is full"):
        load_catalogue(database, folder)
    assert items(connection) == [("a", "c", True)]
    connection.execute("DROP TRIGGER refuse ON catalogues")
    load_catalogue(database, folder)
    assert items(connection) == [("b", "c", True)]


def test_a_version_that_is_not_there_is_told(database: str, folder: Folder) -> None:
    with pytest.raises(VersionError, match="there is no catalogue; `python -m training.catalogue import`"):
        load_catalogue(database, folder)
    info = store(folder, [("a", "c", True)])
    with pytest.raises(VersionError, match=f"no catalogue of this version; there are: {info.version}"):
        load_catalogue(database, folder, "other")


def test_another_load_is_waited_for_or_told(
    database: str, connection: psycopg.Connection[Any], folder: Folder
) -> None:
    store(folder, [("a", "c", True)])
    connection.execute("SELECT pg_advisory_lock(%s)", (CATALOGUE_LOCK.key,))
    with pytest.raises(VersionError, match="a catalogue is being loaded by another"):
        load_catalogue(database, folder, wait=False)
    connection.execute("SELECT pg_advisory_unlock(%s)", (CATALOGUE_LOCK.key,))
    assert load_catalogue(database, folder, wait=False).written == 1


# The program
def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    told = capsys.readouterr()
    return status, told.out, told.err


def test_the_program_imports_lists_shows_and_loads(
    database: str,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EVENTS_URI", f"s3://{bucket}")
    monkeypatch.setenv("DATABASE_URL", database)
    assert run(capsys, "list")[1] == "there are no catalogues\n"
    (tmp_path / "items.csv").write_text("sku,kind,in_stock,price\na,c,1,9\nb,,0,8\n")
    status, text, _ = run(
        capsys, "import", str(tmp_path / "items.csv"), "--as-of", "2015-01-01", "--column", "kind=category_id"
    )
    assert status == 0
    assert "items.csv: items, because there is 'sku':" in text
    assert "category_id is 'kind' (--column)" in text
    assert "1 are available, 1 have a category" in text
    assert "kept beside: 'price'" in text
    (info,) = list_catalogues(Folder(f"s3://{bucket}"))
    assert text.endswith(f"catalogue {info.version}: python -m training.catalogue load {info.version}\n")
    assert json.loads(run(capsys, "list", "--json")[1]) == [
        {
            "version": info.version,
            "as_of": "2015-01-01T00:00:00.000Z",
            "items": 2,
            "categories": 0,
            "columns": ["item_id", "category_id", "available", "price"],
        }
    ]
    assert info.version in run(capsys, "list")[1]
    shown = json.loads(run(capsys, "show", info.version, "--json")[1])
    assert (shown["available"], shown["with_category"]) == (1, 1)
    assert "price (string)" in run(capsys, "show", info.version)[1]
    assert "2 items are new or have changed, 0 are gone" in run(capsys, "load")[1]
    assert run(capsys, "load", info.version)[1] == f"{info.version} is what was loaded last: nothing to do\n"
    assert json.loads(run(capsys, "load", "--json")[1])["reused"] is True


def test_the_program_ends_with_1_and_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "show", "v", "--catalogue", str(tmp_path))
    assert (status, out) == (1, "")
    assert err.startswith(f"{tmp_path}/catalogue/v/manifest.json: there is no catalogue of this version")


def test_loading_needs_no_library_that_airflows_workers_lack() -> None:
    check = "import sys, training.catalogue_loader; print(*{name.split('.')[0] for name in sys.modules})"
    modules = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    assert {"psycopg", "pyarrow", "numpy"} <= set(modules.split())
    assert not {"duckdb", "pandas", "boto3", "mlflow", "tqdm", "scipy"} & set(modules.split())
