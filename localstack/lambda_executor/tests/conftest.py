from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lambda_executor import Function


class Code:
    """A function's code in a temporary folder, and the functions that were made of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.functions: list[Function] = []

    def function(self, source: str, **settings: Any) -> Function:
        (self.folder / "app.py").write_text(source)
        function = Function(handler="app.handler", code=self.folder, **settings)
        self.functions.append(function)
        return function


@pytest.fixture
def code(tmp_path: Path) -> Iterator[Code]:
    folder = tmp_path / "code"
    folder.mkdir()
    made = Code(folder)
    yield made
    for function in made.functions:
        function.stop()
