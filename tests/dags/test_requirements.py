"""What MWAA installs: it goes with Airflow's constraints, which MWAA itself only says in a log."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from uv import find_uv_bin

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "dags/requirements.txt"
CONSTRAINTS = ROOT / "dags/constraints.txt"
LOCK = ROOT / "locks/dags.txt"
AIRFLOW = ROOT / "build/airflow/bin/python"
MWAA_PYTHON = "3.12"
ASKED = ("apache-airflow==3.2.1", "apache-airflow-providers-amazon[aiobotocore]==9.25.0")


def pins(text: str) -> dict[str, str]:
    """By package, its version: of requirements, of constraints and of a lock."""
    lines = re.findall(r"^[A-Za-z0-9][^\s;\\#]*==[^\s;\\#]+", text, re.MULTILINE)
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in requirements}


def contradictions(requirements: str, constraints: str) -> list[str]:
    """Requirements that another version is constrained to."""
    constrained = pins(constraints)
    return [
        f"{name}=={version}: Airflow has {constrained[name]}"
        for name, version in pins(requirements).items()
        if constrained.get(name, version) != version
    ]


def uv(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`uv pip …`, whatever it ends with."""
    return subprocess.run([find_uv_bin(), "pip", *arguments], capture_output=True, text=True, check=False)


def resolved(requirements: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """What comes of the requirements on MWAA; skips where no index of packages can be asked."""
    asked = folder / "asked.in"
    asked.write_text("\n".join(ASKED))
    platform = ("--python-version", MWAA_PYTHON, "--python-platform", "x86_64-manylinux_2_34")
    ended = uv(
        *("compile", "--no-header", "--no-annotate", "--no-python-downloads", "--python", sys.executable),
        *(*platform, "--constraint", str(CONSTRAINTS), str(asked), str(requirements)),
    )
    if "Failed to fetch" in ended.stderr:
        pytest.skip(f"no index of packages can be asked: {' '.join(ended.stderr.split())}")
    return ended


def test_no_requirement_contradicts_a_constraint() -> None:
    assert len(pins(REQUIREMENTS.read_text())) == len(
        [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    )
    assert contradictions(REQUIREMENTS.read_text(), CONSTRAINTS.read_text()) == []


def test_a_requirement_that_contradicts_a_constraint_would_be_told() -> None:
    changed = REQUIREMENTS.read_text().replace("pyarrow==23.0.1", "pyarrow==24.0.0")
    assert contradictions(changed, CONSTRAINTS.read_text()) == ["pyarrow==24.0.0: Airflow has 23.0.1"]


def test_the_lock_is_of_these_requirements_and_these_constraints() -> None:
    lock = LOCK.read_text()
    assert contradictions(lock, CONSTRAINTS.read_text()) == []
    assert pins(REQUIREMENTS.read_text()).items() <= pins(lock).items()
    packages = re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)
    by_requirement = [text for text in packages if "-r dags/requirements.txt" in text]
    assert {name for text in by_requirement for name in pins(text)} == set(pins(REQUIREMENTS.read_text()))
    # Nothing has been constrained that is not there.
    assert {"apache-airflow", "pydantic", "sqlalchemy"} <= set(pins(CONSTRAINTS.read_text()))


def test_what_the_lock_installs_goes_together() -> None:
    if not AIRFLOW.exists():
        pytest.skip("Airflow is not installed: `make build/airflow/installed` does it")
    ended = uv("check", "--python", str(AIRFLOW))
    assert ended.returncode == 0, ended.stderr
    installed = pins(uv("freeze", "--python", str(AIRFLOW)).stdout)
    assert pins(REQUIREMENTS.read_text()).items() <= installed.items()


def test_mwaa_can_install_the_requirements(tmp_path: Path) -> None:
    ended = resolved(REQUIREMENTS, tmp_path)
    assert ended.returncode == 0, ended.stderr
    found = pins(ended.stdout)
    assert pins(REQUIREMENTS.read_text()).items() <= found.items()
    # The lock may hold more: packages of other platforms and of Python 3.11.
    locked = pins(LOCK.read_text())
    assert {name: version for name, version in found.items() if locked.get(name) != version} == {}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("pyarrow==24.0.0", "pyarrow==23.0.1"),
        # No constraint names it, but it takes an older packaging than Airflow has.
        ("mlflow-skinny==2.22.0", "packaging==26.1"),
    ],
)
def test_mwaa_could_not_install_what_does_not_resolve(tmp_path: Path, line: str, why: str) -> None:
    changed = tmp_path / "requirements.txt"
    name = line.partition("==")[0]
    kept = [each for each in REQUIREMENTS.read_text().splitlines() if not each.startswith(f"{name}==")]
    changed.write_text("\n".join([*kept, line]))
    ended = resolved(changed, tmp_path)
    assert ended.returncode != 0
    assert "No solution found" in ended.stderr
    assert why in " ".join(ended.stderr.split())
