"""What every reader of files gives: batches of rows, the wanted columns picked out.

Values are still as they were written. Text stays text until `rows` or `catalogue_rows` judges it, so that an
id `007` or `1e5` keeps its spelling, and a bad value is set aside with its row instead of failing the file.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pat

from training.importing.sources import SourceFile

Kind = Literal["text", "time", "flag", "any"]
"""What a column's values have to be; in a column of `any` kind what is no plain value becomes JSON text."""


class Column(NamedTuple):
    """A column that is wanted: its name in the file, and what it has to hold."""

    theirs: str
    kind: Kind


Columns = Mapping[str, Column]
"""By the name that a batch is to give them."""


@dataclass(frozen=True)
class Malformed:
    """A line from which no fields could be read, and its text as JSON."""

    row: int
    raw: str


@dataclass(frozen=True)
class Batch:
    """Some rows of a file: our columns with their values, and what is needed to tell about a bad one."""

    file: str
    rows: npt.NDArray[np.int64]
    """The line of each row, or its number where the format has no lines; from 1."""
    columns: dict[str, pa.Array]
    raw: Callable[[int], str]
    """The i-th row of the batch as JSON text."""
    wrong_types: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    malformed: Sequence[Malformed] = ()


@dataclass(frozen=True)
class OpenedFile(ABC):
    """A file whose columns are known by their names."""

    file: SourceFile
    names: tuple[str, ...]
    """Of the columns; of JSON lines those that the first ones have."""

    @abstractmethod
    def batches(self, columns: Columns) -> Iterator[Batch]:
        """The file from its begin to its end, some MB at a time."""

    def all_names(self) -> tuple[str, ...]:
        """The names of all columns, even if the whole file has to be read for it."""
        return self.names

    def type_of(self, name: str) -> pa.DataType:
        """The type that a column of `any` kind comes in."""
        del name
        return pa.string()

    def check_types(self, columns: Columns) -> None:
        """Raise BadInputError where a column is of a type that can't be used. Text always can."""
        del columns


def line_as_json(line: bytes) -> str:
    """A line that could not be read, for people."""
    return json.dumps(line.decode(errors="backslashreplace").rstrip("\r\n"), ensure_ascii=False)


def is_text(data_type: pa.DataType) -> bool:
    """Whether values of this type are text, or bytes that may be text."""
    tests = (pat.is_string, pat.is_large_string, pat.is_binary, pat.is_large_binary)
    return any(test(data_type) for test in tests)
