from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.training.posted import ENSURE_TODAY
from training.storage import Folder


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """To a database that can take events."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(ENSURE_TODAY)
        yield connection


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A bucket that is a folder."""
    return Folder(tmp_path / "bucket")
