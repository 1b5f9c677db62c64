"""What a function finds of its layers."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

SITE = f"python/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
IMPORT = """
import importlib, os, shutil
def handler(event, context):
    return [importlib.import_module(name).WHERE for name in event]
"""


def layer(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def answer(function: Any, event: Any = None) -> Any:
    result = function.invoke(json.dumps(event).encode())
    assert not result.is_error, result
    return json.loads(result.payload)


def test_imports_find_both_folders_for_python_in_lambdas_order(code: Any, tmp_path: Path) -> None:
    files = {
        "python/plain.py": "WHERE = 'plain'",
        f"{SITE}/site.py": "WHERE = 'not the standard library'",
        f"{SITE}/packages.py": "WHERE = 'site-packages'",
        "python/packages.py": "WHERE = 'hidden by site-packages'",
        "python/own.py": "WHERE = 'hidden by the function'",
        "python/lib/python3.4/site-packages/other.py": "WHERE = 'of another version'",
    }
    (code.folder / "own.py").write_text("WHERE = 'function'")
    function = code.function(IMPORT, layers=[layer(tmp_path / "layer", files)])
    assert answer(function, ["plain", "packages", "own"]) == ["plain", "site-packages", "function"]
    result = function.invoke(b'["other"]')
    assert json.loads(result.payload)["errorType"] == "ModuleNotFoundError"


def test_programs_and_libraries_of_a_layer_are_found_after_the_systems(code: Any, tmp_path: Path) -> None:
    folder = layer(tmp_path / "layer", {"bin/made-up": "#!/bin/sh\necho from the layer"})
    (folder / "bin" / "made-up").chmod(0o755)
    source = """
import os, subprocess
def handler(event, context):
    said = subprocess.run(["made-up"], capture_output=True, text=True, check=True).stdout
    return [said, os.environ["PATH"].split(":")[-1], os.environ["LD_LIBRARY_PATH"].split(":")[-1]]
"""
    function = code.function(source, layers=[folder])
    assert answer(function) == ["from the layer\n", str(folder / "bin"), str(folder / "lib")]


def test_of_several_layers_the_last_lies_on_top_and_packages_are_joined(code: Any, tmp_path: Path) -> None:
    first = layer(
        tmp_path / "first",
        {
            "python/both.py": "WHERE = 'first'",
            "python/joined/__init__.py": "",
            "python/joined/one.py": "WHERE = 'one'",
        },
    )
    second = layer(
        tmp_path / "second", {"python/both.py": "WHERE = 'second'", "python/joined/two.py": "WHERE = 'two'"}
    )
    before = set(Path(tempfile.gettempdir()).glob("lambda-layers-*"))
    function = code.function(IMPORT, layers=[first, second])
    assert answer(function, ["both", "joined.one", "joined.two"]) == ["second", "one", "two"]
    assert (first / "python" / "both.py").read_text() == "WHERE = 'first'"
    function.stop()
    assert set(Path(tempfile.gettempdir()).glob("lambda-layers-*")) <= before


def test_a_layer_that_is_no_folder_is_named(code: Any, tmp_path: Path) -> None:
    (tmp_path / "layer.zip").touch()
    with pytest.raises(NotADirectoryError, match=r"layer\.zip is not a folder: unpack its archive"):
        code.function(IMPORT, layers=[tmp_path / "layer.zip"])


def test_a_path_that_the_function_sets_itself_is_left_alone(code: Any, tmp_path: Path) -> None:
    source = "import os\ndef handler(event, context): return os.environ['PATH']"
    folder = layer(tmp_path / "layer", {"bin/x": ""})
    assert answer(code.function(source, layers=[folder], environment={"PATH": os.defpath})) == os.defpath
