"""The lists of a published version, read back to be asked as the API asks them, and what they look like.

A version may be larger than memory: only the lists of given users are kept, and what their answers need.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from contract.blending import ScoredItem
from contract.events import Event
from contract.recommendations import EVERYTHING, ListKind, Manifest
from training.moments import parse_moment
from training.publish import read_lists
from training.served import Served
from training.storage import Folder

FIRST_PLACES = 10


class NotKeptError(KeyError):
    """Somebody was asked for who was not read: an empty list in answer would be a lie."""


@dataclass(frozen=True)
class StoredLists:
    """Lists of some users and items, as `training.served.ServedLists` wants them."""

    users: AbstractSet[str]
    """Who may be asked for."""
    items: AbstractSet[str]
    """Whose similar lists may be asked for."""
    personal: dict[str, list[ScoredItem]]
    histories: dict[str, list[Event]]
    similar: dict[str, list[ScoredItem]]
    popular_items: list[ScoredItem]

    def personal_of(self, user_id: str) -> list[ScoredItem]:
        """The stored list of a user. Raises NotKeptError for a user who was not read."""
        return self.personal.get(_kept(user_id, self.users), [])

    def history_of(self, user_id: str) -> list[Event]:
        """The user's stored events, newest first. Raises NotKeptError for a user who was not read."""
        return self.histories.get(_kept(user_id, self.users), [])

    def similar_to(self, item_id: str) -> list[ScoredItem]:
        """The stored list of an item. Raises NotKeptError for an item that was not read."""
        return self.similar.get(_kept(item_id, self.items), [])


@dataclass
class ListsProfile:
    """What the lists of a version look like, taken in batch by batch."""

    items: set[str] = field(default_factory=set)
    """Every item in any list but the histories."""
    first_items: set[str] = field(default_factory=set)
    """Items in the first ten places of personal lists."""
    personal: int = 0
    """Personal lists."""
    first_places: int = 0
    """How many of the first ten places of personal lists are taken."""
    popular_items: int = 0
    """Length of the popular list."""
    empty_lists: int = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in lists (`LISTS_SCHEMA`)."""
        self.empty_lists += _total(pc.equal(pc.list_value_length(batch["item_ids"]), 0))
        for kind in batch["kind"].unique().to_pylist():
            lists = _of_kind(batch, kind)
            if kind != ListKind.HISTORY:
                self.items.update(_distinct(lists["item_ids"]))
            if kind == ListKind.PERSONAL:
                self._add_personal(lists["item_ids"])
            if kind == ListKind.POPULAR:
                of_everything = lists.filter(pc.equal(lists["key"], EVERYTHING))
                self.popular_items += _total(pc.list_value_length(of_everything["item_ids"]))

    def _add_personal(self, lists: pa.ListArray) -> None:
        first = pc.list_slice(lists, 0, FIRST_PLACES)
        self.first_items.update(_distinct(first))
        self.personal += len(first)
        self.first_places += _total(pc.list_value_length(first))

    def fill(self, n_items: int) -> float:
        """Mean share of the first ten places that are taken, at most 1; without lists 0.

        Where there are fewer than ten items, there are as many places.
        """
        places = self.personal * min(FIRST_PLACES, n_items)
        return min(1.0, self.first_places / places) if places else 0.0


def read_served(
    folder: Folder, manifest: Manifest, *, users: AbstractSet[str], items: AbstractSet[str]
) -> tuple[Served[StoredLists], ListsProfile]:
    """A published version as it is served to `users`, who may turn to `items` meanwhile, and its profile.

    All files are read twice, because which similar lists are needed, only the histories tell.
    Raises VersionError, naming the file, where one is missing, damaged or of another length.
    """
    profile = ListsProfile()
    personal: dict[str, list[ScoredItem]] = {}
    histories: dict[str, list[Event]] = {}
    popular: list[ScoredItem] = []
    latest = parse_moment(manifest.as_of)
    for batch in read_lists(folder, manifest):
        profile.add(batch)
        personal |= _scored(batch, ListKind.PERSONAL, users)
        histories |= _histories(batch, users)
        popular += _scored(batch, ListKind.POPULAR, {EVERYTHING}).get(EVERYTHING, [])
        latest = max(latest, _latest(batch))
    needed = items | {event.item_id for history in histories.values() for event in history}
    similar: dict[str, list[ScoredItem]] = {}
    for batch in read_lists(folder, manifest):
        similar |= _scored(batch, ListKind.SIMILAR, needed)
    served = Served(
        lists=StoredLists(users, needed, personal, histories, similar, popular),
        weights=manifest.blend_weights,
        exclude_purchased=manifest.exclude_purchased,
        exclude_purchased_by_category=manifest.exclude_purchased_by_category,
        until=latest + 1,
    )
    return served, profile


def profile_of(tables: Iterable[pa.Table]) -> ListsProfile:
    """What the lists in `tables` look like."""
    profile = ListsProfile()
    for table in tables:
        for batch in table.to_batches():
            profile.add(batch)
    return profile


def _kept(key: str, kept: AbstractSet[str]) -> str:
    if key not in kept:
        raise NotKeptError(key)
    return key


def _of_kind(batch: pa.RecordBatch, kind: str) -> pa.RecordBatch:
    is_kind = pc.equal(batch["kind"], kind)
    # Most batches are of one kind, and a filter copies.
    return batch if pc.all(is_kind).as_py() else batch.filter(is_kind)


def _total(numbers: pa.Array) -> int:
    return pc.sum(numbers).as_py() or 0


def _with_keys(batch: pa.RecordBatch, keys: AbstractSet[str]) -> pa.RecordBatch:
    return batch.filter(pa.array([key in keys for key in batch["key"].to_pylist()], pa.bool_()))


def _scored(batch: pa.RecordBatch, kind: ListKind, keys: AbstractSet[str]) -> dict[str, list[ScoredItem]]:
    rows = _with_keys(_of_kind(batch, kind), keys).select(["key", "item_ids", "scores"]).to_pylist()
    return {row["key"]: list(zip(row["item_ids"], row["scores"], strict=True)) for row in rows}


def _histories(batch: pa.RecordBatch, users: AbstractSet[str]) -> dict[str, list[Event]]:
    rows = _with_keys(_of_kind(batch, ListKind.HISTORY), users).to_pylist()
    return {
        row["key"]: [
            Event(*event)
            for event in zip(row["item_ids"], row["event_types"], row["timestamps"], strict=True)
        ]
        for row in rows
    }


def _latest(batch: pa.RecordBatch) -> int:
    """The moment of the latest event in any history here."""
    moments = _of_kind(batch, ListKind.HISTORY)["timestamps"].flatten()
    return pc.max(moments).as_py() or 0


def _distinct(lists: pa.ListArray) -> list[str]:
    items: list[str] = lists.flatten().unique().to_pylist()
    return items
