"""Deletions on their way into the files: nobody deleted stays, nothing else changes, whatever dies meanwhile."""

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contract.tombstones import Tombstones
from tests.training.posted import DAY, exported, manifests, post
from tests.training.published import history, manifest, publish, rows_of, scored, table
from tests.training.test_tombstones import one_tombstone
from training.database import FILES_LOCK, alone, connected
from training.errors import BadInputError, VersionError
from training.events import read_events
from training.export_events import export_events
from training.forget import ForgetReport, forget_in_files, main, reached
from training.forgetting.leftovers import ABANDONED_MS, REPLACED_MS
from training.forgetting.record import DeletionsRecord, read_record
from training.forgetting.rejected import FORGOTTEN, forget_rejected, ids_in
from training.import_events import import_events
from training.importing.rows import REJECTED_SCHEMA
from training.loader import load_version
from training.publish import publish_version, read_lists, read_manifest
from training.storage import Folder
from training.tombstones import delete_user, exchange_tombstones, read_tombstones

DAY_MS = 86_400_000


def forget(database: str, folder: Folder, *, later_ms: int = 0) -> ForgetReport:
    return forget_in_files(database, folder, folder, now_ms=round(time.time() * 1000) + later_ms)


def import_shop(path: Path, out: Folder, *, users: tuple[str, ...] = ("u0", "u1", "leaver")) -> None:
    """Two days, each with a row of each user; and one row of each that breaks the contract."""
    path.mkdir(exist_ok=True)
    source = path / "shop.csv"
    lines = ["user_id,item_id,event_type,timestamp"]
    lines += [f"{user},i{day},purchase,{DAY + day * DAY_MS}" for day in range(2) for user in users]
    lines += [f"{user},,view,{DAY}" for user in users]
    source.write_text("\n".join(lines) + "\n")
    import_events([source], out, max_bad_share=1)


def contents(folder: Folder) -> dict[str, bytes]:
    """All files but the record, which tells when it was written."""
    return {key: folder.read(key) for key in folder.list() if key != "events/deletions.json"}


def places(folder: Folder, user: str) -> set[str]:
    """The files that hold a user in any value."""
    found = set()
    for key in folder.list():
        if key.endswith(".parquet"):
            with folder.filesystem.open_input_file(folder.path(key)) as source:
                text = str(pq.read_table(source).to_pydict())
        else:
            text = folder.read(key).decode()
        if user in text:
            found.add(key)
    return found


def read_as_training_does(folder: Folder) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_events(Folder(folder.uri_of("events"))).to_pylist()
    return rows


def lists_of(folder: Folder, version: str) -> list[dict[str, Any]]:
    batches = read_lists(folder, read_manifest(folder, version))
    return [row for batch in batches for row in batch.to_pylist()]


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, folder: Folder) -> Folder:
    """Once a folder, once a real S3 API."""
    return folder if request.param == "folder" else Folder(f"s3://{request.getfixturevalue('bucket')}")


def test_a_deleted_user_is_in_no_file_any_more_and_nobody_else_has_changed(
    connection: Any, database: str, store: Folder, tmp_path: Path
) -> None:
    import_shop(tmp_path / "shop", store)
    import_shop(tmp_path / "other", store, users=("u0", "u1"))
    post(connection, ["a"], user="leaver")
    post(connection, ["b", "c"], user="u1")
    export_events(database, store)
    publish(store, "v1")
    publish_version(store, [table([*rows_of("v2"), *_lists_of("leaver")])], manifest=manifest("v2"))
    events, lists, before = read_as_training_does(store), lists_of(store, "v2"), contents(store)
    assert len(places(store, "leaver")) == 5

    delete_user(database, "leaver")
    first = forget(database, store)
    assert (first.sources, first.events, first.rejected, first.versions) == (2, 3, 1, 1)
    assert read_as_training_does(store) == [row for row in events if row["user_id"] != "leaver"]
    assert lists_of(store, "v2") == [row for row in lists if row["key"] != "leaver"]
    now = contents(store)
    changed = {key for key in before if now.get(key) != before[key]}
    assert {key.split("/")[-1].partition("-")[0] for key in changed} == {"import", "export", "manifest.json"}
    assert len(changed) == 4
    assert first.waiting == len(places(store, "leaver")) == 4  # what was replaced, for those who read it

    second = forget(database, store, later_ms=REPLACED_MS)
    assert (second.swept, second.waiting, second.sources) == (4, 0, 0)
    assert places(store, "leaver") == set()
    load_version(database, store, "v2")


def _lists_of(user: str) -> list[dict[str, Any]]:
    # An item of the same name stays what it is.
    return [scored("personal", user, ["i1"]), history(user, ["i1"])]


def test_an_item_that_is_called_as_the_user_keeps_its_lists(
    connection: Any, database: str, folder: Folder
) -> None:
    rows = [*rows_of("v1"), *_lists_of("leaver"), scored("similar", "leaver", ["i1"])]
    publish_version(folder, [table(rows)], manifest=manifest("v1"))
    delete_user(database, "leaver")
    forget(database, folder)
    assert [row["kind"] for row in lists_of(folder, "v1") if row["key"] == "leaver"] == ["similar"]
    counts = read_manifest(folder, "v1").counts
    assert (counts["personal"], counts["history"], counts["similar"]) == (2, 1, 2)


def test_a_version_trained_after_the_deletion_keeps_who_came_back(
    connection: Any, database: str, folder: Folder
) -> None:
    publish(folder, "v1")
    delete_user(database, "u0")
    connection.execute("UPDATE deleted_users SET deleted_at = '2015-09-18T02:59:47.787Z'")
    before = contents(folder)
    forget(database, folder)
    assert {key: contents(folder)[key] for key in before} == before


def test_who_came_back_keeps_what_happened_since(
    connection: Any, database: str, folder: Folder, tmp_path: Path
) -> None:
    import_shop(tmp_path, folder)
    delete_user(database, "leaver")
    connection.execute("UPDATE deleted_users SET deleted_at = to_timestamp(%s)", (DAY / 1000 + 3600,))
    report = forget(database, folder)
    assert report.events == 1
    (source,) = manifests(folder)
    assert [file["rows"] for file in source["files"]] == [2, 3]
    assert source["forgotten_rows"] == 1
    kept = [row for row in read_as_training_does(folder) if row["user_id"] == "leaver"]
    assert [row["timestamp"] for row in kept] == [DAY + DAY_MS]


def test_nothing_to_forget_leaves_every_byte(
    connection: Any, database: str, store: Folder, tmp_path: Path
) -> None:
    import_shop(tmp_path, store)
    publish(store, "v1")
    before = contents(store)
    delete_user(database, "never seen")
    report = forget(database, store)
    assert report.looked_at == 3
    assert {key: contents(store)[key] for key in before} == before


class Reading(Folder):
    """A bucket that counts which files are opened."""

    opened: list[str]

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder.uri)
        self.opened = []

    def path(self, key: str) -> str:
        if key.endswith(".parquet"):
            self.opened.append(key)
        return super().path(key)


def test_files_that_are_known_to_be_clean_are_not_read_again(
    connection: Any, database: str, folder: Folder, tmp_path: Path
) -> None:
    import_shop(tmp_path / "a", folder)
    publish(folder, "v1")
    delete_user(database, "somebody")
    forget(database, folder)
    again = Reading(folder)
    assert forget_in_files(database, again, again).looked_at == 0
    assert again.opened == []
    # A source that came since is read, and the next deletion has all read.
    import_shop(tmp_path / "b", folder, users=("u7",))
    assert forget(database, folder).looked_at == 2
    delete_user(database, "another")
    assert forget(database, folder).looked_at == 5


def test_events_that_come_late_are_taken_out_of_the_next_export(
    connection: Any, database: str, folder: Folder
) -> None:
    post(connection, ["a"], user="u")
    export_events(database, folder)
    delete_user(database, "leaver")
    assert forget(database, folder).events == 0
    post(connection, ["late"], user="leaver")
    export_events(database, folder)
    assert exported(folder) == {("u", "a"): 1, ("leaver", "late"): 1}
    assert forget(database, folder).events == 1
    assert exported(folder) == {("u", "a"): 1}
    assert all(not source["files"] for source in manifests(folder) if source.get("forgotten_rows"))
    # An export that held nobody else stays known: the database isn't taken for a restored one.
    post(connection, ["b"], user="u")
    export_events(database, folder)
    assert exported(folder) == {("u", "a"): 1, ("u", "b"): 1}


class CrashError(Exception):
    """No UserError: as if the process had been killed there."""


class Crashing(Folder):
    """A bucket at whose n-th change the program dies, before or after it was done."""

    def __init__(self, folder: Folder, changes: int, *, done: bool) -> None:
        super().__init__(folder.uri)
        self.left, self.done = changes, done

    def _die_in_time(self, change: Any) -> None:
        self.left -= 1
        if self.left >= 0 or self.done:
            change()
        if self.left < 0:
            raise CrashError

    def write(self, key: str, data: bytes) -> None:
        self._die_in_time(lambda: Folder.write(self, key, data))

    def write_from(self, key: str, file: Path) -> None:
        self._die_in_time(lambda: Folder.write_from(self, key, file))

    def delete(self, key: str) -> None:
        self._die_in_time(lambda: Folder.delete(self, key))


def test_a_crash_at_any_change_loses_nothing_and_the_next_run_finishes(
    connection: Any, database: str, folder: Folder, tmp_path: Path
) -> None:
    import_shop(tmp_path / "shop", folder)
    post(connection, ["a"], user="leaver")
    post(connection, ["b"], user="u1")
    export_events(database, folder)
    publish_version(folder, [table([*rows_of("v1"), *_lists_of("leaver")])], manifest=manifest("v1"))
    delete_user(database, "leaver")
    exchange_tombstones(connection, folder)
    events, lists = read_as_training_does(folder), lists_of(folder, "v1")
    begin, kept = contents(folder), [row for row in lists if row["key"] != "leaver"]
    crashes = 0
    for changes in range(100):
        for done in (False, True):
            _restore(folder, begin)
            now, finished = round(time.time() * 1000), True
            for run in range(3):
                crashing = Crashing(folder, changes if run < 2 else 10**6, done=done)
                try:
                    moment = now + run * (REPLACED_MS + 60_000)
                    forget_in_files(database, crashing, crashing, now_ms=moment)
                except CrashError:
                    finished, crashes = False, crashes + 1
                assert read_as_training_does(folder) == events
                assert lists_of(folder, "v1") in (lists, kept)
            forget(database, folder, later_ms=10 * REPLACED_MS + ABANDONED_MS)
            assert places(folder, "leaver") == set()
            assert read_as_training_does(folder) == events
            assert lists_of(folder, "v1") == kept
            assert reached(folder, "leaver") is not None
        if finished:
            break
    assert finished
    assert crashes > 20


def _restore(folder: Folder, files: dict[str, bytes]) -> None:
    for key in list(folder.list()):
        folder.delete(key)
    for key, data in files.items():
        folder.write(key, data)


def test_the_record_says_when_a_deletion_got_there(
    connection: Any, database: str, folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_shop(tmp_path, folder)
    assert reached(folder, "leaver") is None
    delete_user(database, "leaver")
    exchange_tombstones(connection, folder)
    assert reached(folder, "leaver") is None
    now = round(time.time() * 1000)
    forget_in_files(database, folder, folder, now_ms=now)
    known = reached(folder, "leaver")
    assert known is not None
    assert known.deleted_at == read_tombstones(folder).deleted_until("leaver")
    assert (known.unread_at, known.gone_at) == (now, None)
    forget_in_files(database, folder, folder, now_ms=now + DAY_MS)
    known = reached(folder, "leaver")
    assert known is not None
    assert (known.unread_at, known.gone_at) == (now, now + DAY_MS)
    assert main(["when", "leaver", "--events", folder.uri]) == 0
    assert "gone_at: 20" in capsys.readouterr().out
    assert main(["when", "u0", "--events", folder.uri]) == 0
    assert "not known" in capsys.readouterr().out
    # Deleted once more, it has to get there once more.
    delete_user(database, "leaver")
    exchange_tombstones(connection, folder)
    assert reached(folder, "leaver") is None


def test_deletions_of_every_night_get_there_every_night(
    connection: Any, database: str, folder: Folder, tmp_path: Path
) -> None:
    """What is replaced each night is deleted the night after, though its manifest is younger by then."""
    users = tuple(f"n{night}" for night in range(3))
    import_shop(tmp_path, folder, users=(*users, "u0"))
    now = round(time.time() * 1000)
    for user in users:
        delete_user(database, user)
        # As if the manifest had been written a night ago, which is what the clock of a bucket says.
        forget_in_files(database, folder, folder, now_ms=now + REPLACED_MS + 60_000)
    assert reached(folder, users[0]) is not None
    assert places(folder, users[0]) == places(folder, users[1]) == set()


def test_what_an_import_that_was_cut_off_left_goes_after_a_week(
    connection: Any, database: str, folder: Folder, tmp_path: Path
) -> None:
    import_shop(tmp_path, folder)
    (name,) = folder.list("events/manifests/")
    folder.delete(name)
    publish(folder, "v1")
    folder.delete("recommendations/v1/manifest.json")
    others = {"recommendations/notes.txt", "events/dt=2025-06-15/theirs.parquet"}
    for key in others:
        folder.write(key, b"of somebody else")
    report = forget(database, folder, later_ms=ABANDONED_MS - 3_600_000)
    assert (report.swept, report.waiting) == (0, 3)
    assert forget(database, folder, later_ms=ABANDONED_MS + 60_000).swept == 3
    left = {key for key in folder.list() if not key.startswith("rejected/")}
    assert left == {"events/deletions.json", *others}


def test_a_damaged_file_is_told_and_keeps_nobody_else_in(
    connection: Any, database: str, folder: Folder, tmp_path: Path
) -> None:
    import_shop(tmp_path / "a", folder)
    import_shop(tmp_path / "b", folder, users=("leaver", "u9"))
    publish_version(folder, [table([*rows_of("v1"), *_lists_of("leaver")])], manifest=manifest("v1"))
    source = manifests(folder)[0]
    folder.write(source["files"][0]["key"], b"no Parquet")
    folder.write("recommendations/v1/lists-00000.parquet", b"no Parquet")
    delete_user(database, "leaver")
    with pytest.raises(BadInputError) as told:
        forget(database, folder)
    assert source["files"][0]["key"] in str(told.value)
    assert "lists-00000.parquet: isn't the file that was published" in str(told.value)
    assert manifests(folder)[1]["forgotten_rows"] == 2
    assert reached(folder, "leaver") is None


@pytest.mark.parametrize("key", ["events/manifests/import-1.json", "recommendations/v1/manifest.json"])
def test_beside_a_manifest_that_cannot_be_read_nothing_is_deleted(
    connection: Any, database: str, folder: Folder, key: str
) -> None:
    files = {"events/dt=2026-01-01/import-1.parquet", "recommendations/v1/lists-00000.parquet"}
    for name in files:
        folder.write(name, b"")
    folder.write(key, b"{")
    with pytest.raises(BadInputError, match="manifest"):
        forget(database, folder, later_ms=2 * ABANDONED_MS)
    assert any(folder.exists(name) for name in files if name.split("/")[0] == key.split("/", maxsplit=1)[0])


def test_a_record_that_cannot_be_read_is_told(connection: Any, database: str, folder: Folder) -> None:
    folder.write("events/deletions.json", b'{"schema_version": 7}')
    with pytest.raises(BadInputError, match=r"deletions\.json: isn't a record of deletions.*delete it"):
        forget(database, folder)


def test_a_bucket_that_is_not_there_is_told(
    connection: Any, database: str, bucket: str, folder: Folder
) -> None:
    publish(folder, "v1")
    for name in ("s3://no-such-bucket", f"{folder}/no-such-folder"):
        lost = Folder(name)
        for events, versions in ((lost, folder), (folder, lost)):
            with pytest.raises(BadInputError, match=f"{name}: there is no such (bucket|folder)"):
                forget_in_files(database, events, versions)


def test_a_bucket_that_cannot_be_written_is_told(connection: Any, database: str, folder: Folder) -> None:
    class Full(Folder):
        def write(self, key: str, data: bytes) -> None:
            raise OSError(f"no room for {len(data)} bytes of {key}")

    publish(folder, "v1")
    with pytest.raises(BadInputError, match=r"cannot be read and written: no room .*; the next run goes on"):
        forget_in_files(database, Full(folder.uri), folder)


def test_one_after_the_other(connection: Any, database: str, folder: Folder) -> None:
    with (
        connected(database) as other,
        alone(other, wait=False, lock=FILES_LOCK),
        pytest.raises(VersionError, match="rewritten or deleted by another"),
    ):
        forget(database, folder)


@pytest.mark.parametrize(
    "raw",
    [
        '{"visitorid": "leaver", "itemid": ""}',
        '{"user": {"id": ["leaver"]}}',
        json.dumps("leaver;i1;view"),
        json.dumps("1,2,view,leaver"),
        json.dumps('"leaver",i1,"view'),
        json.dumps('{"user_id": "leaver", "item_id": '),
        json.dumps("leaver"),
        json.dumps(" leaver \t x"),
    ],
)
def test_a_rejected_row_is_emptied_wherever_the_id_is(folder: Folder, raw: str) -> None:
    others = ['{"user_id": "leaver too", "n": 17}', json.dumps("leaver2,1"), '"\\ud800,x"', "null", "{"]
    rows = [
        {"file": "f", "row": n, "reason": "missing", "field": None, "raw": text}
        for n, text in enumerate([*others, raw])
    ]
    path = Path(folder.path("rejected/s.parquet"))
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=REJECTED_SCHEMA), path)
    assert forget_rejected(folder, "rejected/s.parquet", _of("leaver")) == 1
    assert pq.read_table(path).to_pylist() == [*rows[:-1], {**rows[-1], "raw": FORGOTTEN}]
    before = path.read_bytes()
    assert forget_rejected(folder, "rejected/s.parquet", _of("leaver")) == 0
    assert path.read_bytes() == before


def test_a_number_in_a_rejected_row_may_be_an_id() -> None:
    assert list(ids_in('{"user_id": 17, "price": 1.5, "x": null}')) == ["17", "1.5"]


def _of(user: str) -> Tombstones:
    return one_tombstone(user, 1)


def test_the_record_comes_back_as_it_was_written(folder: Folder) -> None:
    record = DeletionsRecord()
    record.begin(_of("leaver"))
    record.all_unread(_of("leaver"), 5)
    record.clean["rejected/s.parquet"] = "x"
    record.write(folder)
    assert read_record(folder) == record
