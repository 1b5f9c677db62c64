"""Deleted users' events taken out of the files of one source, see `training.events`."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contract.s3_layout import EVENTS_PREFIX, rewritten_name
from contract.tombstones import Tombstones
from training.errors import BadInputError
from training.events import EventsFile, checked_footer, files_in
from training.importing.row_groups import ROW_GROUP, RowGroupsWriter
from training.storage import Folder, sha256_of
from training.tombstones import swallowed

_NEEDED: Final = ["user_id", "timestamp"]


def forget_events(bucket: Folder, manifest_key: str, manifest: bytes, tombstones: Tombstones) -> bytes:
    """The manifest as it lies there afterwards: the same one where nothing had to go.

    Raises BadInputError where a listed file is missing, damaged or of other rows than the manifest says.
    """
    old = files_in(manifest, bucket.uri_of(manifest_key))
    channel = Folder(bucket.uri_of(EVENTS_PREFIX))
    for file in old:
        checked_footer(channel, file)
    freed = [_freed(bucket, file, tombstones) for file in old]
    new = [file for file in freed if file is not None]
    if new == old:
        return manifest
    document = json.loads(manifest)
    removed = sum(file.rows for file in old) - sum(file.rows for file in new)
    document["files"] = [asdict(file) for file in new]
    # All else stays what the import or the export told when it was done.
    document["forgotten_rows"] = document.get("forgotten_rows", 0) + removed
    rewritten = json.dumps(document, indent=2, ensure_ascii=False).encode()
    bucket.write(manifest_key, rewritten)
    return rewritten


def forgotten_rows(manifest: bytes) -> int:
    """How many rows were taken out of a source's files since it came."""
    return int(json.loads(manifest).get("forgotten_rows", 0))


def _freed(bucket: Folder, file: EventsFile, tombstones: Tombstones) -> EventsFile | None:
    """A file without deleted users' events: itself where it has none, None where it has no others."""
    where = bucket.uri_of(file.key)
    try:
        with (
            bucket.filesystem.open_input_file(bucket.path(file.key)) as source,
            pq.ParquetFile(source) as parquet,
        ):
            batches = parquet.iter_batches(ROW_GROUP, columns=_NEEDED)
            if not any(_is_swallowed(batch, tombstones).any() for batch in batches):
                return file
            return _rewritten(bucket, file, parquet, tombstones)
    except pa.ArrowInvalid as error:
        raise BadInputError(f"{where}: cannot be read as Parquet: {error}") from error


def _rewritten(
    bucket: Folder, file: EventsFile, parquet: pq.ParquetFile, tombstones: Tombstones
) -> EventsFile | None:
    schema = parquet.schema_arrow.remove_metadata()
    with tempfile.TemporaryDirectory(prefix="forget-") as temporary:
        local = Path(temporary) / "day.parquet"
        writer = RowGroupsWriter(local, schema)
        for batch in parquet.iter_batches(ROW_GROUP):
            kept = batch.filter(pa.array(~_is_swallowed(batch, tombstones)))
            writer.add(pa.record_batch(kept.columns, schema=schema))
        writer.close()
        if not writer.rows:
            return None
        key = rewritten_name(file.key, sha256_of(local))
        bucket.write_from(key, local)
    return EventsFile(key=key, rows=writer.rows)


def _is_swallowed(batch: pa.RecordBatch, tombstones: Tombstones) -> npt.NDArray[np.bool_]:
    # Foreign files may lack ids; then nobody can be meant.
    users = pc.fill_null(batch["user_id"], "")
    times = pc.fill_null(batch["timestamp"], 0).to_numpy(zero_copy_only=False)
    return swallowed(tombstones, users, times)
