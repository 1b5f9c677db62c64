import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from twin.postgres import create_database, drop_database

from contract.tombstones import Tombstones, key_id, user_hash
from lambdas.migrate_database.migrate import migrate
from tests.training.posted import exported, post
from tests.training.published import manifest, publish, rows_of, table
from training.errors import BadInputError
from training.export_events import export_events
from training.loader import load_version
from training.publish import publish_version
from training.serving import rollback
from training.storage import Folder
from training.tombstones import delete_user, exchange_tombstones, main, read_tombstones, swallowed

LATER = 4_000_000_000_000


@pytest.fixture
def other_database(postgres_server: str) -> Iterator[str]:
    """A second database, as a new one that was made from the same bucket."""
    url = create_database(postgres_server, "test_restored")
    migrate(url)
    yield url
    drop_database(postgres_server, "test_restored")


def users_with_lists(connection: Any) -> set[tuple[int, str]]:
    rows = connection.execute(
        "SELECT version, key FROM recommendations WHERE kind IN ('personal', 'history')"
    )
    return set(rows.fetchall())


def one_tombstone(user: str, moment: int) -> Tombstones:
    secret = b"s" * 32
    return Tombstones({key_id(secret): secret}, {(key_id(secret), user_hash(secret, user)): moment})


def test_postgres_and_python_hash_alike(connection: Any, database: str, folder: Folder) -> None:
    delete_user(database, "ünï 😀")
    tombstones = exchange_tombstones(connection, folder)
    until = tombstones.deleted_until("ünï 😀")
    assert until is not None
    assert abs(until - time.time() * 1000) < 600_000
    assert tombstones.deleted_until("somebody else") is None


def test_a_deleted_user_is_gone_from_every_version_and_from_the_events(
    connection: Any, database: str, folder: Folder
) -> None:
    publish(folder, "v1", "v2")
    for version in ("v1", "v2"):
        load_version(database, folder, version)
    post(connection, ["a", "b"], user="u0")
    post(connection, ["c"], user="u1")
    assert delete_user(database, "u0") == (4, 2)
    assert users_with_lists(connection) == {(1, "u1"), (2, "u1")}
    assert connection.execute("SELECT event_id FROM events").fetchall() == [("c",)]
    rollback(database)
    assert users_with_lists(connection) == {(1, "u1"), (2, "u1")}
    assert delete_user(database, "u0") == (0, 0)


def test_a_version_trained_before_is_loaded_without_them(
    connection: Any, database: str, folder: Folder
) -> None:
    publish(folder, "v1")
    delete_user(database, "u0")
    load_version(database, folder, "v1")
    assert users_with_lists(connection) == {(1, "u1")}


def test_who_comes_back_has_lists_again(connection: Any, database: str, folder: Folder) -> None:
    delete_user(database, "u0")
    since = datetime.fromtimestamp(LATER / 1000, UTC).isoformat()
    later = manifest("v1").__class__(**{**manifest("v1").__dict__, "as_of": since})
    publish_version(folder, [table(rows_of("v1"))], manifest=later)
    load_version(database, folder, "v1")
    assert users_with_lists(connection) == {(1, "u0"), (1, "u1")}


def test_whoever_is_deleted_while_a_version_is_loaded_is_not_in_it(
    connection: Any, database: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(folder, "v1")
    from training import loader  # noqa: PLC0415

    attach = loader._attach

    def deleted_meanwhile(*arguments: Any) -> None:
        delete_user(database, "u0")
        attach(*arguments)

    monkeypatch.setattr(loader, "_attach", deleted_meanwhile)
    load_version(database, folder, "v1")
    assert users_with_lists(connection) == {(1, "u1")}


def test_a_deletion_that_is_not_committed_yet_is_waited_for(
    connection: Any, database: str, folder: Folder
) -> None:
    publish(folder, "v1")
    with psycopg.connect(database) as deleting:
        deleting.execute("SELECT delete_user('u0')")
        loading = threading.Thread(target=load_version, args=(database, folder, "v1"))
        loading.start()
        time.sleep(0.7)
        deleting.commit()
    loading.join()
    assert users_with_lists(connection) == {(1, "u1")}


def test_a_new_database_learns_from_the_bucket(
    connection: Any, database: str, other_database: str, folder: Folder
) -> None:
    publish(folder, "v1")
    load_version(other_database, folder, "v1")
    delete_user(database, "u0")
    exchange_tombstones(connection, folder)
    load_version(other_database, folder, "v1", events=folder)
    with psycopg.connect(other_database, autocommit=True) as other:
        assert users_with_lists(other) == {(1, "u1")}
        delete_user(other_database, "u1")
        both = exchange_tombstones(other, folder)
    assert None not in {both.deleted_until("u0"), both.deleted_until("u1")}
    assert read_tombstones(folder) == both
    assert exchange_tombstones(connection, folder) == both


def test_an_export_takes_them_along(connection: Any, database: str, folder: Folder) -> None:
    post(connection, ["a"], user="u0")
    delete_user(database, "u0")
    post(connection, ["b"], user="u0")
    report = export_events(database, folder)
    assert (report.events, report.deleted_users) == (1, 1)
    assert exported(folder) == {("u0", "b"): 1}
    assert read_tombstones(folder).deleted_until("u0") is not None


def test_events_are_swallowed_up_to_the_deletion() -> None:
    users = pa.chunked_array([["u0", "u1"], ["u0", "u0"]])
    times = np.array([10, 10, 11, 12], dtype=np.int64)
    assert swallowed(one_tombstone("u0", 11), users, times).tolist() == [True, False, True, False]
    assert swallowed(one_tombstone("nobody", 99), users, times).tolist() == [False] * 4
    assert swallowed(Tombstones(), users, times).tolist() == [False] * 4


def test_tombstones_that_cannot_be_read_stop_the_run(folder: Folder) -> None:
    assert read_tombstones(folder) == Tombstones()
    folder.write("events/deleted_users.json", b"{")
    with pytest.raises(
        BadInputError, match=r"deleted_users\.json: the tombstones of deleted users are not JSON"
    ):
        read_tombstones(folder)


def test_the_program_deletes_and_brings_both_sides_into_step(
    database: str, folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--database-url", database, "--events", folder.uri]
    assert main([*arguments, "--delete", "u0"]) == 0
    assert "1 deleted users are known" in capsys.readouterr().out
    folder.write("events/deleted_users.json", b"[]")
    assert main(arguments) == 1
    assert "schema version None" in capsys.readouterr().err
