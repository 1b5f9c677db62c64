"""What the shop says about its items, by the numbers that the events' items have.

A catalogue tells of one moment. Whoever learns at that moment or later takes it as it is. A backtest that
learns at an earlier one must neither profit nor suffer from what only became known later: see
`ShopItems.of` and `ShopItems.unavailable_at`. An item's category and the tree are taken from the later
catalogue even then: they hardly ever change, and tell nothing of what is carted or bought.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from contract.s3_layout import CATALOGUE_PREFIX
from training.catalogue import Catalogue, latest_catalogue, list_catalogues, read_catalogue
from training.errors import BadInputError
from training.interactions import BoolArray, IntArray, Interactions, LongArray
from training.moments import MILLISECONDS_A_DAY
from training.storage import Folder

log = structlog.get_logger()

NOWHERE: Final = -1
"""Where a category's number is expected: an item without one, or the top of the tree."""

STILL_SOLD_DAYS: Final = 28.0
"""What was carted or bought so lately was to be had, whatever a later catalogue says."""

Names = npt.NDArray[np.object_]


class Lineage(NamedTuple):
    """For every row its category and all those above it: one entry each, by level."""

    rows: LongArray
    categories: IntArray
    levels: IntArray
    """0 for the row's own category, 1 for its parent."""


@dataclass(frozen=True)
class ShopItems:
    """Items by number, and categories by number."""

    item_ids: Names
    """The events' items with the numbers that they have there; behind them what is for sale and has no
    event yet, by id."""
    n_known: int
    """How many of them the events have numbers for; where a part of the events was taken, one of these may
    be yet to come."""
    categories: IntArray
    """Of each item, `NOWHERE` where it isn't known."""
    available: BoolArray
    """Of each item, at the catalogue's moment; an item that the catalogue doesn't have is available."""
    category_ids: Names
    """In order."""
    parents: IntArray
    """Of each category, `NOWHERE` at the top."""
    as_of_ms: int | None = None
    """The moment that the catalogue tells of, UTC ms; None where there is no catalogue."""

    @classmethod
    def of(cls, events: Interactions, catalogue: Catalogue | None, *, now: int) -> "ShopItems":
        """What `catalogue` says about the items that `events`, all older than `now` (UTC ms), number.

        Items without an event are known only from a catalogue of `now` or before: a later one has items
        that were yet to come, and that they are in it would tell of the future.
        """
        if catalogue is None:
            return cls._unknown(events)
        known = pa.array(events.item_ids.tolist(), pa.string())
        listed = catalogue.items
        item_ids = known
        if catalogue.info.as_of_ms <= now:
            is_new = pc.and_(listed["available"], pc.invert(pc.is_in(listed["item_id"], known)))
            item_ids = pa.concat_arrays([known, _array(listed["item_id"].filter(is_new)).sort()])
        rows = pc.index_in(item_ids, value_set=listed["item_id"])
        category_ids = _category_ids(catalogue)
        of_items = _array(listed["category_id"]).take(rows)
        return cls(
            item_ids=_names(item_ids),
            n_known=len(known),
            categories=_numbers(of_items, category_ids),
            available=np.asarray(_array(listed["available"]).take(rows).fill_null(True), dtype=np.bool_),
            category_ids=_names(category_ids),
            parents=_parents(catalogue.categories, category_ids),
            as_of_ms=catalogue.info.as_of_ms,
        )

    @classmethod
    def _unknown(cls, events: Interactions) -> "ShopItems":
        n_items = len(events.item_ids)
        return cls(
            item_ids=events.item_ids,
            n_known=n_items,
            categories=np.full(n_items, NOWHERE, np.int32),
            available=np.ones(n_items, np.bool_),
            category_ids=np.empty(0, dtype=object),
            parents=np.empty(0, np.int32),
        )

    def __len__(self) -> int:
        return len(self.item_ids)

    @cached_property
    def category_of(self) -> dict[str, str]:
        """The id of each item's category by the item's id, where there is one."""
        rows = np.flatnonzero(self.categories != NOWHERE)
        names = self.category_ids[self.categories[rows]]
        return dict(zip(self.item_ids[rows].tolist(), names.tolist(), strict=True))

    def named(self, mask: BoolArray) -> frozenset[str]:
        """The ids of the items under a mask."""
        return frozenset(self.item_ids[mask].tolist())

    def extended(self, events: Interactions) -> Interactions:
        """The events, with `item_ids` that name the items without an event, too; numbers stay."""
        return replace(events, item_ids=self.item_ids)

    def lineage(self, categories: IntArray) -> Lineage:
        """Each row's category, and all those above it; rows that are `NOWHERE` have none."""
        rows = np.flatnonzero(categories != NOWHERE)
        current = categories[rows]
        found = [(rows, current)]
        while len(rows):
            above = self.parents[current]
            inside = above != NOWHERE
            rows, current = rows[inside], above[inside]
            found.append((rows, current))
        levels = np.repeat(np.arange(len(found)), [len(level) for level, _ in found])
        return Lineage(
            np.concatenate([level for level, _ in found]),
            np.concatenate([above for _, above in found]),
            levels.astype(np.int32),
        )

    def category_levels(self) -> list[IntArray]:
        """The categories at the top of the tree, those below them, and so on."""
        lineage = self.lineage(np.arange(len(self.category_ids), dtype=np.int32))
        depths = np.bincount(lineage.rows, minlength=len(self.category_ids)) - 1
        return [
            np.flatnonzero(depths == level).astype(np.int32) for level in range(max(depths, default=-1) + 1)
        ]

    def unavailable_at(self, events: Interactions, now: int) -> BoolArray:
        """Which items can't be had at `now`, as far as `events`, all older than that, may tell.

        A catalogue of `now` or before is taken at its word. One of later may call sold out what was sold
        at `now`: leaving that out would spare a backtest the items that were about to go, and keep it from
        foretelling those that were still bought. So only items count that nobody carted or bought in
        the last `STILL_SOLD_DAYS`, either: they were most likely gone by then. Nor may they all stay in: an
        item that was never to be had would be shown in the backtest, and not by the API.
        """
        unavailable: BoolArray = ~self.available
        if self.as_of_ms is None or self.as_of_ms <= now:
            return unavailable
        lately = events.between(now - round(STILL_SOLD_DAYS * MILLISECONDS_A_DAY), now)
        unavailable[lately.items[lately.is_target]] = False
        return unavailable


def read_shop_catalogue(channel: Path, as_of_ms: int | None = None) -> Catalogue | None:
    """The latest catalogue up to and including a moment (UTC ms) of a training job's channel.

    `channel` is a folder named `catalogue` that holds what lies below the bucket's `catalogue/`, or nothing,
    or doesn't exist: then there is None. Raises VersionError where a catalogue is damaged.
    """
    name = CATALOGUE_PREFIX.rstrip("/")
    if channel.name != name:
        raise BadInputError(f"{channel}: expected a folder named {name}")
    root = Folder(channel.parent)
    latest = latest_catalogue(root, as_of_ms)
    if latest is None and (later := list_catalogues(root)):
        log.warning("all catalogues tell of later and are left out", first=later[0].as_of)
    return read_catalogue(root, latest.version) if latest else None


def _category_ids(catalogue: Catalogue) -> pa.Array:
    """All categories that items or the tree name, in order."""
    tree = catalogue.categories
    named = [catalogue.items["category_id"], tree["category_id"], tree["parent_id"]]
    everything = pa.concat_arrays([_array(column).cast(pa.string()) for column in named])
    return everything.drop_null().unique().sort()


def _parents(tree: pa.Table, category_ids: pa.Array) -> IntArray:
    parents = np.full(len(category_ids), NOWHERE, np.int32)
    parents[_numbers(_array(tree["category_id"]), category_ids)] = _numbers(
        _array(tree["parent_id"]), category_ids
    )
    return parents


def _numbers(names: pa.Array, ordered: pa.Array) -> IntArray:
    places = pc.index_in(names, value_set=ordered, skip_nulls=True)
    return np.asarray(places.fill_null(NOWHERE), dtype=np.int32)


def _array(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)


def _names(texts: pa.Array) -> Names:
    names = np.empty(len(texts), dtype=object)
    names[:] = texts.to_pylist()
    return names
