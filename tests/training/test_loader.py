import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from twin.postgres import create_database, drop_database

from contract.recommendations import ListKind
from contract.s3_layout import manifest_key
from lambdas.migrate_database.migrate import migrate
from tests.training.published import manifest, publish, rows_of, table
from training.database import APPLICATION_NAME, VERSIONS_LOCK
from training.errors import DatabaseError, VersionError
from training.loader import LoadReport, load_version
from training.publish import publish_version
from training.retirement import drop_version, retire_versions
from training.serving import Move, activate, list_versions, path, rollback, show_version
from training.storage import Folder

ROOT = Path(__file__).parents[2]

STEPS = {
    "registering": ("LOCK TABLE versions IN SHARE MODE", "INSERT INTO versions%"),
    "attaching": ("LOCK TABLE recommendations IN SHARE UPDATE EXCLUSIVE MODE", "%ATTACH PARTITION%"),
    "finishing": ("LOCK TABLE versions IN SHARE MODE", "UPDATE versions%"),
    "moving": ("SELECT * FROM serving FOR UPDATE", "%FOR UPDATE OF serving%"),
}
"""Steps of a load: what another session holds to hold it up there, and which statement waits then."""


def query(database: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database, autocommit=True) as connection:
        return connection.execute(statement).fetchall()


def served(database: str, variant: str = "default") -> str | None:
    """What a reader of the variant gets: the version that is in every list, if it is one and whole."""
    rows = query(
        database,
        "SELECT kind, key, item_ids[1] FROM recommendations JOIN serving USING (version)"
        f" WHERE variant = '{variant}'",
    )
    if not rows:
        return None
    (version,) = {row[2] for row in rows}
    assert len(rows) == len({row[:2] for row in rows})
    assert {row[0] for row in rows} == set(ListKind)
    return str(version)


def states(database: str) -> dict[str, str]:
    return {info.name: info.state for info in list_versions(database)}


def lists_tables(database: str) -> int:
    return len(query(database, r"SELECT 1 FROM pg_class WHERE relname ~ '^recommendations_v\d+$'"))


def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


@contextmanager
def held(database: str, *statements: str) -> Iterator[Callable[[], None]]:
    """Another session, with an open transaction in which it has done this; gives what ends it."""
    with psycopg.connect(database) as connection:
        for statement in statements:
            connection.execute(statement)
        yield connection.rollback
        connection.rollback()


@contextmanager
def reading(database: str, version: str) -> Iterator[None]:
    """Another session that reads a version's lists in a transaction which stays open."""
    with held(
        database,
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SELECT count(*) FROM recommendations"
        f" WHERE version = (SELECT number FROM versions WHERE name = '{version}')",
    ):
        yield


@contextmanager
def held_up(database: str, step: str) -> Iterator[Callable[[], None]]:
    """Hold up a load at a step; gives what waits until the load has come there."""
    lock, statement = STEPS[step]
    if step != "finishing":
        with held(database, lock):
            yield lambda: until(lambda: waits(database, statement))
        return
    # What holds up the end would hold up the beginning, too: it is locked when the load is half way.
    attach_lock, attach_statement = STEPS["attaching"]
    with held(database, attach_lock) as let_attach, psycopg.connect(database) as connection:

        def arrive() -> None:
            until(lambda: waits(database, attach_statement))
            connection.execute(lock)
            let_attach()
            until(lambda: waits(database, statement))

        yield arrive
        connection.rollback()


def waits(database: str, statement: str) -> bool:
    """Whether a loader waits in such a statement for what somebody holds."""
    return bool(
        query(
            database,
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            f" AND application_name = '{APPLICATION_NAME}' AND query LIKE '{statement}'",
        )
    )


def copies(database: str) -> bool:
    return bool(query(database, "SELECT 1 FROM pg_stat_progress_copy WHERE datname = current_database()"))


def is_registered(database: str, version: str) -> bool:
    return bool(query(database, f"SELECT 1 FROM versions WHERE name = '{version}'"))


@contextmanager
def program(database: str, out: Folder, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The program at work, which is killed at the end if it is still there."""
    environment = os.environ | {"DATABASE_URL": database, "RECOMMENDATIONS_URI": str(out)}
    command = [sys.executable, "-m", "training.versions", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def killed(database: str, out: Folder, arguments: tuple[str, ...], arrive: Callable[[], None]) -> None:
    """Start the program, and kill it when it has arrived somewhere."""
    with program(database, out, *arguments) as process:
        arrive()
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


@contextmanager
def at_work(load: Callable[[], LoadReport]) -> Iterator["Future[LoadReport]"]:
    """A load in another thread, which goes on behind the block's end if it is still held up."""
    worker = ThreadPoolExecutor(1)
    yield worker.submit(load)
    worker.shutdown(wait=False)


@pytest.fixture(scope="module")
def emptied_database(postgres_server: str) -> Iterator[str]:
    """Emptying one database takes a fifth of the time of creating another, and these tests are many."""
    yield create_database(postgres_server, "loader")
    drop_database(postgres_server, "loader")


@pytest.fixture
def database(emptied_database: str) -> str:
    """A database with the current schema and nothing in it."""
    with psycopg.connect(emptied_database) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    migrate(emptied_database)
    return emptied_database


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "bucket")


@pytest.fixture
def live(database: str, out: Folder) -> str:
    """A database that serves version `a`; versions `b` and `c` are published."""
    publish(out, "a", "b", "c")
    load_version(database, out, "a")
    return database


# Loading


def test_a_loaded_version_is_live_and_its_rows_are_what_was_published(database: str, out: Folder) -> None:
    publish(out, "a", users=5)
    report = load_version(database, out, "a")
    assert served(database) == "a"
    assert report.move == Move(variant="default", version="a", previous=None)
    assert report.lists == {**dict.fromkeys(ListKind, 1), "personal": 5}
    assert (report.number, report.reused, report.as_of) == (1, False, "2015-09-18T02:59:47.788Z")
    columns = "kind, key, item_ids, scores, event_types, timestamps"
    with psycopg.connect(database) as connection:
        stored = connection.execute(f"SELECT {columns} FROM recommendations ORDER BY 1, 2", binary=True)
        expected = table(rows_of("a", users=5)).sort_by([("kind", "ascending"), ("key", "ascending")])
        assert stored.fetchall() == [tuple(row.values()) for row in expected.to_pylist()]


def test_the_manifest_and_the_history_are_kept_in_the_database(database: str, out: Folder) -> None:
    published = publish(out, "a")
    load_version(database, out, "a")
    details = show_version(database, "a")
    assert details.info.manifest == json.loads(published.to_json())
    assert [variant for variant, _ in details.served] == ["default"]
    assert details.table_bytes > 0


def test_a_version_is_loaded_from_s3(database: str, bucket: str) -> None:
    out = Folder(f"s3://{bucket}")
    publish(out, "a", "b")
    load_version(database, out, "a")
    out.delete("recommendations/b/lists-00000.parquet")
    with pytest.raises(
        VersionError, match=rf"s3://{bucket}/recommendations/b/lists-00000.parquet: is missing"
    ):
        load_version(database, out, "b")
    assert served(database) == "a"


def test_a_version_that_is_there_is_not_loaded_again(live: str, out: Folder) -> None:
    load_version(live, out, "b")
    out.delete(manifest_key("a"))
    report = load_version(live, out, "a")
    assert (report.reused, report.number, served(live)) == (True, 1, "a")
    assert report.lists["personal"] == 2
    assert load_version(live, out, "a").move == Move(variant="default", version="a", previous="a")
    assert len(show_version(live, "a").served) == 2


def test_a_version_can_be_loaded_without_going_live(live: str, out: Folder) -> None:
    assert load_version(live, out, "b", activate=False).move is None
    assert (served(live), states(live)) == ("a", {"b": "ready", "a": "ready"})
    assert activate(live, "b").previous == "a"
    assert served(live) == "b"


def test_another_variant_gets_no_visitors_until_it_has_a_share(live: str, out: Folder) -> None:
    load_version(live, out, "b", variant="canary")
    assert (served(live), served(live, "canary")) == ("a", "b")
    assert query(live, "SELECT variant, share FROM serving ORDER BY 1") == [("canary", 0.0), ("default", 1.0)]
    query(live, "UPDATE serving SET share = 0.25 WHERE variant = 'canary' RETURNING 1")
    load_version(live, out, "c", variant="canary")
    assert query(live, "SELECT share FROM serving WHERE variant = 'canary'") == [(0.25,)]


def test_lists_are_counted_while_they_are_sent(database: str, out: Folder) -> None:
    publish(out, "a", users=30)
    told: list[int] = []
    load_version(database, out, "a", on_lists=told.append)
    assert sum(told) == 35


def test_the_loader_needs_nothing_that_airflow_has_not() -> None:
    check = "import sys, training.loader; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"psycopg", "pyarrow", "numpy"} <= loaded
    assert not loaded & {
        "boto3", "duckdb", "implicit", "mlflow", "pandas", "prometheus_client", "pydantic", "scipy",
        "structlog", "tqdm", "threadpoolctl",
    }  # fmt: skip


# Bad input


def test_a_database_without_the_tables_says_how_to_get_them(empty_database: str, out: Folder) -> None:
    publish(out, "a")
    with pytest.raises(DatabaseError, match="run the migrations: python -m lambdas.migrate_database"):
        load_version(empty_database, out, "a")


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "what is this"])
def test_a_database_that_cannot_be_reached_is_an_error_of_one_line(out: Folder, url: str) -> None:
    with pytest.raises(DatabaseError, match="^the database can't be reached: [^\n]+$"):
        list_versions(url)


def test_a_database_that_takes_no_writes_is_an_error_of_one_line(live: str, out: Folder) -> None:
    replica = f"{live}?options=-c%20default_transaction_read_only%3Don"
    with pytest.raises(DatabaseError, match="^the database refuses: cannot execute INSERT[^\n]+$"):
        load_version(replica, out, "b")


def damage(out: Folder) -> None:
    key = "recommendations/b/lists-00000.parquet"
    data = bytearray(out.read(key))
    data[len(data) // 2] ^= 1
    out.write(key, bytes(data))


def promise(out: Folder, **changed: Any) -> None:
    document = json.loads(out.read(manifest_key("b")))
    out.write(manifest_key("b"), json.dumps(document | changed).encode())


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (damage, r"b/lists-00000.parquet: isn't the file that was published"),
        (lambda out: out.delete("recommendations/b/lists-00000.parquet"), "lists-00000.parquet: is missing"),
        (lambda out: out.delete(manifest_key("b")), "no such version; there are: a, c"),
        (partial(promise, schema_version=2), "schema version 2"),
        (partial(promise, counts={"personal": 9}), "the manifest promises.*'personal': 9.*Postgres took 7"),
        (partial(promise, files=[]), "Postgres took 0"),
    ],
    ids=["checksum", "file missing", "manifest missing", "other schema", "other counts", "no files"],
)
def test_a_damaged_version_leaves_nothing_and_what_was_live_is_live(
    live: str, out: Folder, spoil: Callable[[Folder], None], problem: str
) -> None:
    spoil(out)
    with pytest.raises(VersionError, match=problem):
        load_version(live, out, "b")
    assert (served(live), states(live), lists_tables(live)) == ("a", {"a": "ready"}, 1)
    load_version(live, out, "c")
    assert served(live) == "c"


def test_two_lists_of_one_key_are_refused_by_the_database_too(live: str, out: Folder) -> None:
    first = publish_version(out, [table(rows_of("d"))], manifest=manifest("d"))
    counts = {kind: 2 * first.counts[kind] for kind in ListKind}
    twice = replace(first, files=first.files * 2, counts=counts)
    out.write(manifest_key("d"), twice.to_json().encode())
    with pytest.raises(VersionError, match="version d: Postgres refuses its lists: could not create unique"):
        load_version(live, out, "d")
    assert (served(live), states(live), lists_tables(live)) == ("a", {"a": "ready"}, 1)


# Two at once


def test_a_second_loader_is_refused(live: str, out: Folder) -> None:
    with held(live, f"SELECT pg_advisory_lock({VERSIONS_LOCK.key})"):
        for refused in (
            partial(load_version, live, out, "b"),
            partial(drop_version, live, "a"),
            partial(retire_versions, live),
        ):
            with pytest.raises(VersionError, match="being loaded or dropped by another"):
                refused()
    assert load_version(live, out, "b").reused is False


def test_a_second_loader_waits_if_it_is_told_to(live: str, out: Folder) -> None:
    with (
        held(live, f"SELECT pg_advisory_xact_lock({VERSIONS_LOCK.key})") as release,
        at_work(partial(load_version, live, out, "b", wait=True)) as load,
    ):
        until(
            lambda: query(
                live,
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%try_advisory_lock%'"
                f" AND datname = current_database() AND application_name = '{APPLICATION_NAME}'",
            )
        )
        assert not load.done()
        release()
        assert load.result(timeout=30).reused is False
    assert served(live) == "b"


def test_loaders_that_wait_for_each_other_all_succeed(live: str, out: Folder) -> None:
    load = partial(load_version, live, out, wait=True)
    with ThreadPoolExecutor(4) as workers:
        reports = list(workers.map(load, ["b", "c", "b", "c"]))
    assert sorted((report.version, report.reused) for report in reports) == [
        ("b", False), ("b", True), ("c", False), ("c", True),
    ]  # fmt: skip
    assert states(live) == {"a": "ready", "b": "ready", "c": "ready"}


def test_a_rollback_does_not_wait_for_a_load(live: str, out: Folder) -> None:
    load_version(live, out, "b")
    load = partial(load_version, live, out, "c", activate=False)
    with held_up(live, "attaching") as arrive, at_work(load) as loading:
        arrive()
        assert rollback(live).version == "a"
        assert not loading.done()
    assert loading.result(timeout=30).version == "c"
    assert (served(live), states(live)["c"]) == ("a", "ready")


def test_readers_see_one_whole_version_and_no_error_while_versions_come_and_go(
    live: str, out: Folder
) -> None:
    publish(out, *(f"d{n}" for n in range(6)))
    ended: list[bool] = []

    def read() -> set[str]:
        seen = set()
        with psycopg.connect(live, autocommit=True) as connection:
            while not ended:
                rows = connection.execute(
                    "SELECT item_ids[1] FROM recommendations JOIN serving USING (version)"
                    " WHERE variant = 'default' AND kind = 'personal' AND key IN ('u0', 'u1')"
                ).fetchall()
                assert len(rows) == 2
                assert rows[0] == rows[1]
                seen.add(rows[0][0])
        return seen

    with ThreadPoolExecutor(4) as readers:
        reads = [readers.submit(read) for _ in range(4)]
        try:
            for n in range(6):
                load_version(live, out, f"d{n}")
                retire_versions(live, keep=1)
        finally:
            ended.append(True)
        seen = set[str]().union(*(each.result() for each in reads))
    assert seen <= {"a", *(f"d{n}" for n in range(6))}
    assert (served(live), lists_tables(live)) == ("d5", 1)


# Interruptions


@pytest.mark.parametrize("step", STEPS)
def test_a_load_that_is_killed_at_any_step_changes_nothing_and_the_next_one_succeeds(
    live: str, out: Folder, step: str
) -> None:
    with held_up(live, step) as arrive:
        killed(live, out, ("load", "b"), arrive)
        assert served(live) == "a"
    assert served(live) == "a"
    report = load_version(live, out, "b", wait=True)
    assert (report.reused, served(live)) == (step == "moving", "b")
    assert (states(live), lists_tables(live)) == ({"a": "ready", "b": "ready"}, 2)


def test_a_load_that_is_killed_while_it_copies_changes_nothing_and_the_next_one_succeeds(
    live: str, out: Folder
) -> None:
    publish(out, "large", users=60_000)
    for arrived in (lambda: is_registered(live, "large"), lambda: copies(live), lambda: copies(live)):
        killed(live, out, ("load", "large", "--wait"), partial(until, arrived))
        assert served(live) == "a"
    assert load_version(live, out, "large", wait=True).reused is False
    assert (served(live), states(live)) == ("large", {"a": "ready", "large": "ready"})
    assert lists_tables(live) == 2


@pytest.mark.parametrize("step", STEPS)
def test_a_cut_connection_is_an_error_and_the_next_load_succeeds(live: str, out: Folder, step: str) -> None:
    with held_up(live, step) as arrive, at_work(partial(load_version, live, out, "b")) as load:
        arrive()
        query(
            live,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE application_name = '{APPLICATION_NAME}' AND datname = current_database()",
        )
        with pytest.raises(DatabaseError, match="the database failed, try again: "):
            load.result(timeout=30)
    assert served(live) == "a"
    load_version(live, out, "b")
    assert (served(live), lists_tables(live)) == ("b", 2)


def test_a_connection_that_is_cut_while_copying_is_an_error(live: str, out: Folder) -> None:
    publish(out, "large", users=60_000)

    def cut(_: int) -> None:
        query(
            live,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_progress_copy WHERE datname = current_database()",
        )

    with pytest.raises(DatabaseError, match="the database failed"):
        load_version(live, out, "large", on_lists=cut)
    assert served(live) == "a"
    load_version(live, out, "large")
    assert served(live) == "large"


def test_a_load_that_is_interrupted_from_the_keyboard_leaves_the_lock_free(live: str, out: Folder) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_version(live, out, "b", on_lists=interrupt)
    assert (served(live), states(live)) == ("a", {"a": "ready", "b": "loading"})
    load_version(live, out, "b")
    assert states(live) == {"a": "ready", "b": "ready"}


def test_tables_that_belong_to_no_version_are_dropped_and_others_are_left_alone(
    live: str, out: Folder
) -> None:
    with psycopg.connect(live) as connection:
        connection.execute("CREATE TABLE recommendations_v77 (LIKE recommendations)")
        connection.execute("CREATE TABLE recommendations_vital (LIKE recommendations)")
    load_version(live, out, "b")
    assert lists_tables(live) == 2
    assert query(live, "SELECT to_regclass('recommendations_v77'), count(*) FROM recommendations_vital") == [
        (None, 0)
    ]


# Retiring


def test_old_versions_are_retired_but_never_served_ones(live: str, out: Folder) -> None:
    publish(out, "d", "e")
    load_version(live, out, "b", variant="canary")
    for version in "cde":
        load_version(live, out, version, activate=False)
    report = retire_versions(live, keep=2)
    assert (report.dropped, report.pending, report.kept) == (("c",), (), ("e", "d", "b", "a"))
    assert lists_tables(live) == 4
    assert (served(live), served(live, "canary")) == ("a", "b")
    with pytest.raises(VersionError, match="expected 1 or more"):
        retire_versions(live, keep=0)


def test_a_dropped_version_can_be_loaded_again(live: str, out: Folder) -> None:
    load_version(live, out, "b")
    assert drop_version(live, "a").dropped == ("a",)
    assert (states(live), lists_tables(live)) == ({"b": "ready"}, 1)
    load_version(live, out, "a")
    assert served(live) == "a"


def test_a_served_version_is_not_dropped(live: str, out: Folder) -> None:
    load_version(live, out, "a", variant="canary")
    with pytest.raises(VersionError, match="version a is served as canary, default"):
        drop_version(live, "a")
    assert (served(live), states(live)) == ("a", {"a": "ready"})


def test_dropping_what_is_not_there_says_what_is(live: str) -> None:
    with pytest.raises(
        VersionError, match=r"no version 'x' in the database; there are: a \(ready, served as"
    ):
        drop_version(live, "x")


def test_a_version_that_somebody_reads_is_removed_later(live: str, out: Folder) -> None:
    for version in "bc":
        load_version(live, out, version)
    with reading(live, "a"):
        assert retire_versions(live, keep=1, patience_seconds=0.2).pending == ("b", "a")
        with pytest.raises(VersionError, match="a is dropping, only a ready one can be served"):
            rollback(live, "a")
        with pytest.raises(VersionError, match="a is being dropped, and somebody still reads it"):
            load_version(live, out, "a", patience_seconds=0.2)
        publish(out, "d")
        report = load_version(live, out, "d", patience_seconds=0.2)
        assert (served(live), report.pending) == ("d", ("b", "a"))
        assert query(live, "SELECT count(*) FROM pg_inherits WHERE inhdetachpending") == [(1,)]
    assert retire_versions(live, keep=1).pending == ()
    assert (states(live), lists_tables(live)) == ({"d": "ready"}, 1)


def test_the_next_load_finishes_what_waited_for_a_reader(live: str, out: Folder) -> None:
    load_version(live, out, "b")
    with reading(live, "a"):
        assert drop_version(live, "a", patience_seconds=0.2).pending == ("a",)
    assert load_version(live, out, "c").pending == ()
    assert (states(live), lists_tables(live)) == ({"b": "ready", "c": "ready"}, 2)


def test_a_drop_that_is_killed_is_finished_by_the_next_load(live: str, out: Folder) -> None:
    load_version(live, out, "b")
    with reading(live, "a"):
        killed(live, out, ("drop", "a"), lambda: until(lambda: waits(live, "%DETACH%")))
        assert states(live) == {"a": "dropping", "b": "ready"}
    assert load_version(live, out, "c", wait=True).pending == ()
    assert (served(live), states(live), lists_tables(live)) == ("c", {"b": "ready", "c": "ready"}, 2)


# Rolling back


def test_a_rollback_goes_back_one_version_each_time(live: str, out: Folder) -> None:
    for version in "bc":
        load_version(live, out, version)
    assert rollback(live) == Move(variant="default", version="b", previous="c")
    assert rollback(live).version == "a"
    assert served(live) == "a"
    with pytest.raises(VersionError, match=r"no version before a .* there are: c \(ready\), b \(ready\)"):
        rollback(live)


def test_a_version_that_was_rolled_back_from_is_no_aim(live: str, out: Folder) -> None:
    load_version(live, out, "b")
    rollback(live)
    load_version(live, out, "c")
    assert rollback(live).version == "a"


def test_dropped_versions_are_skipped_by_a_rollback(live: str, out: Folder) -> None:
    for version in "bc":
        load_version(live, out, version)
    drop_version(live, "b")
    assert rollback(live).version == "a"


def test_a_variant_is_rolled_back_by_its_own_history(live: str, out: Folder) -> None:
    for version in "bc":
        load_version(live, out, version, variant="canary")
    assert rollback(live, variant="canary").version == "b"
    assert (served(live), served(live, "canary")) == ("a", "b")


def test_a_rollback_to_a_named_version_may_go_anywhere(live: str, out: Folder) -> None:
    load_version(live, out, "b", activate=False)
    assert rollback(live, "b").previous == "a"
    assert served(live) == "b"


def test_a_rollback_to_nowhere_says_what_there_is(live: str, out: Folder) -> None:
    with pytest.raises(
        VersionError, match=r"no version 'x' in the database; there are: a \(ready, served as"
    ):
        rollback(live, "x")
    with pytest.raises(VersionError, match="variant 'b' serves nothing; only default"):
        rollback(live, variant="b")
    assert served(live) == "a"


@pytest.mark.parametrize(
    ("moves", "way"),
    [("", ""), ("A", "A"), ("ABC", "ABC"), ("ABA", "A"), ("ABAC", "AC"), ("ABCBDBA", "A"), ("ABCBD", "ABD")],
)
def test_the_way_to_a_version_leaves_out_what_was_gone_back_from(moves: str, way: str) -> None:
    assert path(moves) == list(way)
