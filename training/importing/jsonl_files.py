"""JSON lines: each line an object."""

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training.errors import BadInputError
from training.importing.batches import Batch, Columns, Kind, Malformed, OpenedFile, line_as_json
from training.importing.sources import Block, SourceFile, blocks


@dataclass(frozen=True)
class _JsonLinesFile(OpenedFile):
    def batches(self, columns: Columns) -> Iterator[Batch]:
        return (self._batch(block, columns) for block in blocks(self.file))

    def all_names(self) -> tuple[str, ...]:
        return _names_of(line for block in blocks(self.file) for line in block.data.split(b"\n"))

    def _batch(self, block: Block, columns: Columns) -> Batch:
        lines, rows, numbers, malformed = [], [], [], []
        for number, line in enumerate(block.data.split(b"\n"), block.first):
            if not line.strip():
                continue
            row = _json_object(line)
            if row is None:
                malformed.append(Malformed(number, line_as_json(line)))
            else:
                lines.append(line)
                rows.append(row)
                numbers.append(number)
        values, wrong_types = {}, {}
        for ours, (theirs, kind) in columns.items():
            values[ours], wrong_types[ours] = _json_column([row.get(theirs) for row in rows], kind)
        return Batch(
            file=self.file.name,
            rows=np.array(numbers, dtype=np.int64),
            columns=values,
            raw=lambda row: lines[row].decode(errors="backslashreplace").strip(),
            wrong_types=wrong_types,
            malformed=malformed,
        )


def open_jsonl(file: SourceFile) -> OpenedFile:
    """See by the first lines which columns there are. Raises BadInputError where none is an object."""
    first = next(blocks(file), Block(b"", 1)).data
    names = _names_of(first.split(b"\n", 1000)[:1000])
    if not names:
        raise BadInputError(f"{file.where}: none of its first lines is a JSON object")
    return _JsonLinesFile(file, names)


def _names_of(lines: Iterable[bytes]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for line in lines:
        names.update(dict.fromkeys(_json_object(line) or {}))
    return tuple(names)


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line.removeprefix(codecs.BOM_UTF8).decode(errors="surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


_JSON_TYPES: Final[dict[Kind, tuple[type, ...]]] = {
    "text": (int,),
    "time": (int, float),
    "flag": (int,),
    "any": (object,),
}
"""Of the values that can be used, beside text and what is true or false."""


def _json_column(values: list[Any], kind: Kind) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Values as text, and which are of a type that can't be used."""
    wrong = np.zeros(len(values), dtype=np.bool_)
    texts: list[bytes | None] = []
    for position, value in enumerate(values):
        if isinstance(value, str):
            texts.append(_json_bytes(value))
        elif value is None:
            texts.append(None)
        elif _is_usable(value, kind):
            texts.append(_json_bytes(json.dumps(value, ensure_ascii=False)))
        else:
            wrong[position] = True
            texts.append(b"")
    return pa.array(texts, pa.binary()), wrong


def _is_usable(value: object, kind: Kind) -> bool:
    if isinstance(value, bool):  # which Python takes for a whole number, too
        return kind in ("flag", "any")
    return isinstance(value, _JSON_TYPES[kind])


def _json_bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
