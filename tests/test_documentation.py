"""The documentation fails here when it is wrong."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from contract import metrics
from lambdas.housekeeping.settings import Settings as HousekeepingSettings
from lambdas.jwt_authorizer.settings import Settings as AuthorizerSettings
from lambdas.migrate_database.settings import Settings as SetUpSettings
from lambdas.recommendations_api.settings import Settings
from training.settings import Environment, Hyperparameters

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [README, *(page.read_text() for page in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize(
    "target",
    sorted({name for text in DOCUMENTS for name in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)}),
)
def test_every_make_target_that_is_named_exists(target: str) -> None:
    known = subprocess.run(
        ["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert re.search(rf"^  make {target}\b", known, re.MULTILINE)


# training.container takes no arguments: files tell it everything, and it is tested as a job.
PROGRAMS = {
    name for text in DOCUMENTS for name in re.findall(r"python -m ((?:infra|training|lambdas)[\w.]+)", text)
} - {"training.container"}


@pytest.mark.parametrize("module", sorted(PROGRAMS))
def test_every_program_that_is_named_tells_its_usage(module: str) -> None:
    told = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert "usage: python -m " in told.stdout


@pytest.mark.parametrize("folder", re.findall(r"^\| `([a-z]+)/` \|", README, re.MULTILINE))
def test_every_folder_in_the_table_exists_or_is_said_to_come(folder: str) -> None:
    (line,) = [line for line in README.splitlines() if line.startswith(f"| `{folder}/`")]
    assert (ROOT / folder).is_dir() != line.endswith("| to come |")


def test_the_table_of_metrics_says_of_each_what_the_contract_says_and_names_no_other() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    assert [line for line in page.splitlines() if line.startswith("| `")] == [
        row_of(metric) for metric in metrics.METRICS
    ]


def row_of(metric: metrics.Metric) -> str:
    labels = [
        f"`{label.name}`: {', '.join(f'`{value}`' for value in label.values) or label.bound}"
        for label in metric.labels
    ]
    return f"| `{metric.name}` | {metric.type} | {metric.unit} | {'; '.join(labels) or '–'} | {metric.help} |"


def test_every_metric_that_is_named_anywhere_exists() -> None:
    pushed = "|".join(sorted({metric.name.split("_")[1] for metric in metrics.METRICS}))
    named = {name for text in DOCUMENTS for name in re.findall(rf"\bshop_(?:{pushed})_[a-z_]*[a-z]\b", text)}
    known = {metric.name for metric in metrics.METRICS}
    assert {
        name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for name in named
    } <= known


@pytest.mark.parametrize(
    ("model", "is_environment"),
    [
        (Settings, True),
        (HousekeepingSettings, True),
        (SetUpSettings, True),
        (AuthorizerSettings, True),
        (Environment, True),
        (Hyperparameters, False),
    ],
)
def test_every_setting_is_documented_with_its_default(model: type[BaseModel], is_environment: bool) -> None:
    page = (ROOT / "docs/settings.md").read_text()
    for name, field in model.model_fields.items():
        value = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        default = "–" if value in (None, "") else f"`{value}`"
        shown = "required" if field.is_required() else default
        told = " ".join((field.description or "").split())
        assert f"| `{name.upper() if is_environment else name}` | {shown} | {told} |" in page


def test_every_link_between_documents_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name} links {link}"


def test_no_lock_names_the_host_of_a_package_index() -> None:
    for lock in (ROOT / "locks").glob("*.txt"):
        assert "://" not in lock.read_text(), lock.name
