"""What every stage synthesizes to: once a session, with the security rules on, and with stand-ins for archives."""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from infra.archives import Archives
from infra.config import STAGES, Config
from infra.stage import synthesize

Template = Mapping[str, Any]
Templates = Mapping[str, Mapping[str, Template]]


def stand_in(name: str, output: Path) -> None:
    """An archive that is made at once; what is really in one, test_api_archive.py looks at."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w") as packed:
        packed.writestr(zipfile.ZipInfo("name.txt"), name)


@pytest.fixture(scope="session")
def stages_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each stage, as `cdk synth` leaves it; made once, by whichever process comes first."""
    base: Path = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, whole = shared / "stages", shared / "stages.whole"
    with FileLock(shared / "stages.lock"):
        if not whole.exists():
            archives = Archives(folder / "archives", make=stand_in)
            for stage in STAGES:
                synthesize({"stage": stage}, folder / stage, archives)
            whole.touch()
    return folder


@pytest.fixture(scope="session")
def templates(stages_folder: Path) -> Templates:
    """By stage, and by the noun that ends a stack's name."""
    return {stage: read_templates(stages_folder / stage, stage) for stage in STAGES}


def read_templates(folder: Path, stage: str) -> dict[str, Template]:
    prefix = Config.of({"stage": stage}).prefix
    return {
        path.name.removeprefix(f"{prefix}-").removesuffix(".template.json"): json.loads(path.read_text())
        for path in sorted(folder.glob(f"{prefix}-*.template.json"))
    }


def resources(template: Template, kind: str) -> dict[str, Any]:
    """The resources of a kind, such as `AWS::S3::Bucket`, by logical id."""
    return {name: resource for name, resource in template["Resources"].items() if resource["Type"] == kind}
