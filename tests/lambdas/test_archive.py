"""What is deployed: unpacked where nothing else is, and entered."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lambdas import archive
from lambdas.archive import FUNCTIONS, HERE, LAMBDA, ArchiveError, Contents, Target

ENVIRONMENT = {
    "DATABASE_URL": "postgresql://127.0.0.1/nowhere",
    "DATABASE_TIMEOUT_MS": "100",
    "JWT_ISSUER": "https://issuer.test",
    "JWT_AUDIENCE": "https://api.shop.test",
}
HEAVY = {"pandas", "numpy", "boto3", "botocore", "pyarrow", "awslambdaric"}

# 3.12's, as https://docs.python.org/3.12/library/importlib.html#importlib.util.MAGIC_NUMBER is for good.
MAGIC_OF_3_12 = (3531).to_bytes(2, "little") + b"\r\n"
UNCHECKED_HASH = (1).to_bytes(4, "little")


@pytest.fixture(scope="module", params=FUNCTIONS)
def unpacked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A function's archive for this machine, as Lambda unpacks it."""
    folder: Path = tmp_path_factory.mktemp("archives") / request.param
    output = folder.with_suffix(".zip")
    archive.build(request.param, output, HERE)
    with zipfile.ZipFile(output) as packed:
        packed.extractall(folder)
    return folder


def run(folder: Path, program: str) -> str:
    """What a program prints that finds nothing but the folder and the standard library."""
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{program}"],
        env=ENVIRONMENT,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def entered(folder: Path) -> dict[str, Any]:
    """Modules that importing the handler brings in: their file, and whether they come compiled."""
    printed = run(
        folder,
        "import json, os\n"
        f"from lambdas.{folder.name}.handler import handler\n"
        "found = {n: m.__spec__ for n, m in sys.modules.items() if getattr(m, '__spec__', None)}\n"
        "print(json.dumps({n: [s.origin, bool(s.cached and os.path.exists(s.cached))]"
        " for n, s in found.items()}))",
    )
    modules: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return modules


def test_the_handler_needs_nothing_but_its_archive_and_stays_light(unpacked: Path) -> None:
    modules = entered(unpacked)
    assert not HEAVY & modules.keys()
    assert modules[f"lambdas.{unpacked.name}.handler"][0].startswith(str(unpacked))


def test_all_that_a_start_imports_comes_compiled(unpacked: Path) -> None:
    inside = {
        name: is_compiled
        for name, (file, is_compiled) in entered(unpacked).items()
        if file and file.startswith(str(unpacked)) and file.endswith(".py")
    }
    assert len(inside) > 20
    assert [name for name, is_compiled in inside.items() if not is_compiled] == []


def test_an_archive_holds_the_code_of_no_other_function(unpacked: Path) -> None:
    # These log as the API does, and housekeeping connects as it does.
    needed = {name: {name, "recommendations_api"} for name in ("housekeeping", "jwt_authorizer")}
    others = FUNCTIONS.keys() - needed.get(unpacked.name, {unpacked.name})
    assert not others & {path.name for path in (unpacked / "lambdas").iterdir()}
    assert {path.name for path in unpacked.iterdir()}.isdisjoint({"training", "tests", "benchmarks", "twin"})


def test_nothing_is_in_it_that_no_function_needs(unpacked: Path) -> None:
    names = [path.name for path in unpacked.rglob("*")]
    assert not [name for name in names if name.endswith(".pyi") or name in {"RECORD", ".lock", "tests"}]


def test_a_traceback_shows_the_lines_of_the_code(unpacked: Path) -> None:
    file, broken = "contract/events.py", "from contract.events import id_problem; id_problem(7)"
    if not (unpacked / file).exists():
        file, broken = "lambdas/deadline.py", "from lambdas.deadline import within; within(9, lambda: 1 / 0)"
    printed = run(
        unpacked,
        f"import traceback\ntry:\n    {broken}\nexcept Exception:\n    print(traceback.format_exc())",
    )
    lines = [line.strip() for line in (unpacked / file).read_text().splitlines()]
    last = printed.split(file)[-1].splitlines()[1].strip()
    assert last
    assert last in lines


@pytest.mark.parametrize("architecture", LAMBDA)
def test_the_api_for_lambda_weighs_at_most_ten_megabytes(architecture: str, tmp_path: Path) -> None:
    output = tmp_path / "function.zip"
    archive.build("recommendations_api", output, LAMBDA[architecture])
    assert output.stat().st_size <= 10_000_000
    with zipfile.ZipFile(output) as packed:
        names = packed.namelist()
    machine = {"arm64": "aarch64", "x86_64": "x86_64"}[architecture]
    libraries = [name for name in names if ".cpython-" in name and name.endswith(".so")]
    assert libraries
    assert all(f"cpython-312-{machine}" in name for name in libraries)
    assert "pydantic/main.py" in names


@pytest.mark.skipif(archive.find_interpreter(LAMBDA["arm64"]) is None, reason="there is no Python 3.12 here")
def test_lambdas_python_takes_what_is_compiled_without_looking_at_dates(
    small: Contents, tmp_path: Path
) -> None:
    target = LAMBDA["arm64"]
    archive.lay_out(small, tmp_path, target, interpreter=archive.find_interpreter(target))
    compiled = list(tmp_path.rglob("*.pyc"))
    assert len(compiled) == len(list(tmp_path.rglob("*.py")))
    assert {path.read_bytes()[:8] for path in compiled} == {MAGIC_OF_3_12 + UNCHECKED_HASH}


def test_the_same_input_makes_the_same_bytes(small: Contents, tmp_path: Path) -> None:
    packed = []
    for name in ("one", "a folder of another name"):
        folder = tmp_path / name
        folder.mkdir()
        archive.lay_out(small, folder, HERE, interpreter=sys.executable)
        archive.pack(folder, tmp_path / f"{name}.zip")
        packed.append((tmp_path / f"{name}.zip").read_bytes())
    assert packed[0] == packed[1]
    assert str(tmp_path).encode() not in b"".join(path.read_bytes() for path in folder.rglob("*.pyc"))


def test_without_an_interpreter_sources_have_to_do_and_that_is_said(
    small: Contents, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = Target(python="3.12")
    archive.lay_out(small, tmp_path, target, interpreter=None)
    assert not list(tmp_path.rglob("*.pyc"))
    assert (tmp_path / "contract/events.py").is_file()
    assert "no Python 3.12 was found" in caplog.text


def test_packages_that_cannot_be_had_are_an_error(
    small: Contents, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Contents(code=small.code, lock=str(tmp_path / "missing.txt"))
    with pytest.raises(ArchiveError, match=r"missing\.txt"):
        archive.lay_out(broken, tmp_path / "folder", HERE, interpreter=None)
    monkeypatch.setitem(vars(archive)["FUNCTIONS"], "recommendations_api", broken)
    assert archive.main(["recommendations_api", "--output", str(tmp_path / "function.zip")]) == 1
    assert "no archive was made: the packages of missing.txt" in capsys.readouterr().err
    assert not (tmp_path / "function.zip").exists()


def test_code_that_is_not_there_is_an_error(small: Contents, tmp_path: Path) -> None:
    broken = Contents(code=("contract", "lambdas/nothing"), lock=small.lock)
    with pytest.raises(ArchiveError, match=r"lambdas/nothing is not there"):
        archive.lay_out(broken, tmp_path / "folder", HERE, interpreter=None)


@pytest.fixture
def small(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """The contract and one package, quick to make."""
    lines = (archive.PROJECT / "locks/api.txt").read_text().split("annotated-doc==", 1)[1].splitlines()
    hashes = [line for line in lines[1:5] if "--hash" in line]
    lock = tmp_path_factory.mktemp("locks") / "small.txt"
    lock.write_text("\n".join([f"annotated-doc=={lines[0]}", *hashes]).rstrip(" \\") + "\n")
    return Contents(code=("contract", "lambdas/__init__.py"), lock=str(lock))
