"""Deleted users taken out of the rows that imports set aside."""

import csv
import json
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from contract.events import MAX_ID_LENGTH
from contract.tombstones import Tombstones
from training.errors import BadInputError
from training.importing.row_groups import ROW_GROUP, RowGroupsWriter
from training.importing.rows import REJECTED_SCHEMA
from training.storage import Folder

FORGOTTEN: Final = json.dumps("removed: somebody in it was deleted")
"""What is left of a row's content; which row it was, and what was wrong with it, stays."""

_SEPARATORS: Final = ",;|\t"
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_BARE: Final = re.compile(r'[^\s",;|:{}\[\]]+')


def forget_rejected(bucket: Folder, key: str, tombstones: Tombstones) -> int:
    """Empty those rows of a file in which a value is a deleted user's id; how many they were.

    Whatever the moment, which is often what is wrong with such a row. Raises BadInputError where the file
    isn't one of rejected rows.
    """

    @cache
    def is_deleted(text: str) -> bool:
        return tombstones.deleted_until(text) is not None

    emptied = 0
    with tempfile.TemporaryDirectory(prefix="forget-") as temporary:
        local = Path(temporary) / "rejected.parquet"
        writer = RowGroupsWriter(local, REJECTED_SCHEMA)
        for batch in _batches(bucket, key):
            raw = [
                FORGOTTEN if any(map(is_deleted, ids_in(text))) else text for text in batch["raw"].to_pylist()
            ]
            emptied += sum(text is FORGOTTEN for text in raw)
            columns = [*batch.columns[:-1], pa.array(raw, pa.string())]
            writer.add(pa.record_batch(columns, schema=REJECTED_SCHEMA))
        writer.close()
        if emptied:
            bucket.write_from(key, local)
    return emptied


def ids_in(raw: str) -> Iterator[str]:
    """All that may be an id in a row, which is JSON: an object, or the text of a line without its fields."""
    try:
        row = json.loads(raw)
    except ValueError:
        row = raw
    values = _fields(row) if isinstance(row, str) else _values(row)
    # Half a surrogate pair is no text, and so nobody's id.
    yield from (value for value in values if 0 < len(value) <= MAX_ID_LENGTH and _is_text(value))


def _values(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _values(each)
    elif isinstance(value, str):
        yield value
    elif value is not None:
        yield json.dumps(value)


def _fields(line: str) -> Iterator[str]:
    """Of a line that no reader could take apart: whatever it may have meant as a field."""
    yield line.strip()
    for separator in _SEPARATORS:
        try:
            fields = [field for row in csv.reader([line], delimiter=separator) for field in row]
        except csv.Error:
            fields = line.split(separator)
        for field in fields:
            yield field
            yield field.strip()
    for quoted in _QUOTED.findall(line):
        try:
            yield str(json.loads(quoted))
        except ValueError:
            yield quoted[1:-1]
    yield from _BARE.findall(line)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _batches(bucket: Folder, key: str) -> Iterator[pa.RecordBatch]:
    where = bucket.uri_of(key)
    try:
        with bucket.filesystem.open_input_file(bucket.path(key)) as opened, pq.ParquetFile(opened) as parquet:
            if not parquet.schema_arrow.equals(REJECTED_SCHEMA):
                raise BadInputError(f"{where}: isn't a file of rejected rows")
            yield from parquet.iter_batches(ROW_GROUP)
    except (OSError, pa.ArrowInvalid) as error:
        raise BadInputError(f"{where}: cannot be read as Parquet: {error}") from error
