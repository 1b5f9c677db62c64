"""Which Python runs a function."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lambda_executor import NoInterpreterError, find_python
from lambda_executor.interpreter import version_of

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"


def put_program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where no interpreter is but this one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def test_the_one_that_is_found_has_the_version_and_runs_the_function(code: Any) -> None:
    source = "import sys\ndef handler(event, context): return sys.version_info[:2]"
    function = code.function(source, python=find_python(f"python{OWN}"))
    assert json.loads(function.invoke(b"0").payload) == list(sys.version_info[:2])


def test_a_shim_that_only_pretends_is_passed_over(home: Path) -> None:
    put_program(home / "bin", "python3.99", "exit 127")
    real = put_program(home / ".pyenv/versions/3.99.1/bin", "python3.99", "echo 3.99 True")
    assert find_python("python3.99") == real


def test_one_without_the_runtime_client_is_named_with_what_to_install(home: Path) -> None:
    bare = put_program(home / "bin", "python3.99", "echo 3.99 False")
    with pytest.raises(NoInterpreterError, match=f"{bare} -m pip install awslambdaric"):
        find_python("python3.99")


@pytest.mark.parametrize("runtime", ["python3.99", "nodejs22.x", "3.12", "python3"])
def test_what_is_not_there_or_no_python_is_told(home: Path, runtime: str) -> None:
    with pytest.raises(NoInterpreterError, match=r"3\.99 was found|is no runtime of Python"):
        find_python(runtime)


def test_an_interpreters_version_is_asked_of_itself(home: Path) -> None:
    assert version_of(sys.executable) == OWN
    assert version_of(str(put_program(home, "other", "echo 3.7 False"))) == "3.7"
    with pytest.raises(NoInterpreterError, match="does not run"):
        version_of(str(home / "nothing"))


def test_a_real_interpreter_without_the_client_is_told_apart(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")],
        check=True,
        env=dict(os.environ),
    )
    from lambda_executor.interpreter import _probe  # noqa: PLC0415 - no part of the interface

    assert _probe(str(tmp_path / "bare" / "bin" / "python")) == (OWN, False)
