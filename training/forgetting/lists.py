"""Deleted users' lists taken out of a published version, as a load takes them out of Postgres."""

import json
import tempfile
from collections import Counter
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from contract.recommendations import FileEntry, ListKind, Manifest
from contract.s3_layout import manifest_key, rewritten_name, version_prefix
from contract.tombstones import Tombstones
from training.publish import ROWS_A_GROUP, file_entry, lists_writer, open_lists
from training.storage import Folder

_OF_USERS: Final = pa.array([ListKind.PERSONAL.value, ListKind.HISTORY.value])


def forget_lists(bucket: Folder, content: bytes, tombstones: Tombstones) -> bytes:
    """The version's manifest as it lies there afterwards: the same one where nobody had to go.

    Whoever was deleted at the version's moment or later has no lists in it any more. Raises ManifestError
    where `content` is no manifest, and VersionError where a file isn't what it says.
    """
    manifest = Manifest.from_json(content)
    as_of = datetime.fromisoformat(manifest.as_of)
    later = {
        user: moment
        for user, moment in tombstones.deleted_at.items()
        if datetime.fromtimestamp(moment / 1000, UTC) >= as_of
    }
    deleted = Tombstones(tombstones.keys, later)
    if not deleted:
        return content
    removed: Counter[str] = Counter()
    files = [
        entry for old in manifest.files if (entry := _freed(bucket, manifest.version, old, deleted, removed))
    ]
    if not removed:
        return content
    # What newer code wrote into the manifest stays in it.
    document = json.loads(content)
    document["files"] = [asdict(entry) for entry in files]
    document["counts"] = {kind: n - removed[kind] for kind, n in document["counts"].items()}
    rewritten = json.dumps(document, indent=2, sort_keys=True).encode()
    bucket.write(manifest_key(manifest.version), rewritten)
    return rewritten


def _freed(
    bucket: Folder, version: str, entry: FileEntry, deleted: Tombstones, removed: Counter[str]
) -> FileEntry | None:
    """A file without these users' lists: itself where it has none, None where it has no others."""
    file = open_lists(bucket, version, entry)
    with tempfile.TemporaryDirectory(prefix="forget-") as temporary:
        local = Path(temporary) / "lists.parquet"
        n_removed = n_kept = 0
        with lists_writer(local) as writer:
            for batch in file.iter_batches(batch_size=ROWS_A_GROUP):
                is_theirs = _is_of_deleted(batch, deleted)
                removed.update(batch["kind"].filter(is_theirs).to_pylist())
                kept = batch.filter(pc.invert(is_theirs))
                n_removed, n_kept = n_removed + batch.num_rows - kept.num_rows, n_kept + kept.num_rows
                writer.write_batch(kept)
        if not n_removed:
            return entry
        if not n_kept:
            return None
        known = file_entry(local)
        name = rewritten_name(entry.name, known.sha256)
        bucket.write_from(version_prefix(version) + name, local)
    return replace(known, name=name)


def _is_of_deleted(batch: pa.RecordBatch, deleted: Tombstones) -> pa.BooleanArray:
    # An item may be called as a user is.
    of_users = pc.is_in(batch["kind"], _OF_USERS)
    users = batch["key"].filter(of_users).unique()
    theirs = [user for user in users.to_pylist() if deleted.deleted_until(user) is not None]
    return pc.and_(of_users, pc.is_in(batch["key"], pa.array(theirs, pa.string())))
