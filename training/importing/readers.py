"""The reader of each format."""

from collections.abc import Callable
from typing import Final

from training.errors import BadInputError
from training.importing.batches import OpenedFile
from training.importing.csv_files import open_csv
from training.importing.jsonl_files import open_jsonl
from training.importing.parquet_files import open_parquet
from training.importing.sources import Format, SourceFile, readable

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
