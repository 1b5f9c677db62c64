"""Counts and moments by user, by item and by pair: the relational part, in Ibis.

DuckDB is the engine here; whatever Ibis compiles for would do, so nothing is written that Spark has not.
All aggregates are of whole numbers: sums of floats depend on the order in which threads come to them.
"""

import tempfile
from dataclasses import dataclass
from typing import Any

import ibis
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from ibis import _

from training.interactions import Interactions, LongArray
from training.moments import MILLISECONDS_A_DAY

Column = npt.NDArray[np.integer]

RECENT_DAYS = (7, 28)
MILLISECONDS_A_SECOND = 1000
SECONDS_A_DAY = 86_400
MEMORY_LIMIT = "1GB"
"""Of the engine; what does not fit goes to disk for a while."""


@dataclass(frozen=True)
class Aggregates:
    """Tables of whole numbers, all of them from events before `now`, ms UTC; ages are in seconds."""

    now: int
    users: dict[str, Column]
    """One value a user of the interactions; 0 for one without events."""
    items: dict[str, Column]
    """One value an item of the interactions; 0 for one without events."""
    pair_keys: LongArray
    """user × number of items + item, ascending."""
    pairs: dict[str, Column]
    """One value a pair."""


def aggregate(events: Interactions, now: int, *, threads: int) -> Aggregates:
    """Count `events`, all older than `now`, ms UTC."""
    spill = tempfile.TemporaryDirectory(prefix="aggregates-")
    limits = {"memory_limit": MEMORY_LIMIT, "temp_directory": spill.name, "preserve_insertion_order": False}
    connection = ibis.duckdb.connect(**(limits | ({"threads": threads} if threads else {})))
    try:
        table = connection.create_table("events", _table(events, now), temp=True)
        daily = connection.create_table("daily", _daily(table, len(events.event_type_names)), temp=True)
        pairs = connection.create_table("pairs", _pairs(daily, len(events.event_type_names)), temp=True)
        of_items = _columns(_items(table, pairs))
        of_users = _columns(_users(daily, pairs))
        connection.drop_table("daily")
        connection.drop_table("events")
        of_pairs = _columns(pairs.order_by(["user", "item"]))
    finally:
        connection.disconnect()
        spill.cleanup()
    user, item = of_pairs.pop("user"), of_pairs.pop("item")
    return Aggregates(
        now=now,
        users=_dense(of_users, "user", len(events.user_ids)),
        items=_dense(of_items, "item", len(events.item_ids)),
        pair_keys=user.astype(np.int64) * len(events.item_ids) + item,
        pairs=of_pairs,
    )


def _table(events: Interactions, now: int) -> pa.Table:
    return pa.table(
        {
            "user": events.users,
            "item": events.items,
            "kind": events.event_types,
            "is_target": events.is_target,
            "age": ((now - events.timestamps) // MILLISECONDS_A_SECOND).astype(np.int32),
            "day": (events.timestamps // MILLISECONDS_A_DAY).astype(np.int32),
        }
    )


def _daily(events: Any, n_kinds: int) -> Any:
    """By user, item and day."""
    return events.group_by(["user", "item", "day"]).agg(
        last_age=_.age.min(),
        first_age=_.age.max(),
        last_target_age=_.age.min(where=_.is_target),
        first_target_age=_.age.max(where=_.is_target),
        events=_.count().cast("int32"),
        targets=_.is_target.cast("int32").sum().cast("int32"),
        **{f"n_{kind}": (_.kind == kind).cast("int32").sum().cast("int32") for kind in range(n_kinds)},
    )


def _pairs(daily: Any, n_kinds: int) -> Any:
    """By user and item."""
    return daily.group_by(["user", "item"]).agg(
        last_age=_.last_age.min(),
        first_age=_.first_age.max(),
        days=_.count().cast("int32"),
        last_target_age=_.last_target_age.min(),
        first_target_age=_.first_target_age.max(),
        target_days=(_.targets > 0).cast("int32").sum().cast("int32"),
        **{f"n_{kind}": _[f"n_{kind}"].sum().cast("int32") for kind in range(n_kinds)},
    )


def _items(events: Any, pairs: Any) -> Any:
    """By item: how many events and people, how many of them carted or bought, when, how often again."""
    recent = {
        f"targets_{days}": (_.is_target & (_.age <= days * SECONDS_A_DAY)).cast("int64").sum()
        for days in RECENT_DAYS
    } | {f"events_{days}": (_.age <= days * SECONDS_A_DAY).cast("int64").sum() for days in RECENT_DAYS}
    of_events = events.group_by("item").agg(
        events=_.count(), targets=_.is_target.cast("int64").sum(), first_age=_.age.max(), **recent
    )
    again = _.target_days > 1
    of_pairs = pairs.group_by("item").agg(
        people=_.count(),
        target_people=(_.target_days > 0).cast("int64").sum(),
        again_people=again.cast("int64").sum(),
        again_intervals=again.ifelse(_.target_days - 1, 0).sum(),
        again_time=again.ifelse(_.first_target_age - _.last_target_age, 0).sum(),
    )
    return of_events.inner_join(of_pairs, "item")


def _users(daily: Any, pairs: Any) -> Any:
    """By user: how much they did, on how many days, since when."""
    of_days = daily.group_by("user").agg(
        events=_.events.sum(),
        targets=_.targets.sum(),
        days=_.day.nunique(),
        last_age=_.last_age.min(),
        first_age=_.first_age.max(),
    )
    of_pairs = pairs.group_by("user").agg(
        items=_.count(),
        target_items=(_.target_days > 0).cast("int64").sum(),
        again_items=(_.target_days > 1).cast("int64").sum(),
    )
    return of_days.inner_join(of_pairs, "user")


def _columns(table: Any) -> dict[str, Column]:
    """A table as whole numbers; −1 where a pair has no target to tell the age of."""
    arrow = table.to_pyarrow()
    columns = {}
    for name in arrow.column_names:
        is_narrow = pa.types.is_integer(arrow[name].type) and arrow[name].type.bit_width <= 32
        values = arrow[name] if is_narrow else arrow[name].cast(pa.int64())
        columns[name] = pc.fill_null(values.combine_chunks(), -1).to_numpy(zero_copy_only=False)
    return columns


def _dense(columns: dict[str, Column], key: str, length: int) -> dict[str, Column]:
    rows = columns.pop(key)
    dense: dict[str, Column] = {}
    for name, values in columns.items():
        dense[name] = np.zeros(length, dtype=np.int64)
        dense[name][rows] = values
    return dense
