"""What the shop itself says of its items between two catalogues: read from a body, written to `items`."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

import psycopg

from contract.events import id_problem
from lambdas.recommendations_api.batches import (
    BadFieldError,
    SortedEntries,
    fields_of,
    sort_entries,
    text_of,
)
from lambdas.recommendations_api.database import Database

MAX_ITEMS: Final = 1000

_REQUIRED: Final = ("item_id",)
_KNOWN: Final = (*_REQUIRED, "available", "category_id")


@dataclass(frozen=True, kw_only=True)
class ItemChange:
    """What is new about one item; the rest of it stays as it is."""

    item_id: str
    available: bool | None = None
    """None for no change."""
    has_category: bool = False
    """Whether `category_id` is a change."""
    category_id: str | None = None

    def then(self, later: "ItemChange") -> "ItemChange":
        """Both, one after the other."""
        return ItemChange(
            item_id=self.item_id,
            available=self.available if later.available is None else later.available,
            has_category=self.has_category or later.has_category,
            category_id=later.category_id if later.has_category else self.category_id,
        )


# What is not known yet comes first, so that then each item has a row to be changed, whoever made it.
_INSERT: Final[LiteralString] = """
INSERT INTO items (item_id, changed_at)
SELECT unnest(%(item_ids)s::text[]), %(moment)s
ON CONFLICT (item_id) DO NOTHING
"""
_UPDATE: Final[LiteralString] = """
UPDATE items SET
    available = coalesce(new.available, items.available),
    category_id = CASE WHEN new.has_category THEN new.category_id ELSE items.category_id END,
    changed_at = %(moment)s
FROM unnest(
    %(item_ids)s::text[], %(available)s::boolean[], %(has_category)s::boolean[], %(category_ids)s::text[]
) AS new (item_id, available, has_category, category_id)
WHERE items.item_id = new.item_id
"""


def read_items(body: bytes) -> SortedEntries[ItemChange]:
    """Sort the changes of a body. Raises as `sort_entries` does."""
    return sort_entries(body, "items", _change, most=MAX_ITEMS)


class Items:
    """Writes what the shop says of its items. Raises DatabaseUnavailableError."""

    def __init__(self, database: Database, *, timeout: float) -> None:
        """Write nothing yet; the timeout is in seconds."""
        self._database = database
        self._timeout = timeout

    def change(self, changes: Sequence[ItemChange], moment: int) -> int:
        """Commit changes as of a moment, ms UTC, in their order; how many items were not known before."""
        by_item: dict[str, ItemChange] = {}
        for change in changes:
            before = by_item.get(change.item_id)
            by_item[change.item_id] = before.then(change) if before else change
        values = {
            "item_ids": list(by_item),
            "available": [each.available for each in by_item.values()],
            "has_category": [each.has_category for each in by_item.values()],
            "category_ids": [each.category_id for each in by_item.values()],
            "moment": dt.datetime.fromtimestamp(moment / 1000, dt.UTC),
        }

        def write(connection: psycopg.Connection[tuple[Any, ...]]) -> int:
            with connection.transaction():
                new = connection.execute(_INSERT, values, prepare=True).rowcount
                connection.execute(_UPDATE, values, prepare=True)
            return new

        return self._database.run(write, timeout=self._timeout)


def _change(entry: Any) -> ItemChange:
    document = fields_of(entry, required=_REQUIRED, known=_KNOWN)
    item_id = text_of(document, "item_id", id_problem)
    available = document.get("available", False)
    if not isinstance(available, bool):
        raise BadFieldError("available", "is neither true nor false")
    return ItemChange(
        item_id=item_id,
        available=available if "available" in document else None,
        has_category="category_id" in document,
        category_id=_category(document),
    )


def _category(document: dict[str, Any]) -> str | None:
    """None for an item that belongs to no category."""
    return None if document.get("category_id") is None else text_of(document, "category_id", id_problem)
