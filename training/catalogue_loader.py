"""A catalogue from the bucket into Postgres, where answers are filtered by it.

One transaction: readers see the catalogue before or the one after. What the shop itself changed after the
catalogue's moment stays as the shop has it.

It runs in Airflow's workers, too: psycopg, pyarrow and numpy are all that it needs.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import pyarrow as pa

from training.catalogue import Catalogue, CatalogueInfo, latest_catalogue, read_catalogue
from training.database import Connection, Lock, alone, connected
from training.errors import VersionError
from training.moments import format_moment
from training.storage import Folder

CATALOGUE_LOCK: Final = Lock(5_318_008_223, "a catalogue is being loaded")

_ROWS_AT_ONCE: Final = 8192

_COPY_ITEMS: Final = "COPY new_items (item_id, category_id, available, attributes) FROM STDIN"
_COPY_CATEGORIES: Final = "COPY new_categories (category_id, parent_id) FROM STDIN"

_TEMPORARY: Final = (
    "CREATE TEMPORARY TABLE new_items (LIKE items) ON COMMIT DROP",
    "ALTER TABLE new_items DROP COLUMN changed_at, DROP COLUMN IF EXISTS stock_number",
    "CREATE TEMPORARY TABLE new_categories (LIKE categories) ON COMMIT DROP",
)

# An item that is as it was is written only where it seems to be of later than the catalogue.
_UPSERT_ITEMS: Final = """
    INSERT INTO items (item_id, category_id, available, attributes, changed_at)
    SELECT item_id, category_id, available, attributes, %(as_of)s FROM new_items
    ON CONFLICT (item_id) DO UPDATE SET
        category_id = excluded.category_id, available = excluded.available,
        attributes = excluded.attributes, changed_at = excluded.changed_at
    WHERE items.changed_at <= %(known_until)s AND (
        items.changed_at > excluded.changed_at
        OR (items.category_id, items.available, items.attributes)
            IS DISTINCT FROM (excluded.category_id, excluded.available, excluded.attributes)
    )
"""
_DELETE_ITEMS: Final = """
    DELETE FROM items WHERE changed_at <= %(known_until)s
        AND NOT EXISTS (SELECT FROM new_items WHERE new_items.item_id = items.item_id)
"""
_COUNT_OWN: Final = "SELECT count(*) FROM items WHERE changed_at > %(known_until)s"

_UPSERT_CATEGORIES: Final = """
    INSERT INTO categories (category_id, parent_id) SELECT category_id, parent_id FROM new_categories
    ON CONFLICT (category_id) DO UPDATE SET parent_id = excluded.parent_id
    WHERE categories.parent_id IS DISTINCT FROM excluded.parent_id
"""
_DELETE_CATEGORIES: Final = """
    DELETE FROM categories
    WHERE NOT EXISTS (SELECT FROM new_categories WHERE new_categories.category_id = categories.category_id)
"""

_NOTE: Final = """
    INSERT INTO catalogues (version, as_of) VALUES (%(version)s, %(as_of)s)
    ON CONFLICT (version) DO UPDATE SET loaded_at = excluded.loaded_at
"""
_LOADED_LAST: Final = "SELECT version, as_of FROM catalogues ORDER BY loaded_at DESC LIMIT 1"


@dataclass(frozen=True)
class CatalogueLoad:
    """What a load did."""

    version: str
    as_of: str
    """The moment that the catalogue tells of, ISO 8601 UTC."""
    reused: bool
    """Whether it was the one loaded last already, so that nothing was done."""
    previous: str | None
    """The version that was loaded before."""
    items: int
    """That the catalogue has."""
    categories: int
    written: int = 0
    """Items that are new or have changed."""
    deleted: int = 0
    """Items that the catalogue no longer has."""
    left_alone: int = 0
    """Items that the shop itself changed later."""


class LoadedCatalogue(NamedTuple):
    """The version that Postgres holds."""

    version: str
    as_of: datetime


def load_catalogue(
    database_url: str, folder: Folder, version: str | None = None, *, force: bool = False, wait: bool = True
) -> CatalogueLoad:
    """Load a version, by default the latest, from the bucket's root `folder`.

    `force` allows a version that tells of an earlier moment than the one loaded last; `wait` says what
    happens while another loads.

    Raises VersionError where there is no such version, where it is damaged or earlier, or another is at
    work, and DatabaseError where Postgres fails. Then the items are as they were.
    """
    catalogue = read_catalogue(folder, version or _latest(folder))
    with connected(database_url) as connection, alone(connection, wait=wait, lock=CATALOGUE_LOCK):
        previous = loaded_catalogue(connection)
        if previous and previous.version == catalogue.info.version:
            return _told(catalogue.info, previous, reused=True)
        _refuse_earlier(catalogue.info, previous, force=force)
        with connection.transaction():
            return _load(connection, catalogue, previous)


def loaded_catalogue(connection: Connection) -> LoadedCatalogue | None:
    """The version that was loaded last; None where there is none."""
    row = connection.execute(_LOADED_LAST).fetchone()
    return LoadedCatalogue(*row) if row else None


def _latest(folder: Folder) -> str:
    latest = latest_catalogue(folder)
    if latest is None:
        raise VersionError(
            f"{folder}: there is no catalogue; `python -m training.catalogue import` brings one in"
        )
    return latest.version


def _refuse_earlier(info: CatalogueInfo, previous: LoadedCatalogue | None, *, force: bool) -> None:
    if previous and _moment(info) < previous.as_of and not force:
        raise VersionError(
            f"catalogue {info.version} tells of {info.as_of}, but {previous.version} was loaded, which tells "
            f"of {format_moment(round(previous.as_of.timestamp() * 1000))}: go back to it with --force"
        )


def _load(connection: Connection, catalogue: Catalogue, previous: LoadedCatalogue | None) -> CatalogueLoad:
    info = catalogue.info
    moment = _moment(info)
    for statement in _TEMPORARY:
        connection.execute(statement)
    _copy(connection, _COPY_ITEMS, _item_rows(catalogue.items))
    _copy(connection, _COPY_CATEGORIES, _rows(catalogue.categories))
    connection.execute("ANALYZE new_items")
    # What came with a later catalogue isn't the shop's own change: going back replaces it.
    known_until = max(moment, previous.as_of) if previous else moment
    values = {"version": info.version, "as_of": moment, "known_until": known_until}
    deleted = connection.execute(_DELETE_ITEMS, values).rowcount
    written = connection.execute(_UPSERT_ITEMS, values).rowcount
    left_alone = connection.execute(_COUNT_OWN, values).fetchone()
    connection.execute(_DELETE_CATEGORIES)
    connection.execute(_UPSERT_CATEGORIES)
    connection.execute(_NOTE, values)
    return _told(
        info, previous, written=written, deleted=deleted, left_alone=left_alone[0] if left_alone else 0
    )


def _copy(connection: Connection, statement: str, rows: Iterator[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _item_rows(items: pa.Table) -> Iterator[tuple[Any, ...]]:
    for row in _rows(items):
        item_id, category_id, available, *others = row
        attributes = dict(zip(items.column_names[3:], others, strict=True))
        yield item_id, category_id, available, _as_json(attributes)


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    for batch in table.to_batches(_ROWS_AT_ONCE):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _as_json(attributes: dict[str, Any]) -> str:
    """Without what isn't known: a null, or a number that is none, which JSON doesn't have either."""
    known = {
        name: value
        for name, value in attributes.items()
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    }
    return json.dumps(known, ensure_ascii=False, default=str)


def _moment(info: CatalogueInfo) -> datetime:
    return datetime.fromtimestamp(info.as_of_ms / 1000, UTC)


def _told(info: CatalogueInfo, previous: LoadedCatalogue | None, **counts: Any) -> CatalogueLoad:
    return CatalogueLoad(
        version=info.version,
        as_of=info.as_of,
        reused=counts.pop("reused", False),
        previous=previous.version if previous else None,
        items=info.items.rows,
        categories=info.categories.rows,
        **counts,
    )
