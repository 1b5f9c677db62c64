"""The functions' archives: the same bytes for the same input, and none made twice."""

import shutil
from pathlib import Path

import pytest

from infra import archives as module
from infra.archives import Archives, fingerprint
from infra.errors import MissingToolError
from lambdas import archive
from tests.infra.conftest import stand_in

NAME = "jwt_authorizer"


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = Archives(tmp_path / "one").path(NAME), Archives(tmp_path / "other").path(NAME)
    assert one.name == other.name
    assert one.read_bytes() == other.read_bytes()


def test_one_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    made: list[str] = []

    def make(name: str, output: Path) -> None:
        made.append(name)
        stand_in(name, output)

    archives = Archives(tmp_path, make=make)
    assert archives.path(NAME) == archives.path(NAME) == Archives(tmp_path, make=make).path(NAME)
    assert made == [NAME]


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project's parts that archives are made of."""
    project = tmp_path / "project"
    for part in ("contract", "lambdas", "locks"):
        shutil.copytree(archive.PROJECT / part, project / part, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(archive, "PROJECT", project)
    monkeypatch.setattr(archive, "__file__", str(project / "lambdas/archive.py"))
    return project


def test_a_changed_file_gives_another_name_to_those_that_hold_it(copied: Path) -> None:
    before = {name: fingerprint(name) for name in archive.FUNCTIONS}
    (copied / "lambdas/jwt_authorizer/tokens.py").write_text("# changed\n")
    changed = {name for name in archive.FUNCTIONS if fingerprint(name) != before[name]}
    assert changed == {NAME}


def test_a_changed_lock_gives_another_name(copied: Path) -> None:
    before = fingerprint("recommendations_api")
    with (copied / "locks/api.txt").open("a") as lock:
        lock.write("# another pin\n")
    assert fingerprint("recommendations_api") != before


def test_what_python_leaves_beside_the_code_changes_nothing(copied: Path) -> None:
    before = fingerprint(NAME)
    (copied / "lambdas/jwt_authorizer/__pycache__").mkdir()
    (copied / "lambdas/jwt_authorizer/__pycache__/tokens.cpython-312.pyc").write_bytes(b"compiled")
    assert fingerprint(NAME) == before


def test_a_missing_lock_is_told(copied: Path, tmp_path: Path) -> None:
    (copied / "locks/api.txt").unlink()
    with pytest.raises(MissingToolError, match=r"^locks/api\.txt is missing"):
        Archives(tmp_path).path("recommendations_api")


def test_without_uv_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "uv", lambda: str(tmp_path / "uv"))
    with pytest.raises(MissingToolError, match="uv cannot be started.*\n`make setup` installs uv"):
        Archives(tmp_path).path(NAME)


def test_an_archive_that_could_not_be_made_leaves_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(name: str, output: Path) -> None:
        stand_in(name, output)
        raise MissingToolError("interrupted")

    with pytest.raises(MissingToolError, match="interrupted"):
        Archives(tmp_path, make=fails).path(NAME)
    assert not list(tmp_path.glob("*.zip"))
    assert Archives(tmp_path, make=stand_in).path(NAME).is_file()


def test_what_is_made_for_this_machine_has_another_name_and_the_same_folder(tmp_path: Path) -> None:
    for_lambda = Archives(tmp_path, make=stand_in)
    here = for_lambda.made_for(module.this_machine())
    assert here.path(NAME).parent == for_lambda.path(NAME).parent
    assert here.path(NAME) != for_lambda.path(NAME)


def test_this_machine_runs_functions_with_their_own_python_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive, "find_interpreter", lambda _: "/somewhere/python")
    assert module.this_machine() == archive.Target(python="3.12")
    monkeypatch.setattr(archive, "find_interpreter", lambda _: None)
    assert module.this_machine() == archive.HERE


def test_what_is_made_for_lambda_is_made_for_arm64_and_its_python() -> None:
    assert (module.TARGET.python, module.TARGET.platform) == ("3.12", "aarch64-manylinux_2_28")
