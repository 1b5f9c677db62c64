"""Small versions to publish and load: every list of a version holds the version's name as its first item."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from contract.blending import BlendWeights
from contract.recommendations import EVERYTHING, ListKind, Manifest, trending_key
from training.lists_schema import LISTS_SCHEMA
from training.publish import publish_version
from training.storage import Folder

Row = dict[str, Any]


def manifest(version: str) -> Manifest:
    """As the training would begin it."""
    return Manifest(
        version=version,
        as_of="2015-09-18T02:59:47.788Z",
        created_at="2015-09-18T03:10:00Z",
        training_window={"from": "2015-05-03T03:00:04.384Z", "to": "2015-09-18T02:59:47.788Z"},
        dataset_fingerprint="0" * 64,
        code_version="unknown",
        counts={"events": 5, "users": 2, "items": 3},
        files=(),
        metrics={"batch": {"served": {"users": 10, "precision@10": 0.1, "recall@10": 0.25}}},
        blend_weights=BlendWeights(),
        exclude_purchased=False,
    )


def scored(kind: str, key: str | None, item_ids: Sequence[str | None]) -> Row:
    """A list with falling scores."""
    return {
        "kind": kind,
        "key": key,
        "item_ids": list(item_ids),
        "scores": [1 / (rank + 1) for rank in range(len(item_ids))],
        "event_types": None,
        "timestamps": None,
    }


def history(key: str, item_ids: Sequence[str]) -> Row:
    """Views, newest first."""
    return {
        "kind": "history",
        "key": key,
        "item_ids": list(item_ids),
        "scores": None,
        "event_types": ["view"] * len(item_ids),
        "timestamps": [1_442_545_187_788 - n for n in range(len(item_ids))],
    }


def table(rows: Iterable[Row]) -> pa.Table:
    """Rows in the schema of stored lists."""
    return pa.Table.from_pylist(list(rows), schema=LISTS_SCHEMA)


def rows_of(version: str, *, users: int = 2) -> list[Row]:
    """A few lists of every kind."""
    rows = [scored(ListKind.PERSONAL, f"u{n}", [version, "i1", "i2"]) for n in range(users)]
    rows += [history("u0", [version, "i1"]), scored(ListKind.SIMILAR, "i1", [version, "i3"])]
    rows += [scored(ListKind.BOUGHT_TOGETHER, "i1", [version, "i2"])]
    rows += [scored(ListKind.TRENDING, trending_key("7d"), [version, "i2"])]
    return [*rows, scored(ListKind.POPULAR, EVERYTHING, [version, "i1"])]


def publish(out: Folder, *versions: str, users: int = 2) -> Manifest:
    """Publish versions; the manifest of the last one."""
    for version in versions:
        published = publish_version(out, [table(rows_of(version, users=users))], manifest=manifest(version))
    return published
