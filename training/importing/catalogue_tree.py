"""The tree of categories: what stands above each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Final

import pyarrow as pa

from training.errors import BadInputError

CATEGORIES_SCHEMA: Final = pa.schema([("category_id", pa.string()), ("parent_id", pa.string())])
"""One row a category; the parent is null at the top."""


@dataclass
class CategoryTree:
    """Categories by their ids, each with its parent; of two rows of one category the later counts."""

    parents: dict[str, str | None] = field(default_factory=dict)
    rows: int = 0
    replaced: int = 0
    """Rows whose category came again later."""
    moved: set[str] = field(default_factory=set)
    """Categories that were found below different parents."""

    def add(self, category: str, parent: str | None) -> None:
        """Take a row of a tree."""
        self.rows += 1
        if category in self.parents:
            self.replaced += 1
            self._compare(category, parent)
        self.parents[category] = parent

    def add_levels(self, levels: Sequence[str | None]) -> None:
        """Take an item's categories, the top one first; an empty one, or the one above again, is no level."""
        above: str | None = None
        for category in levels:
            if category and category != above:
                self.parents.setdefault(category, above)
                self._compare(category, above)
                above = category

    def _compare(self, category: str, parent: str | None) -> None:
        if self.parents[category] != parent:
            self.moved.add(category)

    def unknown_parents(self) -> list[str]:
        """Parents that are no categories themselves, in order."""
        return sorted({parent for parent in self.parents.values() if parent and parent not in self.parents})

    def refuse_cycle(self, names: str) -> None:
        """Raise BadInputError where a category stands above itself; `names` tells where the tree is from."""
        try:
            TopologicalSorter(
                {category: [parent] for category, parent in self.parents.items() if parent}
            ).prepare()
        except CycleError as error:
            # As the sorter tells it, each stands above the next.
            way = " > ".join(repr(category) for category in error.args[1])
            raise BadInputError(
                f"{names}: a category stands above itself: {way}; correct the parent of one of them"
            ) from error

    def table(self) -> pa.Table:
        """As CATEGORIES_SCHEMA has it, by category."""
        categories = sorted(self.parents)
        columns = [categories, [self.parents[category] for category in categories]]
        return pa.table([pa.array(column, pa.string()) for column in columns], schema=CATEGORIES_SCHEMA)
