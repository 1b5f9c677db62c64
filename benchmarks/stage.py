"""What the benchmarks of versions play on: a database of their own, and versions."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from twin.postgres import create_database, drop_database, running_postgres

from benchmarks.bars import FOLDER
from contract.blending import BlendWeights
from contract.recommendations import Manifest
from lambdas.migrate_database.migrate import migrate
from training.publish import publish_version
from training.storage import Folder

DATABASE = "shop_benchmark"


@contextmanager
def empty_database() -> Iterator[tuple[str, Folder]]:
    """The URL of a database with the current schema, and a folder to publish in."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        running_postgres(log=FOLDER / "postgres.log") as server_url,
    ):
        drop_database(server_url, DATABASE)
        database_url = create_database(server_url, DATABASE)
        try:
            migrate(database_url)
            yield database_url, Folder(Path(folder))
        finally:
            drop_database(server_url, DATABASE)


def publish(out: Folder, version: str, *lists: pa.Table) -> None:
    """Publish lists as a version."""
    manifest = Manifest(
        version=version, as_of="2026-01-01T00:00:00.000Z", created_at="2026-01-01T00:00:00Z",
        training_window={"from": "2025-12-01T00:00:00.000Z", "to": "2026-01-01T00:00:00.000Z"},
        dataset_fingerprint="0" * 64, code_version="unknown",
        counts={"events": 0, "users": 0, "items": 0},
        files=(), metrics={}, blend_weights=BlendWeights(), exclude_purchased=False,
    )  # fmt: skip
    publish_version(out, lists, manifest=manifest)
