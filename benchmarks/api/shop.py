"""The shop that is asked about: a live version, and visitors who just did something."""

import datetime as dt
from dataclasses import dataclass

import numpy as np
import psycopg
import pyarrow as pa

from benchmarks.stage import publish
from contract.events import VIEW
from contract.recommendations import ListKind
from training.lists_schema import LISTS_SCHEMA
from training.loader import load_version
from training.storage import Folder

PERSONAL_ITEMS = 100
SIMILAR_ITEMS = 50
POPULAR_ITEMS = 200
RECENT_EVENTS = 5

_SEED = 0
_BEST_SCORE = 0.2
"""So that what visitors looked at comes first in their answers, then what is similar, then the rest."""


@dataclass(frozen=True)
class ShopSize:
    """How large the shop is."""

    visitors: int = 2000
    items: int = 5000


def fill(database_url: str, out: Folder, size: ShopSize) -> list[str]:
    """Make a version live and post the visitors' events; the visitors."""
    rng = np.random.default_rng(_SEED)
    visitors = [f"user-{number:08d}" for number in range(size.visitors)]
    items = [f"item-{number:07d}" for number in range(size.items)]
    publish(
        out,
        "measured",
        _lists(ListKind.PERSONAL, visitors, items, PERSONAL_ITEMS, rng),
        _lists(ListKind.SIMILAR, items, items, SIMILAR_ITEMS, rng),
        _lists(ListKind.POPULAR, [""], items, POPULAR_ITEMS, rng),
    )
    load_version(database_url, out, "measured")
    _post(database_url, visitors, items, rng)
    return visitors


def _lists(
    kind: ListKind, keys: list[str], items: list[str], length: int, rng: np.random.Generator
) -> pa.Table:
    """A list of so many different items for each key, best first."""
    # Every so many items from a random one on: different ones, without a shuffle for each list.
    step = max(1, len(items) // length)
    starts = rng.integers(0, len(items), (len(keys), 1))
    chosen = (starts + step * np.arange(length)) % len(items)
    scores = -np.sort(-rng.random((len(keys), length), dtype=np.float32), axis=1) * np.float32(_BEST_SCORE)
    offsets = pa.array(np.arange(0, chosen.size + 1, length, dtype=np.int32))
    columns = {
        "kind": pa.array([kind.value] * len(keys)),
        "key": pa.array(keys),
        "item_ids": pa.ListArray.from_arrays(offsets, pa.array(items).take(pa.array(chosen.ravel()))),
        "scores": pa.ListArray.from_arrays(offsets, pa.array(scores.ravel())),
    }
    arrays = [columns.get(each.name, pa.nulls(len(keys), each.type)) for each in LISTS_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=LISTS_SCHEMA)


def _post(database_url: str, visitors: list[str], items: list[str], rng: np.random.Generator) -> None:
    """A few views of each visitor, a minute apart, the last a minute ago."""
    now = int(dt.datetime.now(dt.UTC).timestamp() * 1000)
    viewed = rng.integers(0, len(items), (len(visitors), RECENT_EVENTS))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT ensure_events_partition((now() AT TIME ZONE 'UTC')::date)")
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO events (user_id, event_id, item_id, event_type, timestamp)"
                " VALUES (%s, %s, %s, %s, %s)",
                [
                    (visitor, f"{visitor}-{place}", items[item], VIEW, now - (place + 1) * 60_000)
                    for visitor, row in zip(visitors, viewed, strict=True)
                    for place, item in enumerate(row)
                ],
            )
        connection.execute("ANALYZE events")
