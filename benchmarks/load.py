"""How fast a version gets into Postgres: the loader's binary COPY against plain `executemany`.

Both write the same personal lists into a table that already holds a version, with its primary key.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
from twin.postgres import create_database, drop_database, running_postgres

from benchmarks.bars import Bar, write
from contract.blending import BlendWeights
from contract.recommendations import ListKind, Manifest
from lambdas.migrate_database.migrate import migrate
from training.lists import LISTS_SCHEMA
from training.loader import load_version
from training.publish import publish_version
from training.storage import Folder

USERS = 100_000
PEER_USERS = 10_000
ITEMS = 20
DATABASE = "shop_benchmark"


def run() -> list[Bar]:
    """Load twice, the second time beside the first; then insert the same by hand."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_postgres(log=Path("build/benchmarks/postgres.log")) as server_url,
    ):
        drop_database(server_url, DATABASE)
        database_url = create_database(server_url, DATABASE)
        try:
            return _measure(database_url, Folder(folder))
        finally:
            drop_database(server_url, DATABASE)


def _measure(database_url: str, out: Folder) -> list[Bar]:
    migrate(database_url)
    lists = personal_lists(USERS)
    for version in ("first", "second"):
        publish_version(out, [lists], manifest=_manifest(version))
    load_version(database_url, out, "first")
    started = time.perf_counter()
    load_version(database_url, out, "second")
    ours = USERS / (time.perf_counter() - started)
    peer = PEER_USERS / _executemany(database_url, lists.slice(0, PEER_USERS))
    bars = [Bar("load_vs_executemany", ours / peer, 10, "higher")]
    write(
        "load", bars, {"users": USERS, "items": ITEMS, "users_per_s": ours, "executemany_users_per_s": peer}
    )
    return bars


def personal_lists(users: int) -> pa.Table:
    """One list of `ITEMS` items for each of so many users."""
    rng = np.random.default_rng(0)
    items = pa.array([f"item-{number:07d}" for number in rng.integers(0, 100_000, users * ITEMS)])
    offsets = pa.array(np.arange(0, users * ITEMS + 1, ITEMS, dtype=np.int32))
    scores = pa.array(rng.random(users * ITEMS, dtype=np.float32))
    columns = {
        "kind": pa.array([ListKind.PERSONAL.value] * users),
        "key": pa.array([f"user-{number:08d}" for number in range(users)]),
        "item_ids": pa.ListArray.from_arrays(offsets, items),
        "scores": pa.ListArray.from_arrays(offsets, scores),
    }
    arrays = [columns.get(each.name, pa.nulls(users, each.type)) for each in LISTS_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=LISTS_SCHEMA)


def _executemany(database_url: str, lists: pa.Table) -> float:
    """Seconds for what a straightforward loader would do, batched and in one transaction."""
    rows = [(-1, row["kind"], row["key"], row["item_ids"], row["scores"]) for row in lists.to_pylist()]
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE by_hand (LIKE recommendations INCLUDING ALL)")
        started = time.perf_counter()
        cursor.executemany(
            "INSERT INTO by_hand (version, kind, key, item_ids, scores) VALUES (%s, %s, %s, %s, %s)", rows
        )
        connection.commit()
        return time.perf_counter() - started


def _manifest(version: str) -> Manifest:
    return Manifest(
        version=version, as_of="2026-01-01T00:00:00.000Z", created_at="2026-01-01T00:00:00Z",
        training_window={"from": "2025-12-01T00:00:00.000Z", "to": "2026-01-01T00:00:00.000Z"},
        dataset_fingerprint="0" * 64, code_version="unknown",
        counts={"events": 0, "users": USERS, "items": 0},
        files=(), metrics={}, blend_weights=BlendWeights(), exclude_purchased=False,
    )  # fmt: skip
