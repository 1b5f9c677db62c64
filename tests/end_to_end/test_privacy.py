"""A user of a whole shop asks to be forgotten: where they still are is what docs/privacy.md says."""

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient
from psycopg import sql

from lambdas.recommendations_api.settings import Settings
from tests.lambdas.callers import Api, event, proxy_event
from training.events import read_events
from training.export_events import export_events
from training.forget import forget_in_files, reached
from training.forgetting.leftovers import REPLACED_MS
from training.generate_shop import generate_shop
from training.import_events import import_events
from training.loader import load_version
from training.publish import published_versions, read_lists, read_manifest
from training.shop.simulation import ShopSettings
from training.storage import Folder

WHO = "leaves-us-4711"
DOCUMENT = Path(__file__).parents[2] / "docs/privacy.md"
HYPERPARAMETERS = {
    "als_factors": "8",
    "als_iterations": "3",
    "evaluation_days": "5",
    "evaluation_windows": "2",
    "threads": "1",
}

UNTIL_MAINTENANCE = {
    "bucket/events/dt=": "S3, `events/dt=…/`",
    "bucket/rejected": "S3, `rejected/`",
    "bucket/recommendations": "S3, `recommendations/<version>/`",
}
"""Where a deletion reaches when the maintenance runs, and the row of the table that says so."""
LEFT = {
    "import": "files that were imported (CSV, JSON lines, Parquet)",
    "job/model": "S3, the training's `model/` folder (`model.tar.gz`)",
    "mlflow": "MLflow, model `recommender`",
}
"""Where a deletion does not reach, and the row of the table that says so."""


@dataclass(frozen=True)
class Stores:
    """All that the product wrote."""

    folder: Path
    database: str
    artifacts: Folder

    def places(self) -> set[str]:
        """Those that hold the user."""
        return set(self._postgres()) | set(self._files()) | set(self._mlflow())

    def _postgres(self) -> Iterator[str]:
        with psycopg.connect(self.database) as connection:
            tables = connection.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            ).fetchall()
            for (name,) in tables:
                statement = sql.SQL("SELECT 1 FROM {} AS each WHERE strpos(each::text, %s) > 0 LIMIT 1")
                if connection.execute(statement.format(sql.Identifier(name)), (WHO,)).fetchone():
                    yield f"postgres/{re.sub(r'_v?[0-9]+$', '', name)}"

    def _files(self) -> Iterator[str]:
        for file in self.folder.rglob("*"):
            if file.is_file() and holds(file.read_bytes()):
                first, second, *_ = [*file.relative_to(self.folder).parts, ""]
                third = file.relative_to(self.folder).parts[2:3]
                is_day = second == "events" and any(part.startswith("dt=") for part in third)
                yield (
                    f"{first}/{second}/dt=" if is_day else f"{first}/{second}" if first != "import" else first
                )

    def _mlflow(self) -> Iterator[str]:
        for key in self.artifacts.list(""):
            if holds(self.artifacts.read(key)):
                yield "mlflow"


def holds(content: bytes) -> bool:
    """Whether a file names the user, looked for in a Parquet file's values, too."""
    if content[:4] == b"PAR1":
        return WHO in str(pq.read_table(io.BytesIO(content)).to_pydict())
    return WHO.encode() in content


@pytest.mark.usefixtures("bucket")
def test_after_a_deletion_the_user_is_only_where_the_documentation_says(
    database: str, mlflow_server: str, tmp_path: Path
) -> None:
    bucket = Folder(tmp_path / "bucket")
    end = import_shop(tmp_path, bucket)
    api = Api(
        Settings(
            database_url=database,
            as_of=datetime.fromtimestamp(end / 1000, UTC),
            events_timeout_ms=10_000,
            authorization="none",
        )
    )
    try:
        assert api.post_events(*(event(WHO, f"item-{n}", timestamp=end) for n in range(3))).status == 202
        export_events(database, bucket)
        version = train_on(tmp_path, mlflow_server)
        load_version(database, bucket, version)
        run = MlflowClient(mlflow_server).get_run(read_manifest(bucket, version).mlflow["run_id"])
        stores = Stores(tmp_path, database, Folder("s3://mlflow-artifacts"))

        before = stores.places()
        at_once = {"postgres/recommendations", "postgres/events"}
        assert before == LEFT.keys() | UNTIL_MAINTENANCE.keys() | at_once
        assert api.get(f"/v1/users/{WHO}").document["personal"]

        deleted = api.send(proxy_event("DELETE", f"/v1/users/{WHO}"))
        assert deleted.document == {"user_id": WHO, "lists": 2, "events": 3}
        export_events(database, bucket)

        assert stores.places() == LEFT.keys() | UNTIL_MAINTENANCE.keys()
        told = reached(bucket, WHO)
        assert told is None

        events = read_events(Folder(bucket.uri_of("events")))
        now = round(time.time() * 1000)
        for moment in (now, now + REPLACED_MS + 60_000):
            forget_in_files(database, bucket, bucket, now_ms=moment)
        assert stores.places() == LEFT.keys()
        told = reached(bucket, WHO)
        assert told is not None
        assert (told.unread_at, told.gone_at) == (now, now + REPLACED_MS + 60_000)
        assert read_events(Folder(bucket.uri_of("events"))).equals(events)
        assert WHO not in str([batch.to_pydict() for batch in lists_of(bucket, version)])
        assert not api.get(f"/v1/users/{WHO}").document["is_stored"]
        assert WHO not in str(run.to_dictionary())
        assert WHO not in set(read_events(Folder(bucket.uri_of("events")))["user_id"].to_pylist())
    finally:
        api.environment.stop()


def row_of(place: str) -> list[str]:
    """Place, what of a user, how a deletion gets there, by when."""
    rows = [line.split(" | ") for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    (row,) = [row for row in rows if row[0] == f"| {place}"]
    return row


@pytest.mark.parametrize("place", LEFT.values())
def test_what_is_left_is_said_to_be_left(place: str) -> None:
    assert "**not removed**" in row_of(place)[2] or "**never**" in row_of(place)[2]


@pytest.mark.parametrize("place", UNTIL_MAINTENANCE.values())
def test_what_the_maintenance_removes_is_said_to_be_removed_by_it(place: str) -> None:
    assert "**" not in row_of(place)[2]
    assert "the next maintenance" in row_of(place)[3]


def lists_of(bucket: Folder, version: str) -> Iterator[pa.RecordBatch]:
    """Those of a version, each file checked against the manifest."""
    return read_lists(bucket, read_manifest(bucket, version))


def import_shop(folder: Path, bucket: Folder) -> int:
    """A generated shop whose users include the one, a row of whom breaks the contract; its last moment."""
    source = folder / "import/shop.csv"
    source.parent.mkdir()
    generated = folder / "generated.parquet"
    generate_shop(ShopSettings(users=200, items=60, days=30, seed=1), generated)
    shop = pq.read_table(generated).select(["user_id", "item_id", "event_type", "timestamp"])
    generated.unlink()
    shop = shop.set_column(3, "timestamp", shop["timestamp"].cast(pa.int64()))
    own = shop.slice(len(shop) // 2, 40)
    own = own.set_column(0, "user_id", pa.array([WHO] * len(own)))
    pyarrow.csv.write_csv(pa.concat_tables([shop, own]), source)
    with source.open("a") as file:
        file.write(f'"{WHO}","","view",{shop["timestamp"][0]}\n')
    report = import_events([source], bucket)
    assert report.rejected == {"missing": 1}
    return int(shop["timestamp"][-1].as_py())


def train_on(folder: Path, mlflow_uri: str) -> str:
    """The version that a training job published."""
    base = folder / "job"
    (base / "input/data").mkdir(parents=True)
    (base / "input/data/events").symlink_to(folder / "bucket/events")
    (base / "input/config").mkdir()
    (base / "input/config/hyperparameters.json").write_text(json.dumps(HYPERPARAMETERS))
    environment = {
        **os.environ,
        "SAGEMAKER_BASE_DIR": str(base),
        "MLFLOW_TRACKING_URI": mlflow_uri,
        "RECOMMENDATIONS_URI": str(folder / "bucket"),
        "GIT_PYTHON_REFRESH": "quiet",
    }
    command = [sys.executable, "-m", "training.container"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert WHO not in done.stdout + done.stderr
    (version,) = published_versions(Folder(folder / "bucket"))
    return version
