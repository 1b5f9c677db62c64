"""How fast a version gets into Postgres: the loader against psycopg2's `execute_values`.

Both write the same personal lists beside a version that is already there, with their primary key. The
loader's time holds all that it does: reading Parquet, checksums, COPY, index, ANALYZE, attaching, going
live. The peer gets its rows as Python tuples and writes them in one transaction into one table with the
rows of the version before. It is given a slice of the users: the rate is told in users/s, and the more
there are, the larger the index and the slower the peer.
"""

import statistics
import time

import numpy as np
import psycopg
import psycopg2
import psycopg2.extras
import pyarrow as pa

from benchmarks.bars import Bar, write
from benchmarks.stage import empty_database, publish
from contract.recommendations import ListKind
from training.lists_schema import LISTS_SCHEMA
from training.loader import load_version
from training.retirement import drop_version
from training.serving import rollback

USERS = 500_000
PEER_USERS = 30_000
ITEMS = 20
TURNS = 5


def run() -> list[Bar]:
    """Load and insert in turn."""
    lists = personal_lists(USERS)
    ours: list[float] = []
    peers: list[float] = []
    with empty_database() as (database_url, out):
        publish(out, "first", lists)
        publish(out, "second", lists)
        load_version(database_url, out, "first")
        _make_peers_table(database_url)
        for turn in range(TURNS):
            started = time.perf_counter()
            load_version(database_url, out, "second")
            ours.append(USERS / (time.perf_counter() - started))
            rollback(database_url, "first")
            drop_version(database_url, "second")
            peers.append(PEER_USERS / _execute_values(database_url, 1000 + turn, lists.slice(0, PEER_USERS)))
    bar = Bar("load_vs_execute_values", statistics.median(ours) / statistics.median(peers), 15, "higher")
    raw = {"users": USERS, "items": ITEMS, "users_per_s": ours}
    write("load", [bar], {**raw, "execute_values_users": PEER_USERS, "execute_values_users_per_s": peers})
    return [bar]


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


def _make_peers_table(database_url: str) -> None:
    """One table for all versions, with the first of them in it."""
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE by_hand (LIKE recommendations INCLUDING ALL)")
        connection.execute("INSERT INTO by_hand SELECT * FROM recommendations")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE by_hand")


def _execute_values(database_url: str, version: int, lists: pa.Table) -> float:
    """Seconds for what many loaders do."""
    rows = [(version, row["kind"], row["key"], row["item_ids"], row["scores"]) for row in lists.to_pylist()]
    connection = psycopg2.connect(database_url)
    started = time.perf_counter()
    with connection, connection.cursor() as cursor:
        psycopg2.extras.execute_values(
            cursor,
            "INSERT INTO by_hand (version, kind, key, item_ids, scores) VALUES %s",
            rows,
            page_size=1000,
        )
    seconds = time.perf_counter() - started
    connection.close()
    return seconds
