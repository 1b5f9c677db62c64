"""Imported and posted events of one shop, one of whose users asks to be forgotten and comes back."""

import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.training.posted import ENSURE_TODAY
from training.events import dataset_fingerprint, read_events
from training.export_events import export_events
from training.import_events import import_events
from training.storage import Folder
from training.tombstones import delete_user

MOMENT = 1_750_000_000_000
CSV = f"""user_id,item_id,event_type,timestamp
leaves,i1,view,{MOMENT}
leaves,i1,purchase,{MOMENT + 1}
stays,i1,view,{MOMENT + 2}
stays,i2,purchase,{MOMENT + 3}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    file = tmp_path / "events.csv"
    file.write_text(CSV)
    return file


def post(database: str, user: str, item: str, timestamp: int) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(ENSURE_TODAY)
        connection.execute(
            'INSERT INTO events (user_id, item_id, event_type, "timestamp") VALUES (%s, %s, %s, %s)',
            (user, item, "view", timestamp),
        )


def read(folder: Folder) -> list[tuple[Any, ...]]:
    table = read_events(Folder(folder.uri_of("events")))
    return [tuple(row.values()) for row in table.to_pylist()]


def test_imported_and_posted_events_are_read_together(database: str, bucket: str, shop: Path) -> None:
    folder = Folder(f"s3://{bucket}")
    import_events([shop], folder)
    imported = read_events(Folder(folder.uri_of("events")))
    post(database, "stays", "i1", MOMENT + 2)  # what was imported, too
    post(database, "stays", "i3", MOMENT + 9)
    export_events(database, folder)
    both = read_events(Folder(folder.uri_of("events")))
    assert (len(imported), len(both)) == (4, 5)
    assert dataset_fingerprint(imported) != dataset_fingerprint(both)


def test_a_deleted_user_is_forgotten_until_they_come_back(database: str, bucket: str, shop: Path) -> None:
    folder = Folder(f"s3://{bucket}")
    import_events([shop], folder)
    post(database, "leaves", "i2", MOMENT + 4)
    export_events(database, folder)
    assert {row[0] for row in read(folder)} == {"leaves", "stays"}

    delete_user(database, "leaves")
    post(database, "leaves", "i4", MOMENT + 5)  # a retry of something done long ago
    post(database, "leaves", "i5", int(time.time() * 1000) + 60_000)
    export_events(database, folder)
    assert [row[:2] for row in read(folder)] == [("stays", "i1"), ("stays", "i2"), ("leaves", "i5")]

    report = import_events([shop], folder)
    assert (report.events, report.deleted) == (2, 2)
    assert [row[:2] for row in read(folder)] == [("stays", "i1"), ("stays", "i2"), ("leaves", "i5")]
