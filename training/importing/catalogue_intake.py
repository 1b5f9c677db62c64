"""A catalogue on its way from its files: judged, and of what is said twice the later kept."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from training.errors import BadInputError
from training.importing.batches import Batch, Column
from training.importing.catalogue_rows import (
    AVAILABLE_PROPERTY,
    CATEGORY_PROPERTY,
    ITEM_COLUMNS,
    PROPERTIES_SCHEMA,
    judge_items,
    judge_properties,
    judge_tree,
)
from training.importing.catalogue_tree import CategoryTree
from training.importing.columns import plain
from training.importing.rejects import Rejects, listed
from training.importing.roles import Role, Taken, no_items, of_role
from training.importing.sorting import sorted_rows

_LATER_ITEMS: Final = """
    SELECT * EXCLUDE (position), 1 AS kept FROM rows
    QUALIFY row_number() OVER (PARTITION BY c0 ORDER BY position DESC) = 1
    ORDER BY c0
"""
_LATEST_PROPERTIES: Final = f"""
    WITH latest AS (
        SELECT item_id, property, value FROM rows QUALIFY
            row_number() OVER (PARTITION BY item_id, property ORDER BY "timestamp" DESC, position DESC) = 1
    )
    SELECT
        item_id,
        max(value) FILTER (property = '{CATEGORY_PROPERTY}') AS category_id,
        coalesce(max(value) FILTER (property = '{AVAILABLE_PROPERTY}') = '1', true) AS available,
        count(*) AS kept
    FROM latest GROUP BY item_id ORDER BY item_id
"""  # noqa: S608 - our own names
_FILES_TOLD: Final = 3
_POSITION: Final = pa.field("position", pa.int64())
_TOP_LEVEL: Final = "categoryl1"
_DEEPER_LEVEL: Final = re.compile(r"categoryl[2-9]")


@dataclass
class CatalogueIntake:
    """All rows of all files of a catalogue, counted as they pass."""

    taken: Sequence[Taken]
    as_of_ms: int
    rejects: Rejects
    tree: CategoryTree = field(default_factory=CategoryTree)
    rows: int = 0
    """That were read."""
    passed_over: int = 0
    """Rows of properties that no catalogue is made of."""
    late: int = 0
    """Rows of properties of later than the catalogue's moment."""
    usable: int = 0
    """Good rows that items could be made of."""
    kept: int = 0
    """Those that they were made of; all of them when the last item has passed."""
    available: int = 0
    with_category: int = 0

    def __post_init__(self) -> None:
        """Raise BadInputError where the files don't go together."""
        of_items, of_properties = (of_role(self.taken, role) for role in (Role.ITEMS, Role.PROPERTIES))
        if of_items and of_properties:
            raise BadInputError(
                f"{of_items[0].opened.file.where} tells of items and {of_properties[0].opened.file.where} of "
                "their properties; a catalogue is made of the one or of the other: leave one out"
            )
        if not of_items and not of_properties:
            raise no_items(self.taken)

    @property
    def names(self) -> str:
        """Where the files lie, for people."""
        return listed([file.opened.file.where for file in self.taken], most=_FILES_TOLD)

    @cached_property
    def schema(self) -> pa.Schema:
        """ITEM_COLUMNS, and what else the files say about items."""
        return pa.schema([*ITEM_COLUMNS, *self._extras])

    @cached_property
    def _extras(self) -> pa.Schema:
        schemas = [extras for _, extras in self._of_items]
        try:
            return pa.unify_schemas(schemas, promote_options="permissive") if schemas else pa.schema([])
        except pa.ArrowException as error:
            raise BadInputError(
                f"{self.names}: a column has types that can't be united; give it one in all files: {error}"
            ) from error

    @cached_property
    def _of_items(self) -> list[tuple[Taken, pa.Schema]]:
        return [(file, _extras(file)) for file in of_role(self.taken, Role.ITEMS)]

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """The columns of items that hold a tree, the top level first; none where there is one level only."""
        deeper = sorted(
            (name for name in self.schema.names if _DEEPER_LEVEL.fullmatch(plain(name))), key=plain
        )
        top = {plain(file.columns.get("category_id", "")) for file in of_role(self.taken, Role.ITEMS)}
        return ("category_id", *deeper) if deeper and top == {_TOP_LEVEL} else ()

    @property
    def names_of_levels(self) -> tuple[str, ...]:
        """The same, as the files name them."""
        file, _ = self._of_items[0] if self.levels else (None, None)
        return (file.columns["category_id"], *self.levels[1:]) if file else ()

    def read_trees(self) -> None:
        """Take all files of trees."""
        for file in of_role(self.taken, Role.TREE):
            for batch in file.opened.batches(file.wanted):
                categories, rejected = judge_tree(batch)
                self._count(batch, rejected)
                columns = (column.to_pylist() for column in categories.columns)
                for category, parent in zip(*columns, strict=True):
                    self.tree.add(category, parent)

    @contextmanager
    def sorted_items(self, folder: Path, memory_limit: str) -> Iterator[Iterator[pa.RecordBatch]]:
        """Each item once, as `schema` has them; on entry all files of items have been read."""
        # DuckDB takes names that differ in capitals alone for the same one.
        names = [f"c{number}" for number in range(len(self.schema))]
        of_items = pa.schema(
            [pa.field(name, column.type) for name, column in zip(names, self.schema, strict=True)]
        )
        if of_role(self.taken, Role.ITEMS):
            rows: Iterator[pa.RecordBatch] = (batch.rename_columns(names) for batch in self._items())
            query, schema = _LATER_ITEMS, of_items
        else:
            rows, query, schema = self._properties(), _LATEST_PROPERTIES, PROPERTIES_SCHEMA
        with sorted_rows(query, _numbered(rows), schema.append(_POSITION), folder, memory_limit) as batches:
            yield (self._item_batch(batch) for batch in batches)

    def _items(self) -> Iterator[pa.RecordBatch]:
        for file, extras in self._of_items:
            columns = file.wanted | {name: Column(name, "any") for name in extras.names}
            for batch in _with_progress(file.opened.batches(columns)):
                items, rejected = judge_items(batch, self._extras)
                self._count(batch, rejected)
                self._read_levels(items)
                self.usable += items.num_rows
                yield items

    def _properties(self) -> Iterator[pa.RecordBatch]:
        for file in of_role(self.taken, Role.PROPERTIES):
            for batch in _with_progress(file.opened.batches(file.wanted)):
                judged = judge_properties(batch, self.as_of_ms)
                self._count(batch, judged.rejected)
                self.passed_over += judged.passed_over
                self.late += judged.late
                self.usable += judged.rows.num_rows
                yield judged.rows

    def _read_levels(self, items: pa.RecordBatch) -> None:
        if self.levels:
            levels = pa.Table.from_batches([items]).select(list(self.levels))
            for row in levels.group_by(list(self.levels), use_threads=False).aggregate([]).to_pylist():
                self.tree.add_levels([row[level] for level in self.levels])

    def _count(self, batch: Batch, rejected: pa.RecordBatch) -> None:
        self.rows += len(batch.rows) + len(batch.malformed)
        self.rejects.add(rejected)

    def _item_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self.kept += pc.sum(batch["kept"]).as_py() or 0
        items = batch.select(range(len(self.schema))).rename_columns(self.schema.names).cast(self.schema)
        self.available += pc.sum(items["available"]).as_py() or 0
        self.with_category += items.num_rows - items["category_id"].null_count
        return items


def _extras(file: Taken) -> pa.Schema:
    """What a file of items says about them beside our columns, under its own names."""
    where, known = file.opened.file.where, file.columns.values()
    names = [name for name in file.opened.all_names() if name and name not in known]
    for name in names:
        if name in ITEM_COLUMNS.names:
            raise BadInputError(
                f"{where}: has a column {name!r}, but {file.columns[name]!r} is taken for it; rename it"
            )
        if names.count(name) > 1:
            raise BadInputError(f"{where}: has more than one column {name!r}; rename one of them")
        if "\x00" in name:
            raise BadInputError(f"{where}: the name of the column {name!r} contains a NUL character")
    return pa.schema([pa.field(name, file.opened.type_of(name)) for name in names])


def _numbered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    first = 0
    for batch in batches:
        positions = np.arange(first, first + batch.num_rows, dtype=np.int64)
        yield batch.append_column(_POSITION, pa.array(positions))
        first += batch.num_rows


def _with_progress(batches: Iterator[Batch]) -> Iterator[Batch]:
    with tqdm(desc="catalogue", unit=" rows", unit_scale=True, disable=None, leave=False) as progress:
        for batch in batches:
            progress.update(len(batch.rows))
            yield batch
