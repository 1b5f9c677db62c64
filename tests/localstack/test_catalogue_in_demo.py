"""What the demo does with the catalogue."""

import os
import sys
from pathlib import Path

import pytest
from twin import training_job
from twin.demo import items
from twin.training_job import run_training_job

from tests.lambdas.versions import execute, load_version
from training.storage import Folder

LIST_CHANNELS = """
import os, pathlib
data = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"]) / "input/data"
found = sorted(str(file.relative_to(data)) for file in data.rglob("*") if file.is_file())
(data.parents[1] / "model/found").write_text(chr(10).join(found))
"""


def test_visitors_look_at_what_is_to_be_had_and_like_something_else(database: str) -> None:
    names = [f"item-{number}" for number in range(20)]
    similar = {name: [(name, 0.5), ("other", 0.5)] for name in names}
    load_version(database, "v", similar={**similar, "like-nothing": [("like-nothing", 0.5)]})
    assert set(items(database, 20)) == set(names)
    for name in names[:15]:
        execute(database, "INSERT INTO items (item_id, available) VALUES (%s, %s)", name, name in names[:5])
    assert set(items(database, 20)) == {*names[:5], *names[15:]}


@pytest.mark.parametrize("has_catalogue", [True, False])
def test_the_job_has_a_channel_of_the_catalogue_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_catalogue: bool
) -> None:
    monkeypatch.setattr(training_job, "PROGRAM", (sys.executable, "-c", LIST_CHANNELS))
    bucket = Folder(tmp_path / "bucket")
    bucket.write("events/manifests/a.json", b"{}")
    if has_catalogue:
        bucket.write("catalogue/v/manifest.json", b"{}")
    model = run_training_job(
        name="job",
        events=Folder(bucket.uri_of("events")),
        catalogue=Folder(bucket.uri_of("catalogue")),
        hyperparameters={},
        environment=dict(os.environ),
        folder=tmp_path / "job",
        log=tmp_path / "log",
    )
    of_catalogue = ["catalogue/v/manifest.json"] if has_catalogue else []
    assert (model / "found").read_text().splitlines() == [*of_catalogue, "events/manifests/a.json"]
