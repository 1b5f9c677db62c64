"""Versions as files: publishing a version's lists to the bucket or a folder, and reading them back.

The manifest is written last: a folder without one is no version, whatever else lies in it.
"""

import hashlib
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contract.blending import BlendWeightsError
from contract.events import MAX_EVENT_TYPE_LENGTH, MAX_ID_LENGTH, event_type_problem, id_problem
from contract.recommendations import (
    EVERYTHING,
    TRENDING_WINDOWS,
    FileEntry,
    ListKind,
    Manifest,
    ManifestError,
    lists_counts,
    trending_key,
)
from contract.s3_layout import RECOMMENDATIONS_PREFIX, lists_name, manifest_key, version_prefix
from training.errors import VersionError
from training.lists_schema import LISTS_SCHEMA
from training.storage import Folder, sha256_of

ROWS_A_FILE: Final = 256 * 1024
BYTES_A_FILE: Final = 128 * 1024 * 1024
"""A file may be larger by one row group. Readers hold one file in memory."""
ROWS_A_GROUP: Final = 32 * 1024

_VERSION_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# Scores and times hardly repeat: a dictionary of them would only be thrown away again.
_REPEATING: Final = ["kind", "item_ids.list.element", "event_types.list.element"]
_LISTS_NAME: Final = re.compile(r"lists-\d{5,}\.parquet")


def publish_version(out: Folder, lists: Iterable[pa.Table], *, manifest: Manifest) -> Manifest:
    """Write lists (`LISTS_SCHEMA`) as Parquet files below `out`; the manifest, with files and counts.

    Raises VersionError where the version is already there, where a list breaks the contract, or where
    `out` can't be written; then there is no manifest.
    """
    check_version_name(manifest.version)
    _refuse_overwriting(out, manifest.version)
    prefix = version_prefix(manifest.version)
    keys = _Keys()
    files: list[FileEntry] = []
    with tempfile.TemporaryDirectory(prefix="publish-") as temporary:
        for file in _written(_checked(lists, keys), Path(temporary)):
            files.append(file_entry(file))
            _writing(out, partial(out.write_from, prefix + file.name, file))
            file.unlink()
    if not files:
        raise VersionError(f"version {manifest.version} can't be published: it has no lists")
    keys.refuse_repeated()
    complete = replace(manifest, files=tuple(files), counts={**manifest.counts, **keys.counts()})
    _finish(out, complete)
    return complete


def copy_version(source: Folder, destination: Folder, manifest: Manifest) -> None:
    """Copy a published version's files, then write `manifest`, which may tell more than the source's.

    Raises VersionError where the version is already there, or where a file isn't what the manifest says.
    """
    _refuse_overwriting(destination, manifest.version)
    prefix = version_prefix(manifest.version)
    for entry in manifest.files:
        data = read_file(source, manifest.version, entry)
        _writing(destination, partial(destination.write, prefix + entry.name, data))
    _finish(destination, manifest)


def read_manifest(out: Folder, version: str) -> Manifest:
    """The manifest of a published version.

    Raises VersionError where there is none, or where this code can't read it.
    """
    check_version_name(version)
    key = manifest_key(version)
    try:
        manifest = Manifest.from_json(out.read(key))
    except FileNotFoundError as error:
        raise VersionError(_not_published(out, version)) from error
    except (ManifestError, BlendWeightsError) as error:
        raise VersionError(f"{out.uri_of(key)}: {error}") from error
    except OSError as error:
        raise VersionError(f"{out.uri_of(key)}: can't be read: {error}") from error
    if manifest.version != version:
        raise VersionError(f"{out.uri_of(key)}: is the manifest of version {manifest.version}")
    return manifest


def published_versions(out: Folder) -> list[str]:
    """The names of all versions with a manifest, sorted: by the moment that they know."""
    keys = (key.split("/") for key in out.list(RECOMMENDATIONS_PREFIX))
    return sorted({key[1] for key in keys if "/".join(key) == manifest_key(key[1])})


def read_lists(out: Folder, manifest: Manifest, *, rows_a_batch: int = 16 * 1024) -> Iterator[pa.RecordBatch]:
    """All lists of a version, each file checked against the manifest before its first row is given.

    Raises VersionError, naming the file, where one is missing, damaged or of another length.
    """
    for entry in manifest.files:
        yield from open_lists(out, manifest.version, entry).iter_batches(batch_size=rows_a_batch)


def open_lists(out: Folder, version: str, entry: FileEntry) -> pq.ParquetFile:
    """One file of a version, whole in memory and checked. Raises VersionError as `read_lists` does."""
    data = read_file(out, version, entry)
    uri = out.uri_of(version_prefix(version) + entry.name)
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except pa.ArrowInvalid as error:
        raise VersionError(f"{uri}: is no Parquet file: {error}") from error
    if not _is_lists_schema(file.schema_arrow):
        raise VersionError(f"{uri}: has other columns than a version's lists: {file.schema_arrow}")
    if file.metadata.num_rows != entry.rows:
        raise VersionError(f"{uri}: has {file.metadata.num_rows} rows, the manifest says {entry.rows}")
    return file


def read_file(out: Folder, version: str, entry: FileEntry) -> bytes:
    """The bytes of one file of a version, checked against its entry.

    Raises VersionError, naming the file, where it is missing or not the one that was published.
    """
    key = version_prefix(version) + entry.name
    try:
        data = out.read(key)
    except FileNotFoundError as error:
        raise VersionError(f"{out.uri_of(key)}: is missing, but the manifest lists it") from error
    except OSError as error:
        raise VersionError(f"{out.uri_of(key)}: can't be read: {error}") from error
    if len(data) != entry.bytes or hashlib.sha256(data).hexdigest() != entry.sha256:
        raise VersionError(
            f"{out.uri_of(key)}: isn't the file that was published: {len(data)} bytes, the manifest says "
            f"{entry.bytes} bytes with SHA-256 {entry.sha256}; publish the version again under a new name"
        )
    return data


def check_version_name(version: str) -> None:
    """Raise VersionError where `version` can't be the name of a folder."""
    if not _VERSION_NAME.fullmatch(version):
        raise VersionError(
            f"{version!r} can't be the name of a version: "
            "expected up to 128 letters, digits, '.', '_' and '-', a letter or digit first"
        )


class _Keys:
    """Which lists were seen: (kind, key) is unique within a version."""

    def __init__(self) -> None:
        self._seen: list[pa.RecordBatch] = []
        self._counts: Counter[str] = Counter()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take note of a batch's lists."""
        self._seen.append(batch.select(["kind", "key"]))
        for kind in pc.value_counts(batch["kind"]).to_pylist():
            self._counts[kind["values"]] += kind["counts"]

    def counts(self) -> dict[str, int]:
        """How many lists of each kind."""
        return lists_counts(self._counts)

    def refuse_repeated(self) -> None:
        """Raise VersionError where one (kind, key) has two lists."""
        groups = pa.Table.from_batches(self._seen).group_by(["kind", "key"]).aggregate([([], "count_all")])
        repeated = groups.filter(pc.greater(groups["count_all"], 1))
        if repeated.num_rows:
            first = repeated.slice(0, 1).to_pylist()[0]
            raise VersionError(
                f"{first['count_all']} lists are {first['kind']} of {first['key']!r}, only one can be; "
                f"{repeated.num_rows} such keys in all"
            )


def _checked(lists: Iterable[pa.Table], keys: _Keys) -> Iterator[pa.RecordBatch]:
    for table in lists:
        if not _is_lists_schema(table.schema):
            raise VersionError(f"lists have the columns of LISTS_SCHEMA, not {table.schema}")
        for batch in table.to_batches(max_chunksize=ROWS_A_GROUP):
            check_lists(batch)
            keys.add(batch)
            yield batch


def _is_lists_schema(schema: pa.Schema) -> bool:
    return bool(schema.names == LISTS_SCHEMA.names and schema.types == LISTS_SCHEMA.types)


def check_lists(batch: pa.RecordBatch) -> None:
    """Raise VersionError, naming the list, where one breaks the contract of `LIST_COLUMNS`."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        raise VersionError(f"lists hold what is no text or no list: {error}") from error
    for name in ("kind", "key", "item_ids"):
        if batch[name].null_count:
            raise VersionError(f"{batch[name].null_count} lists have no {name}")
    _check_keys(batch)
    _refuse(batch, pc.equal(pc.list_value_length(batch["item_ids"]), 0), "has no items")
    _check_texts(batch, "item_ids", MAX_ID_LENGTH, id_problem)
    is_history = pc.equal(batch["kind"], ListKind.HISTORY.value)
    for name, of_history in (("scores", False), ("event_types", True), ("timestamps", True)):
        wanted = is_history if of_history else pc.invert(is_history)
        _refuse(batch, pc.and_(wanted, pc.is_null(batch[name])), f"has no {name}")
        _refuse(batch, pc.and_(pc.invert(wanted), pc.is_valid(batch[name])), f"has {name}")
        _check_length(batch, name)
    _check_texts(batch, "event_types", MAX_EVENT_TYPE_LENGTH, event_type_problem)
    for name in ("scores", "timestamps"):
        elements = batch[name].flatten()
        bad = pc.is_null(elements) if name == "timestamps" else pc.invert(_is_finite(elements))
        _refuse_elements(batch, name, bad, f"has {name} that are no numbers")


def _is_finite(scores: pa.Array) -> pa.Array:
    return pc.fill_null(pc.is_finite(scores), False)


def _check_keys(batch: pa.RecordBatch) -> None:
    kinds = pa.array([kind.value for kind in ListKind])
    _refuse(batch, pc.invert(pc.is_in(batch["kind"], kinds)), f"is none of {', '.join(kinds.to_pylist())}")
    keys = batch["key"]
    of_everything = pc.and_(pc.equal(batch["kind"], ListKind.POPULAR.value), pc.equal(keys, EVERYTHING))
    is_trending = pc.equal(batch["kind"], ListKind.TRENDING.value)
    longest = max(len(trending_key(window)) for window in TRENDING_WINDOWS) + MAX_ID_LENGTH
    bad = pc.if_else(
        is_trending,
        _is_suspicious(keys, longest),
        pc.and_(_is_suspicious(keys, MAX_ID_LENGTH), pc.invert(of_everything)),
    )
    _refuse(batch, bad, "has a key that", id_problem)


def _check_length(batch: pa.RecordBatch, name: str) -> None:
    lengths, expected = pc.list_value_length(batch[name]), pc.list_value_length(batch["item_ids"])
    _refuse(
        batch, pc.fill_null(pc.not_equal(lengths, expected), False), f"has more or fewer {name} than items"
    )


def _check_texts(
    batch: pa.RecordBatch, name: str, max_length: int, problem: Callable[[str], str | None]
) -> None:
    elements = batch[name].flatten()
    # The same few items are in very many lists.
    distinct = elements.unique()
    bad = distinct.filter(_is_suspicious(distinct, max_length))
    if len(bad):
        text = bad[0].as_py()
        reason = "is null" if text is None else problem(text)
        _refuse_elements(batch, name, pc.is_in(elements, bad), f"has {name}, of which {text!r} {reason}")


def _is_suspicious(texts: pa.Array, max_length: int) -> pa.Array:
    """What the contract's check of a single text would refuse."""
    lengths = pc.utf8_length(texts)
    misfits = pc.or_(pc.equal(lengths, 0), pc.greater(lengths, max_length))
    return pc.fill_null(pc.or_(misfits, pc.match_substring(texts, "\x00")), True)


def _refuse_elements(batch: pa.RecordBatch, name: str, bad: pa.Array, problem: str) -> None:
    rows = pc.list_parent_indices(batch[name]).filter(bad)
    if len(rows):
        _raise(batch, rows[0].as_py(), problem)


def _refuse(
    batch: pa.RecordBatch, bad: pa.Array, problem: str, reason: Callable[[str], str | None] | None = None
) -> None:
    row = pc.index(bad, True).as_py()
    if row >= 0:
        _raise(batch, row, f"{problem} {reason(batch['key'][row].as_py())}" if reason else problem)


def _raise(batch: pa.RecordBatch, row: int, problem: str) -> None:
    raise VersionError(f"the list {batch['kind'][row].as_py()} of {batch['key'][row].as_py()!r} {problem}")


def _written(batches: Iterator[pa.RecordBatch], folder: Path) -> Iterator[Path]:
    """Local Parquet files, each given when it is whole."""
    waiting = next(batches, None)
    part = 0
    while waiting is not None:
        path = folder / lists_name(part)
        with path.open("wb") as file:
            waiting = _write_one(file, waiting, batches)
        yield path
        part += 1


def _write_one(
    file: BinaryIO, batch: pa.RecordBatch, batches: Iterator[pa.RecordBatch]
) -> pa.RecordBatch | None:
    """Fill one file; the batch that the next one begins with, None when there is nothing left."""
    rows = 0
    with lists_writer(file) as writer:
        while batch is not None:
            writer.write_batch(batch)
            rows += batch.num_rows
            batch = next(batches, None)
            if file.tell() >= BYTES_A_FILE or (batch and rows + batch.num_rows > ROWS_A_FILE):
                break
    return batch


def lists_writer(file: BinaryIO | Path) -> pq.ParquetWriter:
    """Writes a file of lists."""
    return pq.ParquetWriter(file, LISTS_SCHEMA, compression="zstd", use_dictionary=_REPEATING)


def file_entry(file: Path) -> FileEntry:
    """What a manifest tells of a local file."""
    rows = pq.read_metadata(file).num_rows
    return FileEntry(name=file.name, rows=rows, bytes=file.stat().st_size, sha256=sha256_of(file))


def _finish(out: Folder, manifest: Manifest) -> None:
    """Delete what an earlier, interrupted publication left, then write the manifest."""
    prefix = version_prefix(manifest.version)
    listed = {prefix + entry.name for entry in manifest.files}
    for key in list(out.list(prefix)):
        if key not in listed and _LISTS_NAME.fullmatch(key.removeprefix(prefix)):
            _writing(out, partial(out.delete, key))
    _writing(out, partial(out.write, manifest_key(manifest.version), manifest.to_json().encode()))


def _writing(out: Folder, write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        raise VersionError(f"{out}: can't be written: {error}") from error


def _refuse_overwriting(out: Folder, version: str) -> None:
    key = manifest_key(version)
    if out.exists(key):
        raise VersionError(f"{out.uri_of(key)}: is already there; a version is never overwritten")


def _not_published(out: Folder, version: str) -> str:
    there = published_versions(out)
    told = f"there are: {', '.join(there[-10:])}" if there else "there are none"
    return f"{out.uri_of(manifest_key(version))}: there is no such version; {told}"
