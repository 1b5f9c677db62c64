"""What is true about a simulated shop, so that whatever is learned from its events can be judged.

`write_truth` fills a folder:

- `items.parquet`, a row an item: `item_id`, `category_id`, `is_consumable`, `conversion` (1 is the average
  item's), `launched` (date; null where it was before the first day), `withdrawn` (the first date without it;
  null where it stays), `popularity_at_start` and `popularity_at_end` (weights within a day, on the first and
  the last, as if the item were sold and not new).
- `users.parquet`, a row a user: `user_id`, `favourites` (category ids, the first the dearest), `keenness`,
  `sessions_a_day`, `joined` (the first date on which they may come).
- `truth.json`: the `settings`, and all constants of `training.shop.habits` as `habits`.

The chance that a look is followed by a cart is `cart_after_views[n] * keenness * conversion`, where it is the
n-th look at the item that the user remembers (the last number of `cart_after_views` stands for all further
ones), as long as the item doesn't lie in the cart.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from training.moments import MILLISECONDS_A_DAY, format_moment
from training.shop import habits
from training.shop.people import People
from training.shop.simulation import Shop, ShopSettings

USERS_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("favourites", pa.list_(pa.string())),
        ("keenness", pa.float32()),
        ("sessions_a_day", pa.float32()),
        ("joined", pa.date32()),
    ]
)


def write_truth(shop: Shop, folder: Path) -> None:
    """Write what is true about a shop."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(items_truth(shop), folder / "items.parquet", compression="zstd")
    with pq.ParquetWriter(folder / "users.parquet", USERS_SCHEMA, compression="zstd") as writer:
        for batch in users_truth(shop):
            writer.write_batch(batch)
    (folder / "truth.json").write_text(json.dumps(constants(shop.settings), indent=2) + "\n")


def items_truth(shop: Shop) -> pa.Table:
    """The rows of `items.parquet`, by item."""
    items = shop.items
    first, last = items.popularity_at_both_ends()
    columns = {
        "item_id": items.names().take(pa.array(items.number)),
        "category_id": items.category_names().take(pa.array(items.category)),
        "is_consumable": pa.array(items.is_consumable),
        "conversion": pa.array(items.conversion),
        "launched": _dates(shop.settings, items.launch, items.launch >= 0),
        "withdrawn": _dates(shop.settings, items.withdrawal, items.withdrawal <= shop.settings.days),
        "popularity_at_start": pa.array(first),
        "popularity_at_end": pa.array(last),
    }
    return pa.table(columns).sort_by("item_id")


def users_truth(shop: Shop) -> Iterator[pa.RecordBatch]:
    """The rows of `users.parquet`, by user."""
    category_names = shop.items.category_names()
    for people in shop.people:
        everybody = np.ones(people.count, dtype=np.bool_)
        columns = [
            shop.user_names.slice(people.first, people.count),
            _favourites(people, category_names),
            pa.array(people.keenness),
            pa.array(people.rate),
            _dates(shop.settings, people.joined, everybody),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=USERS_SCHEMA)


def constants(settings: ShopSettings) -> dict[str, dict[str, object]]:
    """The content of `truth.json`."""
    span = {"start": format_moment(settings.start_ms), "end": format_moment(settings.start_of(settings.days))}
    named = {name.lower(): value for name, value in vars(habits).items() if name.isupper()}
    return {"settings": {**asdict(settings), **span}, "habits": named}


def _favourites(people: People, category_names: pa.Array) -> pa.Array:
    offsets = np.arange(people.count + 1, dtype=np.int32) * people.favourites.shape[1]
    return pa.ListArray.from_arrays(offsets, category_names.take(pa.array(people.favourites.ravel())))


def _dates(settings: ShopSettings, days: npt.NDArray[np.int32], is_told: npt.NDArray[np.bool_]) -> pa.Array:
    """Dates of days numbered from 0, null where they aren't told."""
    told = np.where(is_told, days, 0) + settings.start_ms // MILLISECONDS_A_DAY
    return pa.array(told.astype(np.int32), mask=~is_told).cast(pa.date32())
