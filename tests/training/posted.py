"""Posted events: put into Postgres as the API does, and found again in what was exported."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import psycopg
import pyarrow.parquet as pq

from training.storage import Folder

Connection = psycopg.Connection[tuple[Any, ...]]
DAY = 1_750_000_000_000

# It takes a lock until the transaction ends: not for transactions that are kept open.
ENSURE_TODAY = "SELECT ensure_events_partition((now() AT TIME ZONE 'UTC')::date)"


def post(connection: Connection, event_ids: Iterable[str], *, user: str = "u") -> None:
    """Insert events; whether and when they are committed is the connection's business."""
    for number, event_id in enumerate(event_ids):
        connection.execute(
            'INSERT INTO events (user_id, event_id, item_id, event_type, "timestamp")'
            " VALUES (%s, %s, %s, 'view', %s)",
            (user, event_id, f"i{number}", DAY + number),
        )


def manifests(folder: Folder) -> list[dict[str, Any]]:
    """All manifests of events, by name."""
    return [json.loads(folder.read(key)) for key in folder.list("events/manifests/")]


def exported(folder: Folder) -> Counter[tuple[str, str]]:
    """How often each (user, event_id) lies in files that a manifest lists."""
    found: Counter[tuple[str, str]] = Counter()
    for manifest in manifests(folder):
        if not manifest["source"].startswith("export-"):
            continue
        for file in manifest["files"]:
            with folder.filesystem.open_input_file(folder.path(file["key"])) as source:
                table = pq.read_table(source)
            assert len(table) == file["rows"]
            found.update(zip(table["user_id"].to_pylist(), table["event_id"].to_pylist(), strict=True))
    return found
