"""The schema goes forward, once, all of it or nothing."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from lambdas.migrate_database import migrate as module
from lambdas.migrate_database.migrate import SQL_FOLDER, migrate
from tests.lambdas.versions import execute

FILES = [file.name for file in sorted(SQL_FOLDER.glob("*.sql"))]


def schema(database: str) -> list[tuple[str, ...]]:
    return execute(
        database,
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY 1, 2",
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations, to add to."""
    copy = shutil.copytree(SQL_FOLDER, tmp_path / "sql")
    monkeypatch.setattr(module, "SQL_FOLDER", copy)
    return copy


def test_each_file_is_applied_once(empty_database: str) -> None:
    assert migrate(empty_database) == FILES
    before = schema(empty_database)
    assert migrate(empty_database) == []
    assert schema(empty_database) == before


def test_two_at_once_do_not_hinder_each_other(empty_database: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(migrate, [empty_database] * 4))
    assert sorted(applied) == [[], [], [], FILES]


def test_a_broken_file_leaves_the_schema_as_it_was(empty_database: str, folder: Path) -> None:
    (folder / "9998_good.sql").write_text("CREATE TABLE good (id integer)")
    (folder / "9999_broken.sql").write_text("CREATE TABLE half (id integer); SELECT 1/0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty_database)
    assert schema(empty_database) == []
    (folder / "9999_broken.sql").unlink()
    assert migrate(empty_database) == [*FILES, "9998_good.sql"]


def test_a_new_file_is_applied_to_a_database_in_use(database: str, folder: Path) -> None:
    (folder / "9999_new.sql").write_text("CREATE TABLE new (id integer)")
    assert migrate(database) == ["9999_new.sql"]


def test_a_broken_file_is_named_by_the_error(empty_database: str, folder: Path) -> None:
    (folder / "9999_broken.sql").write_text("SELECT 1/0")
    with pytest.raises(psycopg.errors.DivisionByZero) as error:
        migrate(empty_database)
    assert error.value.__notes__ == ["in 9999_broken.sql"]


def test_whoever_may_write_events_can_have_a_partition_made_without_owning_the_table(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE ROLE writer_of_events")
        connection.execute("GRANT INSERT ON events TO writer_of_events")
        connection.execute("SET ROLE writer_of_events")
        connection.execute("SELECT ensure_events_partition('2026-01-31')")
        connection.execute(
            "INSERT INTO events (received_on, user_id, item_id, event_type, timestamp)"
            " VALUES ('2026-01-31', 'u', 'i', 'view', 1)"
        )
        connection.rollback()
