"""Files in S3 or in a folder, by the same few calls.

Credentials, region and endpoint come from the usual AWS_* variables, AWS_ENDPOINT_URL_S3 among them.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from training.errors import BadInputError

_COPIED_AT_ONCE = 8 * 1024 * 1024


class StoredFile(NamedTuple):
    """What a listing tells of a file."""

    key: str
    bytes: int
    changed_at: int
    """When it was written, ms UTC; S3 counts seconds."""


class Folder:
    """A folder named by a path or by `s3://bucket/prefix`; keys are relative to it."""

    def __init__(self, uri: str | Path) -> None:
        self.uri = str(uri).rstrip("/")
        self.filesystem, self._root = _open(self.uri)

    def __str__(self) -> str:
        return self.uri

    def path(self, key: str) -> str:
        """Where `key` lies, as `filesystem` names it."""
        return f"{self._root}/{key}"

    def uri_of(self, key: str) -> str:
        """Where `key` lies, for people and for other programs."""
        return f"{self.uri}/{key}"

    def read(self, key: str) -> bytes:
        """The bytes of one file. Raises FileNotFoundError where there is none."""
        # Arrow would unpack what ends with .gz, and pack it when it is written.
        with self.filesystem.open_input_stream(self.path(key), compression=None) as stream:
            return bytes(stream.read())

    def write(self, key: str, data: bytes) -> None:
        """Write one file whole; over an older one of that name it is replaced at once."""
        path = self.path(key)
        if not self._is_local:
            with self.filesystem.open_output_stream(path, compression=None) as stream:
                stream.write(data)
            return
        part = f"{path}.part"
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(part).write_bytes(data)
        Path(part).replace(path)

    def write_from(self, key: str, file: Path) -> None:
        """Write one file as `write` does, with what `file` holds, however large it is."""
        path = self.path(key)
        if not self._is_local:
            with (
                file.open("rb") as source,
                self.filesystem.open_output_stream(path, compression=None) as stream,
            ):
                shutil.copyfileobj(source, stream, _COPIED_AT_ONCE)
            return
        part = f"{path}.part"
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, part)
        Path(part).replace(path)

    def require(self) -> None:
        """Raise BadInputError where there is no such folder, or no such bucket: else it would seem empty."""
        root = self._root if self._is_local else self._root.partition("/")[0]
        if self.filesystem.get_file_info(root).type != pafs.FileType.Directory:
            raise BadInputError(f"{self}: there is no such {'folder' if self._is_local else 'bucket'}")

    def exists(self, key: str) -> bool:
        """Whether there is a file of that name."""
        return bool(self.filesystem.get_file_info(self.path(key)).type == pafs.FileType.File)

    def delete(self, key: str) -> None:
        """Delete one file. Raises FileNotFoundError where there is none."""
        # In S3 Arrow then writes an empty object that stands for the folder; listings pass over it.
        self.filesystem.delete_file(self.path(key))

    def delete_folder(self, prefix: str) -> None:
        """Delete all that lies below `prefix`, a folder's name that ends with `/`, and what stands for it."""
        self.filesystem.delete_dir(self.path(prefix).rstrip("/"))

    def list(self, prefix: str = "") -> Iterator[str]:
        """The keys of all files below `prefix`, a folder's name that ends with `/`, sorted."""
        yield from (file.key for file in self.files(prefix))

    def files(self, prefix: str = "") -> Iterator[StoredFile]:
        """The same with what is known of each without opening it."""
        selector = pafs.FileSelector(self.path(prefix).rstrip("/"), recursive=True, allow_not_found=True)
        start = len(self._root) + 1
        infos = self.filesystem.get_file_info(selector)
        yield from sorted(
            StoredFile(info.path[start:], info.size, info.mtime_ns // 1_000_000)
            for info in infos
            if info.type == pafs.FileType.File
        )

    @property
    def _is_local(self) -> bool:
        return isinstance(self.filesystem, pafs.LocalFileSystem)


def sha256_of(file: Path) -> str:
    """The SHA-256 of a local file's bytes."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _open(uri: str) -> tuple[pafs.FileSystem, str]:
    parts = urlsplit(uri)
    if parts.scheme == "s3":
        if not parts.netloc:
            raise BadInputError(f"{uri}: names no bucket; expected s3://bucket/prefix")
        return _s3(), f"{parts.netloc}{parts.path}".rstrip("/")
    if parts.scheme == "file":
        return pafs.LocalFileSystem(), str(Path(parts.path).absolute())
    if "://" in uri:
        raise BadInputError(f"{uri}: expected a folder or s3://bucket/prefix")
    return pafs.LocalFileSystem(), str(Path(uri).absolute())


def _s3() -> pafs.FileSystem:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    try:
        return pafs.S3FileSystem(endpoint_override=endpoint, region=region)
    except (OSError, pa.ArrowInvalid) as error:
        raise BadInputError(f"S3 cannot be reached: {error}") from error
