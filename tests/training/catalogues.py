"""Small catalogues."""

from collections.abc import Mapping

import pyarrow as pa

from tests.training.shops import START
from training.catalogue import Catalogue, CatalogueFile, CatalogueInfo
from training.importing.catalogue_rows import ITEM_COLUMNS
from training.importing.catalogue_tree import CATEGORIES_SCHEMA


def catalogue(
    categories: Mapping[str, str | None],
    *,
    sold_out: tuple[str, ...] = (),
    tree: Mapping[str, str | None] | None = None,
    as_of_ms: int = START,
) -> Catalogue:
    """Items with their categories, and categories with their parents."""
    items = [
        {"item_id": item, "category_id": category, "available": item not in sold_out}
        for item, category in sorted(categories.items())
    ]
    parents = [
        {"category_id": category, "parent_id": parent} for category, parent in sorted((tree or {}).items())
    ]
    file = CatalogueFile(0, "")
    return Catalogue(
        info=CatalogueInfo("version", as_of_ms, tuple(ITEM_COLUMNS.names), file, file),
        items=pa.Table.from_pylist(items, schema=ITEM_COLUMNS),
        categories=pa.Table.from_pylist(parents, schema=CATEGORIES_SCHEMA),
    )
