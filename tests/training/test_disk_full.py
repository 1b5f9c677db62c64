"""A database whose disk is full: what is served stays, the error says what to do, the next load succeeds."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.training.published import publish
from training.errors import DatabaseError
from training.loader import load_version
from training.retirement import drop_version
from training.serving import list_versions
from training.storage import Folder

FULL = "^the database's disk is full: drop versions that nobody needs .*; what is served stays: [^\n]+$"

RAISE = "RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'"

STEPS = {
    "registering": ("BEFORE INSERT ON versions", ""),
    "making the table": ("CREATE TABLE", "TRUE"),
    "copying": ("", ""),
    "building the index": ("ALTER TABLE", "current_query() LIKE '%ADD PRIMARY KEY%'"),
    "attaching": ("ALTER TABLE", "current_query() LIKE '%ATTACH PARTITION%'"),
    "finishing": ("BEFORE UPDATE ON versions", ""),
    "moving": ("BEFORE UPDATE ON serving", ""),
    "remembering": ("BEFORE INSERT ON serving_history", ""),
}
"""Steps of a load: the statement that finds the disk full, and how it is told from others of its kind."""

FULL_SCHEMA = f"""
CREATE SCHEMA full_disk;
CREATE FUNCTION full_disk.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {RAISE}; END $$;
"""


def fill_at(database: str, step: str) -> None:
    """Let the server itself report a full disk at this step: SQLSTATE 53100, as mdextend() does."""
    statement, condition = STEPS[step]
    if step == "copying":
        # The table of a load is made by the load: a trigger comes with it, and lets the first rows pass.
        sql = """
        CREATE FUNCTION full_disk.spoil() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            EXECUTE (SELECT format('CREATE TRIGGER full_disk BEFORE INSERT ON %s FOR EACH ROW'
                ' WHEN (NEW.kind = ''similar'') EXECUTE FUNCTION full_disk.refuse()', object_identity)
                FROM pg_event_trigger_ddl_commands() WHERE object_type = 'table');
        END $$;
        CREATE EVENT TRIGGER full_disk ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
            EXECUTE FUNCTION full_disk.spoil()"""
    elif condition:
        sql = f"""
        CREATE FUNCTION full_disk.spoil() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            IF {condition} THEN {RAISE}; END IF;
        END $$;
        CREATE EVENT TRIGGER full_disk ON ddl_command_end WHEN TAG IN ('{statement}')
            EXECUTE FUNCTION full_disk.spoil()"""
    else:
        sql = f"CREATE TRIGGER full_disk {statement} FOR EACH ROW EXECUTE FUNCTION full_disk.refuse()"
    with psycopg.connect(database) as connection:
        connection.execute((FULL_SCHEMA + sql).encode())


def make_room(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("DROP SCHEMA full_disk CASCADE")


def served(database: str) -> tuple[str, int]:
    """The version that every list comes from, and how many lists there are."""
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "SELECT item_ids[1], count(*) FROM recommendations JOIN serving USING (version) GROUP BY 1"
        ).fetchall()
    ((version, lists),) = rows
    return str(version), int(lists)


def states(database: str) -> dict[str, str]:
    return {info.name: info.state for info in list_versions(database)}


def tables(database: str) -> int:
    with psycopg.connect(database) as connection:
        return connection.execute(r"SELECT 1 FROM pg_class WHERE relname ~ '^recommendations_v\d+$'").rowcount


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "bucket")


@pytest.fixture
def live(database: str, out: Folder) -> Iterator[str]:
    """A database that serves version `a`; version `b` is published."""
    publish(out, "a", "b")
    load_version(database, out, "a")
    return database


@pytest.mark.parametrize("step", STEPS)
def test_a_full_disk_is_an_error_that_says_what_to_do_and_what_is_served_stays(
    live: str, out: Folder, step: str
) -> None:
    fill_at(live, step)
    for _ in range(2):
        with pytest.raises(DatabaseError, match=FULL):
            load_version(live, out, "b")
        assert served(live) == ("a", 7)
    make_room(live)
    assert load_version(live, out, "b").pending == ()
    assert (served(live), states(live), tables(live)) == (("b", 7), {"a": "ready", "b": "ready"}, 2)


def test_versions_can_be_dropped_while_the_disk_is_full(live: str, out: Folder) -> None:
    publish(out, "c")
    load_version(live, out, "b")
    fill_at(live, "copying")
    with pytest.raises(DatabaseError, match=FULL):
        load_version(live, out, "c")
    assert drop_version(live, "a").dropped == ("a",)
    assert (served(live), states(live), tables(live)) == (("b", 7), {"b": "ready"}, 1)


def test_a_file_that_cannot_grow_is_a_full_disk_and_takes_no_room_afterwards(live: str, out: Folder) -> None:
    """The server is really denied the room: the process of the load may write no file beyond a limit."""
    if "DATABASE_URL" in os.environ or not shutil.which("prlimit"):
        pytest.skip("only processes of a server of our own can be limited, and by util-linux's prlimit")
    with psycopg.connect(live) as connection:
        if connection.info.server_version >= 160_000:
            pytest.skip("from 16 on Postgres reserves room first, and calls such a limit another error")
    publish(out, "large", users=150_000)

    def limit(_: int) -> None:
        with psycopg.connect(live, autocommit=True) as connection:
            copying = connection.execute(
                "SELECT pid FROM pg_stat_progress_copy WHERE datname = current_database()"
            ).fetchall()
            for (pid,) in copying:
                # Within a page: the server writes a part of it, and knows that the rest had no room. Above
                # the 16 MiB of a log segment, which this process may write, too, and without which none goes on.
                # Through the server, because only its own account, or a mightier root, may limit it.
                connection.execute(
                    f"COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; prlimit --pid {pid} --fsize=17500000:'"
                )

    with pytest.raises(DatabaseError, match=FULL):
        load_version(live, out, "large", on_lists=limit)
    assert (served(live), table_bytes(live, "large")) == (("a", 7), 0)
    load_version(live, out, "large")
    assert served(live) == ("large", 150_005)


def table_bytes(database: str, version: str) -> int:
    """What a version's lists take up, their index left out."""
    (number,) = [info.number for info in list_versions(database) if info.name == version]
    with psycopg.connect(database) as connection:
        row = connection.execute(f"SELECT pg_relation_size('recommendations_v{number}')").fetchone()
    assert row is not None
    return int(row[0])
