"""Versions beside a trained one: the same lists under another name, and lists that are somebody else's."""

import io
import random
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from contract.recommendations import ListKind, Manifest
from contract.s3_layout import version_prefix
from training.publish import publish_version, read_manifest
from training.storage import Folder


def publish_copy(out: Folder, version: str, name: str) -> Manifest:
    """Publish a version's lists once more, under another name."""
    manifest = read_manifest(out, version)
    return publish_version(out, _lists(out, manifest), manifest=replace(manifest, version=name, files=()))


def publish_bad(out: Folder, version: str, name: str) -> Manifest:
    """Publish a version in which each user has the personal list of somebody else."""
    manifest = read_manifest(out, version)
    shuffled = (_shuffled(table) for table in _lists(out, manifest))
    return publish_version(out, shuffled, manifest=replace(manifest, version=name, files=()))


def _lists(out: Folder, manifest: Manifest) -> Iterator[pa.Table]:
    for entry in manifest.files:
        yield pq.read_table(io.BytesIO(out.read(version_prefix(manifest.version) + entry.name)))


def _shuffled(lists: pa.Table) -> pa.Table:
    kinds = lists["kind"].to_pylist()
    places = [place for place, kind in enumerate(kinds) if kind == ListKind.PERSONAL]
    others = random.Random(0).sample(places, len(places))  # noqa: S311 - which doesn't matter
    taken = list(range(len(kinds)))
    for place, other in zip(places, others, strict=True):
        taken[place] = other
    keys = lists["key"]
    shuffled = lists.take(taken)
    return shuffled.set_column(shuffled.schema.get_field_index("key"), lists.schema.field("key"), keys)
