"""What share of a whole retrain its report takes, in a training job as SageMaker runs it."""

import os
import tempfile
from pathlib import Path

from mlflow.tracking import MlflowClient
from twin.parts import Parts, running_parts
from twin.training_job import run_training_job

from benchmarks.bars import FOLDER, Bar, write
from contract.gate import GATE_NAME, GateDecision
from contract.s3_layout import CATALOGUE_PREFIX, EVENTS_PREFIX, MODEL_REPORT_NAME
from training.generate_shop import generate_shop
from training.import_events import import_events
from training.publish import read_manifest
from training.shop.simulation import ShopSettings
from training.storage import Folder

SHOPS = {
    "report_share_of_retrain": ShopSettings(users=10_000, items=2_000, days=90, seed=7),
    "report_share_of_small_retrain": ShopSettings(users=2_000, items=500, days=60, seed=7),
}
"""By the bar that is told of it: a small shop's retrain is over before a dozen plots are drawn."""
LIMITS = {"report_share_of_retrain": 0.10, "report_share_of_small_retrain": None}


def run() -> list[Bar]:
    """Train on each shop."""
    bars, raw, page_mb = [], {}, 0.0
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        running_parts(FOLDER, tell=lambda _: None) as parts,
    ):
        os.environ.update(parts.aws)
        for name, shop in SHOPS.items():
            model = _train(parts, shop, Path(folder) / name, out=f"{parts.bucket_uri}/{name}")
            seconds = _seconds(parts, model)
            page_mb = max(page_mb, (model / MODEL_REPORT_NAME).stat().st_size / 1e6)
            bars.append(Bar(name, seconds["report"] / sum(seconds.values()), LIMITS[name], "lower"))
            raw[name] = seconds
    bars.append(Bar("report_mb", page_mb, 5, "lower"))
    write("report", bars, raw)
    return bars


def _train(parts: Parts, shop: ShopSettings, folder: Path, *, out: str) -> Path:
    """The folder of the model."""
    folder.mkdir()
    events, items = folder / "events.parquet", folder / "items.parquet"
    generate_shop(shop, events, catalogue=items)
    import_events([events], out, catalogue=[items])
    return run_training_job(
        name=folder.name,
        events=Folder(f"{out}/{EVENTS_PREFIX}"),
        catalogue=Folder(f"{out}/{CATALOGUE_PREFIX}"),
        hyperparameters={},
        environment=parts.environment(),
        folder=folder / "job",
        log=FOLDER / "training.log",
    )


def _seconds(parts: Parts, model: Path) -> dict[str, float]:
    """What each step of a job took, by name, as MLflow has it."""
    decision = GateDecision.from_json((model / GATE_NAME).read_bytes())
    run_id = read_manifest(Folder(parts.bucket_uri), decision.version).mlflow["run_id"]
    metrics = MlflowClient(parts.mlflow_uri).get_run(run_id).data.metrics
    return {
        name.removeprefix("seconds."): value for name, value in metrics.items() if name.startswith("seconds.")
    }
