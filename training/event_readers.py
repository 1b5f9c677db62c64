"""The reader of each format."""

from collections.abc import Callable
from typing import Final

from training.errors import BadInputError
from training.event_batches import OpenedFile
from training.event_csv import open_csv
from training.event_jsonl import open_jsonl
from training.event_parquet import open_parquet
from training.event_sources import Format, SourceFile, readable

_READERS: Final[dict[Format, Callable[[SourceFile], OpenedFile]]] = {
    "csv": open_csv,
    "jsonl": open_jsonl,
    "parquet": open_parquet,
}


def open_file(file: SourceFile) -> OpenedFile:
    """Read as much of a file as tells its columns. Raises BadInputError where it is empty or damaged."""
    with readable(file):
        info = file.folder.filesystem.get_file_info(file.path)
    if info.size == 0:
        raise BadInputError(f"{file.where}: is empty")
    return _READERS[file.format](file)
