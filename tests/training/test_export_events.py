import json
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.training.posted import DAY, exported, manifests, post
from training.database import EXPORT_LOCK, alone, connected
from training.errors import BadInputError, DatabaseError, VersionError
from training.event_retention import drop_exported_days
from training.events import POSTED_EVENTS_SCHEMA, read_events
from training.export_events import export_events, main
from training.storage import Folder

HOSTILE = [
    'a "quoted" id', "comma, and\nnewline", "\r\n", "tab\there", "\\N", "\\.", "ünï¢ødé 😀", " space ", "'", "NULL",
]  # fmt: skip


def test_posted_events_reach_the_training(connection: Any, database: str, bucket: str) -> None:
    out = Folder(f"s3://{bucket}")
    post(connection, ["e1", "e2"])
    report = export_events(database, out)
    assert report.events == 2
    events = read_events(Folder(f"s3://{bucket}/events"))
    assert events.to_pylist() == [
        {"user_id": "u", "item_id": f"i{n}", "event_type": "view", "timestamp": DAY + n} for n in range(2)
    ]


def test_a_file_holds_all_that_was_posted(connection: Any, database: str, folder: Folder) -> None:
    connection.execute(
        'INSERT INTO events (user_id, event_id, item_id, event_type, "timestamp", recommendation_id,'
        " received_at) VALUES ('u', 'e', 'i', 'wishlist', 5, 'r', '2026-01-01T00:00:00.123Z')"
    )
    (key,) = export_events(database, folder).manifests
    (file,) = json.loads(folder.read(key))["files"]
    today = connection.execute("SELECT (now() AT TIME ZONE 'UTC')::date").fetchone()[0]
    assert file["key"].startswith(f"events/dt={today}/export-")
    table = pq.read_table(folder.path(file["key"]))
    assert table.schema.equals(POSTED_EVENTS_SCHEMA)
    assert table.to_pylist() == [
        {
            "user_id": "u", "item_id": "i", "event_type": "wishlist", "timestamp": 5, "event_id": "e",
            "recommendation_id": "r", "received_at": 1_767_225_600_123,
        }
    ]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_comes_out_as_it_went_in(connection: Any, database: str, folder: Folder, text: str) -> None:
    connection.execute(
        'INSERT INTO events (user_id, event_id, item_id, event_type, "timestamp", recommendation_id)'
        " VALUES (%(text)s, %(text)s, %(text)s, %(text)s, 1, %(text)s), ('u', 'e', 'i', 'view', 2, NULL),"
        " ('u', 'f', 'i', 'view', 3, '')",
        {"text": text},
    )
    export_events(database, folder)
    (manifest,) = manifests(folder)
    rows = pq.read_table(folder.path(manifest["files"][0]["key"])).to_pylist()
    assert {
        rows[0][name] for name in ("user_id", "item_id", "event_type", "event_id", "recommendation_id")
    } == {text}
    assert [row["recommendation_id"] for row in rows[1:]] == [None, ""]


def test_nothing_new_writes_nothing(connection: Any, database: str, folder: Folder) -> None:
    assert export_events(database, folder).manifests == ()
    post(connection, ["e"])
    assert export_events(database, folder).events == 1
    before = list(folder.list())
    report = export_events(database, folder)
    assert (report.events, report.manifests) == (0, ())
    assert list(folder.list()) == before


def test_what_is_committed_late_is_not_passed_over(connection: Any, database: str, folder: Folder) -> None:
    """The slow transaction began first, and has the smaller number: exports by number would lose it."""
    with psycopg.connect(database) as slow:
        post(slow, ["slow"])
        post(connection, ["quick"])
        export_events(database, folder)
        assert set(exported(folder)) <= {("u", "quick")}
        slow.commit()
    export_events(database, folder)
    assert exported(folder) == {("u", "quick"): 1, ("u", "slow"): 1}


def test_what_was_never_committed_is_never_exported(connection: Any, database: str, folder: Folder) -> None:
    with psycopg.connect(database) as other:
        post(other, ["never"])
        other.rollback()
    post(connection, ["e"])
    export_events(database, folder)
    assert exported(folder) == {("u", "e"): 1}


class CrashError(Exception):
    """No UserError: as if the process had been killed there."""


class Crashing(Folder):
    """A bucket at whose n-th write the program dies, before or after it was done."""

    def __init__(self, folder: Folder, writes: int, *, done: bool) -> None:
        super().__init__(folder.uri)
        self.left, self.done = writes, done

    def _die_in_time(self, write: Any) -> None:
        self.left -= 1
        if self.left >= 0 or self.done:
            write()
        if self.left < 0:
            raise CrashError

    def write(self, key: str, data: bytes) -> None:
        self._die_in_time(lambda: Folder.write(self, key, data))

    def write_from(self, key: str, file: Path) -> None:
        self._die_in_time(lambda: Folder.write_from(self, key, file))


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("writes", range(3))
def test_a_crash_at_any_write_is_made_good(
    connection: Any, database: str, folder: Folder, writes: int, done: bool
) -> None:
    connection.execute("SELECT ensure_events_partition(DATE '2026-01-02')")
    connection.execute(
        'INSERT INTO events (received_on, user_id, event_id, item_id, event_type, "timestamp")'
        " VALUES ('2026-01-02', 'u', 'early', 'i', 'view', 1)"
    )
    post(connection, ["e"])
    with pytest.raises(CrashError):
        export_events(database, Crashing(folder, writes, done=done))
    post(connection, ["later"])
    files = {key: folder.read(key) for key in folder.list()}
    export_events(database, folder)
    assert exported(folder) == {("u", "early"): 1, ("u", "e"): 1, ("u", "later"): 1}
    assert {key: folder.read(key) for key in files} == files


def test_a_crash_before_the_plan_is_marked_as_done(connection: Any, database: str, folder: Folder) -> None:
    post(connection, ["e"])
    export_events(database, folder)
    files = {key: folder.read(key) for key in folder.list()}
    connection.execute("UPDATE event_exports SET state = 'planned', rows = NULL, done_at = NULL")
    export_events(database, folder)
    assert {key: folder.read(key) for key in folder.list()} == files


def test_one_after_the_other(connection: Any, database: str, folder: Folder) -> None:
    post(connection, ["e"])
    with connected(database) as other, alone(other, wait=False, lock=EXPORT_LOCK):
        with pytest.raises(VersionError, match="events are being exported by another"):
            export_events(database, folder)
        waiting = threading.Thread(target=export_events, args=(database, folder), kwargs={"wait": True})
        waiting.start()
        time.sleep(0.3)
        assert exported(folder) == {}
    waiting.join()
    assert exported(folder) == {("u", "e"): 1}


def test_a_database_that_went_back_in_time_begins_a_new_epoch(
    connection: Any, database: str, folder: Folder
) -> None:
    """As a restored one does: it has the events, and forgot the latest export."""
    post(connection, ["before"])
    export_events(database, folder)
    post(connection, ["lost"])
    export_events(database, folder)
    connection.execute("DELETE FROM event_exports WHERE number = (SELECT max(number) FROM event_exports)")
    connection.execute("DELETE FROM events WHERE event_id = 'lost'")
    post(connection, ["after"])
    report = export_events(database, folder)
    assert report.events == 2
    assert set(exported(folder)) == {("u", "before"), ("u", "lost"), ("u", "after")}
    assert len({manifest["epoch"] for manifest in manifests(folder)}) == 2
    assert export_events(database, folder).manifests == ()


def test_another_system_takes_over_what_it_finds(connection: Any, database: str, folder: Folder) -> None:
    """As one that was filled from a dump does: its events carry the other one's transactions."""
    post(connection, ["small", "huge"])
    connection.execute("UPDATE events SET xid = '3' WHERE event_id = 'small'")
    connection.execute("UPDATE events SET xid = '999999999999' WHERE event_id = 'huge'")
    connection.execute(
        "INSERT INTO event_exports (system_identifier, epoch, from_xid, to_xid, days, state)"
        " VALUES ('1', '0123abcd', '0', '9999999999999', '{}', 'done')"
    )
    post(connection, ["own"])
    export_events(database, folder)
    assert exported(folder) == {("u", "small"): 1, ("u", "huge"): 1, ("u", "own"): 1}
    assert "0123abcd" not in {manifest["epoch"] for manifest in manifests(folder)}


def test_a_post_that_was_repeated_after_midnight_counts_once(
    connection: Any, database: str, folder: Folder
) -> None:
    for day, moment in (("2026-01-02", 7), ("2026-01-01", 5)):
        connection.execute("SELECT ensure_events_partition(%s::date)", (day,))
        connection.execute(
            'INSERT INTO events (received_on, user_id, event_id, item_id, event_type, "timestamp")'
            " VALUES (%s, 'u', 'e', 'i', 'view', %s), (%s, %s, 'e', 'i', 'view', 9)",
            (day, moment, day, f"other {day}"),
        )
    export_events(database, folder)
    events = read_events(Folder(folder.uri_of("events"))).to_pylist()
    assert [(event["user_id"], event["timestamp"]) for event in events] == [
        ("u", 5), ("other 2026-01-01", 9), ("other 2026-01-02", 9),
    ]  # fmt: skip


def test_a_bucket_that_cannot_be_written_loses_nothing(
    connection: Any, database: str, bucket: str, folder: Folder
) -> None:
    post(connection, ["e"])
    with pytest.raises(BadInputError, match="no-such-bucket: cannot be written"):
        export_events(database, Folder("s3://no-such-bucket"))
    assert export_events(database, folder).events == 1


def test_a_database_without_the_tables_names_the_migrations(empty_database: str, folder: Folder) -> None:
    with pytest.raises(DatabaseError, match="run the migrations"):
        export_events(empty_database, folder)


def test_the_program_tells_what_it_did(
    connection: Any, database: str, folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    post(connection, ["e"])
    arguments = ["--database-url", database, "--events", folder.uri]
    assert main(arguments) == 0
    assert "1 posted events exported" in capsys.readouterr().out
    assert main([*arguments, "--keep-days", "0"]) == 0
    assert "no posted event is new" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["events"] == 0
    assert main(["--database-url", "postgresql://127.0.0.1:1/none", "--events", folder.uri]) == 1
    assert "can't be reached" in capsys.readouterr().err


# Days that are dropped -------------------------------------------------------------------------------
@pytest.fixture
def old_day(connection: Any) -> date:
    """A day of receipt long ago, with one event."""
    day = date.fromisoformat("2026-01-02")
    connection.execute("SELECT ensure_events_partition(%s)", (day,))
    _receive(connection, day, "old")
    return day


def _receive(connection: Any, day: date, event_id: str) -> None:
    connection.execute(
        'INSERT INTO events (received_on, user_id, event_id, item_id, event_type, "timestamp")'
        " VALUES (%s, 'u', %s, 'i', 'view', 1)",
        (day, event_id),
    )


def _count(connection: Any) -> int:
    return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])


def test_a_day_goes_when_it_is_exported_and_old_enough(
    connection: Any, database: str, folder: Folder, old_day: date
) -> None:
    post(connection, ["new"])
    assert drop_exported_days(database, keep_days=30) == ()  # nothing is exported yet
    export_events(database, folder)
    assert drop_exported_days(database, keep_days=30_000) == ()
    assert drop_exported_days(database, keep_days=30) == (old_day.isoformat(),)
    assert _count(connection) == 1
    assert drop_exported_days(database, keep_days=30) == ()
    assert exported(folder) == {("u", "old"): 1, ("u", "new"): 1}


def test_a_day_stays_while_an_export_is_open(
    connection: Any, database: str, folder: Folder, old_day: date
) -> None:
    with pytest.raises(CrashError):
        export_events(database, Crashing(folder, 0, done=True))
    assert drop_exported_days(database, keep_days=30) == ()
    export_events(database, folder)
    assert drop_exported_days(database, keep_days=30) == (old_day.isoformat(),)


def test_a_day_stays_that_has_later_events(
    connection: Any, database: str, folder: Folder, old_day: date
) -> None:
    export_events(database, folder)
    _receive(connection, old_day, "late")
    assert drop_exported_days(database, keep_days=30) == ()
    assert _count(connection) == 2


def test_what_is_committed_while_a_day_goes_brings_it_back(
    connection: Any, database: str, folder: Folder, old_day: date
) -> None:
    export_events(database, folder)
    with psycopg.connect(database) as slow:
        _receive(slow, old_day, "late")
        done: list[tuple[str, ...]] = []
        dropping = threading.Thread(target=lambda: done.append(drop_exported_days(database, keep_days=30)))
        dropping.start()
        time.sleep(0.5)
        slow.commit()
    dropping.join()
    assert done == [()]
    assert _count(connection) == 2
    export_events(database, folder)
    assert drop_exported_days(database, keep_days=30) == (old_day.isoformat(),)
    assert exported(folder) == {("u", "old"): 1, ("u", "late"): 1}


def test_a_day_that_somebody_reads_goes_the_next_time(
    connection: Any, database: str, folder: Folder, old_day: date
) -> None:
    export_events(database, folder)
    with psycopg.connect(database) as reader:
        reader.execute("SELECT count(*) FROM events")
        assert drop_exported_days(database, keep_days=30, patience_seconds=0.2) == ()
    assert drop_exported_days(database, keep_days=30) == (old_day.isoformat(),)
    assert connection.execute("SELECT to_regclass('events_20260102')").fetchone() == (None,)


def test_the_schema_of_files_begins_with_that_of_imported_ones() -> None:
    assert pa.schema(list(POSTED_EVENTS_SCHEMA)[:4]).names == [
        "user_id",
        "item_id",
        "event_type",
        "timestamp",
    ]
