"""Files of events and of catalogues as they come: found, told apart by name, and read as bytes."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import pyarrow as pa
import pyarrow.fs as pafs

from training.errors import BadInputError
from training.storage import Folder

Format = Literal["csv", "jsonl", "parquet"]

FORMATS: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""By suffix; those of text may be followed by `.gz`."""

EXPECTED_NAMES: Final = "*.csv, *.tsv, *.jsonl, *.ndjson (each also with .gz), *.parquet or *.pq"

BLOCK_BYTES: Final = 4 * 1024 * 1024
MAX_LINE_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True)
class SourceFile:
    """One file; `name` is what people are told, relative to the source that they named."""

    folder: Folder
    key: str
    name: str
    format: Format

    @property
    def where(self) -> str:
        """The whole path or URI."""
        return self.folder.uri_of(self.key)

    @property
    def path(self) -> str:
        """Where the file lies, as its file system names it."""
        return self.folder.path(self.key)


@dataclass(frozen=True)
class Block:
    """Whole lines of a file; `first` is the number of the first of them, from 1."""

    data: bytes
    first: int

    @property
    def n_lines(self) -> int:
        """How many lines there are; the last one may lack its end."""
        return self.data.count(b"\n") + (not self.data.endswith(b"\n"))


def find_files(sources: Sequence[str | Path]) -> list[SourceFile]:
    """The files that sources name: each a file, or a folder with files in it, local or in S3.

    In a folder, files of unknown type are passed over, and so is what begins with `.` or `_`. Raises
    BadInputError for a source that doesn't exist, can't be read, or has no file of a known type.
    """
    return [file for source in sources for file in _files_of(str(source).rstrip("/"))]


def content_hash(file: SourceFile) -> str:
    """The SHA-256 of a file's bytes. Raises BadInputError where it can't be read."""
    digest = hashlib.sha256()
    with readable(file), file.folder.filesystem.open_input_stream(file.path, compression=None) as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def blocks(file: SourceFile) -> Iterator[Block]:
    """A file of text, unpacked, some MB of whole lines at a time."""
    first, rest = 1, b""
    compression = "gzip" if _is_gzip(file.key) else None
    with (
        readable(file),
        file.folder.filesystem.open_input_stream(file.path, compression=compression) as stream,
    ):
        while data := rest + stream.read(BLOCK_BYTES):
            if len(data) == len(rest):
                yield Block(data, first)
                return
            end = data.rfind(b"\n") + 1
            rest = data[end:]
            if len(rest) > MAX_LINE_BYTES:
                raise BadInputError(f"{file.where}: line {first} is longer than {MAX_LINE_BYTES:,} bytes")
            if end:
                block = Block(data[:end], first)
                yield block
                first += block.n_lines


@contextmanager
def readable(file: SourceFile) -> Iterator[None]:
    """Tell which file it was when reading it fails."""
    try:
        yield
    except PermissionError as error:
        raise BadInputError(f"{file.where}: may not be read (permission denied)") from error
    except (OSError, pa.ArrowException) as error:
        raise BadInputError(f"{file.where}: is damaged or cannot be read: {error}") from error


def _files_of(uri: str) -> list[SourceFile]:
    folder, name = _parent_and_name(uri)
    if not name:
        return _files_in(folder)
    try:
        kind = folder.filesystem.get_file_info(folder.path(name)).type
    except OSError as error:
        raise BadInputError(f"{uri}: cannot be read: {error}") from error
    if kind == pafs.FileType.Directory:
        return _files_in(Folder(uri))
    if kind == pafs.FileType.NotFound:
        raise BadInputError(f"{uri}: there is no such file or folder")
    file_format = _format_of(name) or ("jsonl" if _suffix(name) == ".json" else None)
    if file_format is None:
        raise BadInputError(f"{uri}: is of unknown type; expected {EXPECTED_NAMES}")
    return [SourceFile(folder=folder, key=name, name=name, format=file_format)]


def _parent_and_name(uri: str) -> tuple[Folder, str]:
    if "://" not in uri:
        path = Path(uri).absolute()
        return Folder(path.parent), path.name
    parent, _, name = uri.rpartition("/")
    return (Folder(uri), "") if parent.endswith("/") else (Folder(parent), name)


def _files_in(folder: Folder) -> list[SourceFile]:
    try:
        keys = [key for key in folder.list() if not any(part[0] in "._" for part in key.split("/"))]
    except OSError as error:
        raise BadInputError(f"{folder}: cannot be listed: {error}") from error
    found = [
        SourceFile(folder=folder, key=key, name=key, format=file_format)
        for key in keys
        if (file_format := _format_of(key))
    ]
    if not found:
        raise BadInputError(
            f"{folder}: holds no file of events or of a catalogue; expected {EXPECTED_NAMES}, "
            f"found {', '.join(keys[:5]) or 'nothing'}"
        )
    return found


def _format_of(name: str) -> Format | None:
    file_format = FORMATS.get(_suffix(name))
    return None if file_format == "parquet" and _is_gzip(name) else file_format


def _suffix(name: str) -> str:
    return Path(name.lower().removesuffix(".gz")).suffix


def _is_gzip(name: str) -> bool:
    return name.lower().endswith(".gz")
