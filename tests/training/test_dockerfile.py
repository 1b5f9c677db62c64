"""The training image without building it: nothing in it moves, and what it copies suffices to train.

`make training-image` builds it and trains in it; hadolint reads it in `make check`.
"""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "locks/training.txt"
PROGRAM = """
import importlib, json, pkgutil, sys

class OnlyLocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)

root, packages, refused = json.loads(sys.argv[1])
refused = set(refused)
sys.path += [root, packages]
sys.meta_path.insert(0, OnlyLocked())
import training.container
for module in pkgutil.walk_packages(training.__path__, "training."):
    importlib.import_module(module.name)
print(sum(name.startswith("training.") for name in sys.modules))
"""


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Each instruction and its arguments, in order; comments left out, continued lines joined."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


INSTRUCTIONS = instructions((ROOT / "training/Dockerfile").read_text())


def arguments_of(name: str) -> list[str]:
    return [rest for instruction, rest in INSTRUCTIONS if instruction == name]


def copied_from_checkout() -> list[str]:
    copies = [arguments.split() for arguments in arguments_of("COPY")]
    return [path for words in copies if not words[0].startswith("--from=") for path in words[:-1]]


def test_all_stages_stand_on_one_base_that_is_pinned_to_a_release() -> None:
    base = arguments_of("ARG")[0]
    assert re.fullmatch(r"BASE=python:\d+\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", base)
    assert {stage.split()[0] for stage in arguments_of("FROM")} == {"${BASE}"}


def test_packages_of_python_are_wheels_that_the_lock_knows_by_hash() -> None:
    (install,) = [arguments for arguments in arguments_of("RUN") if "pip install" in arguments]
    words = install.split("pip install")[1].split()
    assert {"--require-hashes", "--no-deps", "--no-cache-dir"} <= set(words)
    assert words[words.index("--only-binary") + 1] == ":all:"
    lock = words[words.index("--requirement") + 1]
    assert f"locks/training.txt {lock}" in arguments_of("COPY")


def test_packages_of_debian_are_pinned_and_none_is_a_compiler() -> None:
    installs = [arguments for arguments in arguments_of("RUN") if "apt-get install" in arguments]
    words = [word for each in installs for word in each.split("install", 1)[1].split("&&")[0].split()]
    packages = [word.strip('"') for word in words if not word.startswith("--")]
    assert [package.partition("=")[0] for package in packages] == ["libgomp1"]
    assert all(re.search(r"=\d", package) for package in packages)


def test_the_build_sees_what_is_copied_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert sorted(rule[1:] for rule in rules if rule.startswith("!")) == sorted(copied_from_checkout())


def test_the_program_gets_signals_itself_and_is_not_root() -> None:
    assert INSTRUCTIONS[-1][0] == "ENTRYPOINT"
    assert json.loads(INSTRUCTIONS[-1][1]) == ["python", "-m", "training.container"]
    assert not arguments_of("CMD")  # SageMaker would put `train` in its place
    assert arguments_of("USER") == ["${USER_ID}"]
    assert "USER_ID=1000" in arguments_of("ARG")


def test_the_build_ends_by_importing_the_program_as_its_user() -> None:
    names = [name for name, _ in INSTRUCTIONS]
    last_run = len(names) - 1 - names[::-1].index("RUN")
    assert INSTRUCTIONS[last_run][1] == 'python -c "import training.container"'
    assert last_run > names.index("USER")


@pytest.fixture
def program_folder(tmp_path: Path) -> Path:
    """What is copied into the image, as code, in a folder of its own."""
    for name in copied_from_checkout():
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "notebooks", "Dockerfile")
            shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    return tmp_path


def test_all_of_the_training_imports_with_the_locked_packages_alone(program_folder: Path) -> None:
    imported = _import_all(program_folder)
    assert imported.returncode == 0, imported.stderr
    assert int(imported.stdout) > 100


@pytest.mark.parametrize("name", ["moto", "lambdas"])
def test_whatever_else_it_imported_would_be_noticed(program_folder: Path, name: str) -> None:
    (program_folder / "training/__init__.py").write_text(f"import {name}\n")
    imported = _import_all(program_folder)
    assert imported.returncode != 0
    assert f"{name} is not in the image" in imported.stderr


def _import_all(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Import every module below `folder`, where packages that the lock lacks can't be found."""
    locked = {_plain(name) for name in re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE)}
    refused = [
        name
        for name, distributions in packages_distributions().items()
        if not locked & {_plain(distribution) for distribution in distributions}
        and name not in sys.stdlib_module_names
        and not (folder / name).exists()
    ]
    # -S: the checkout, which is installed in place, is not on the path then.
    return subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            PROGRAM,
            json.dumps([str(folder), sysconfig.get_path("purelib"), refused]),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
