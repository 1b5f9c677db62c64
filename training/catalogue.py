"""The catalogue in the bucket, version by version, see `contract/s3_layout.py`.

A version is named by the moment that it tells of and by its content, so the same catalogue is the same
version again. Its manifest is written last, and holds the checksums of its files: without one, a folder is
no version.

`python -m training.catalogue import|list|show|load` is the program.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from contract.s3_layout import (
    CATALOGUE_PREFIX,
    MANIFEST_NAME,
    catalogue_categories_key,
    catalogue_items_key,
    catalogue_manifest_key,
)
from training.errors import BadInputError, VersionError
from training.importing.catalogue_tree import CATEGORIES_SCHEMA
from training.importing.row_groups import RowGroupsWriter
from training.moments import format_moment, parse_moment
from training.storage import Folder


@dataclass(frozen=True)
class CatalogueFile:
    """One of a version's two files."""

    rows: int
    sha256: str


@dataclass(frozen=True)
class CatalogueInfo:
    """What a version's manifest tells."""

    version: str
    as_of_ms: int
    """The moment that the catalogue tells of, UTC ms."""
    columns: tuple[str, ...]
    """Of the items: `item_id`, `category_id`, `available`, and what else the shop says about them."""
    items: CatalogueFile
    categories: CatalogueFile

    @property
    def as_of(self) -> str:
        """The same moment, ISO 8601 UTC."""
        return format_moment(self.as_of_ms)


@dataclass(frozen=True)
class Catalogue:
    """A version that was read whole."""

    info: CatalogueInfo
    items: pa.Table
    """ITEM_COLUMNS and the shop's others; each item once, by `item_id`."""
    categories: pa.Table
    """CATEGORIES_SCHEMA; each category once, by `category_id`."""


def write_catalogue(
    folder: Folder, items: Iterable[pa.RecordBatch], schema: pa.Schema, categories: pa.Table, as_of_ms: int
) -> CatalogueInfo:
    """Write a version below the bucket's root `folder`, its manifest last.

    `items` are as `schema` has them: ITEM_COLUMNS first, each item once, by `item_id`; `categories` are as
    CATEGORIES_SCHEMA has them, each once, by `category_id`. The same content gives the same bytes.
    """
    with tempfile.TemporaryDirectory(prefix="catalogue-") as temporary:
        local_items, local_categories = Path(temporary) / "items", Path(temporary) / "categories"
        stored = (
            _stored(local_items, schema, items),
            _stored(local_categories, CATEGORIES_SCHEMA, categories.to_batches()),
        )
        info = CatalogueInfo(_version(as_of_ms, *stored), as_of_ms, tuple(schema.names), *stored)
        folder.write_from(catalogue_items_key(info.version), local_items)
        folder.write_from(catalogue_categories_key(info.version), local_categories)
    folder.write(catalogue_manifest_key(info.version), _to_json(info).encode())
    return info


def list_catalogues(folder: Folder) -> tuple[CatalogueInfo, ...]:
    """All versions below the bucket's root, by the moment that they tell of, then by name."""
    infos = (read_info(folder, version) for version in _versions(folder))
    return tuple(sorted(infos, key=lambda info: (info.as_of_ms, info.version)))


def latest_catalogue(folder: Folder, as_of_ms: int | None = None) -> CatalogueInfo | None:
    """The last of `list_catalogues` up to and including a moment (UTC ms); None where there is none."""
    infos = [info for info in list_catalogues(folder) if as_of_ms is None or info.as_of_ms <= as_of_ms]
    return infos[-1] if infos else None


def read_info(folder: Folder, version: str) -> CatalogueInfo:
    """A version's manifest. Raises VersionError where there is none, naming those that are."""
    key = catalogue_manifest_key(version)
    try:
        return _from_json(folder.read(key))
    except FileNotFoundError as error:
        known = ", ".join(_versions(folder)) or "none; `python -m training.catalogue import` brings one in"
        raise VersionError(
            f"{folder.uri_of(key)}: there is no catalogue of this version; there are: {known}"
        ) from error
    except (ValueError, KeyError, TypeError, BadInputError) as error:
        raise VersionError(
            f"{folder.uri_of(key)}: isn't the manifest of a catalogue ({error!r}); import it again"
        ) from error
    except OSError as error:
        raise VersionError(f"{folder.uri_of(key)}: cannot be read: {error}") from error


def read_catalogue(folder: Folder, version: str) -> Catalogue:
    """A version, with its checksums verified.

    Raises VersionError where it is missing, or a file of it is missing or isn't what its manifest says.
    """
    info = read_info(folder, version)
    return Catalogue(
        info=info,
        items=_read(folder, catalogue_items_key(version), info.items),
        categories=_read(folder, catalogue_categories_key(version), info.categories),
    )


def _stored(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> CatalogueFile:
    writer = RowGroupsWriter(path, schema)
    for batch in batches:
        writer.add(batch)
    writer.close()
    with path.open("rb") as file:
        return CatalogueFile(writer.rows, hashlib.file_digest(file, "sha256").hexdigest())


def _version(as_of_ms: int, *files: CatalogueFile) -> str:
    content = hashlib.sha256("".join([format_moment(as_of_ms), *(file.sha256 for file in files)]).encode())
    return f"{datetime.fromtimestamp(as_of_ms // 1000, UTC):%Y%m%dT%H%M%SZ}-{content.hexdigest()[:8]}"


def _versions(folder: Folder) -> Iterator[str]:
    for key in folder.list(CATALOGUE_PREFIX):
        version, _, name = key.removeprefix(CATALOGUE_PREFIX).partition("/")
        if name == MANIFEST_NAME:
            yield version


def _read(folder: Folder, key: str, expected: CatalogueFile) -> pa.Table:
    where = folder.uri_of(key)
    try:
        data = folder.read(key)
    except FileNotFoundError as error:
        raise VersionError(f"{where}: is missing, though there is a manifest; import it again") from error
    except OSError as error:
        raise VersionError(f"{where}: cannot be read: {error}") from error
    if hashlib.sha256(data).hexdigest() != expected.sha256:
        raise VersionError(f"{where}: isn't what its manifest says (another checksum); import it again")
    return pq.read_table(pa.BufferReader(data))


def _to_json(info: CatalogueInfo) -> str:
    document = asdict(info)
    document["as_of"] = format_moment(document.pop("as_of_ms"))
    return json.dumps(document, indent=2, ensure_ascii=False)


def _from_json(text: bytes) -> CatalogueInfo:
    document = json.loads(text)
    return CatalogueInfo(
        version=str(document["version"]),
        as_of_ms=parse_moment(document["as_of"]),
        columns=tuple(map(str, document["columns"])),
        items=CatalogueFile(**document["items"]),
        categories=CatalogueFile(**document["categories"]),
    )


if __name__ == "__main__":
    # It imports this module.
    from training.catalogue_commands import main

    sys.exit(main())
