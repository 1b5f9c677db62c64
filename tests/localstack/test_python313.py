"""The Python that LocalStack runs on: found where it is, and asked for where it is not."""

from pathlib import Path

import pytest
from twin import python313
from twin.errors import MissingProgramError
from twin.python313 import fetch_python313, find_python313


def program(path: Path, says: str, status: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {says}\nexit {status}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def nothing_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setattr(python313, "uv", lambda: str(program(tmp_path / "uv", "none", status=2)))
    monkeypatch.delenv("PYTHON313", raising=False)


def test_the_one_that_is_named_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON313", str(program(tmp_path / "mine", "3.13")))
    program(tmp_path / "bin/python3.13", "3.13")
    assert find_python313() == tmp_path / "mine"


def test_one_that_is_named_and_is_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON313", str(program(tmp_path / "mine", "3.12")))
    program(tmp_path / "bin/python3.13", "3.13")
    with pytest.raises(MissingProgramError, match=r"PYTHON313=.*/mine is no Python 3\.13 that runs"):
        find_python313()


def test_a_shim_that_leads_nowhere_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path / "bin/python3.13", "no such version", status=127)
    installed = program(tmp_path / "pyenv/versions/3.13.1/bin/python3.13", "3.13")
    assert find_python313() == installed


def test_the_last_is_uvs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_uv = program(tmp_path / "of-uv", "3.13")
    monkeypatch.setattr(python313, "uv", lambda: str(program(tmp_path / "uv", str(of_uv))))
    assert find_python313() == of_uv


def test_without_one_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(MissingProgramError, match=r"no Python 3\.13.*uv python install 3\.13.*PYTHON313="):
        find_python313()


def test_one_that_is_nowhere_is_downloaded_by_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloaded = tmp_path / "downloaded"
    uv = tmp_path / "uv"
    uv.write_text(
        f"#!/bin/sh\nif [ $2 = install ]; then printf '#!/bin/sh\\necho 3.13' > {downloaded}; "
        f"chmod +x {downloaded}; else test -e {downloaded} && echo {downloaded}; fi\n"
    )
    uv.chmod(0o755)
    monkeypatch.setattr(python313, "uv", lambda: str(uv))
    assert fetch_python313() == downloaded


def test_where_uv_cannot_download_it_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = program(tmp_path / "uv", "no way out >&2", status=2)
    monkeypatch.setattr(python313, "uv", lambda: str(uv))
    with pytest.raises(MissingProgramError, match="PYTHON313=.*; uv could not download it: no way out"):
        fetch_python313()
