"""Temporary files that find no room: an error that says what to do."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pyarrow as pa

from training.errors import BadInputError

_NO_ROOM: Final = (
    "No space left on device",
    "File too large",
    "Disk quota exceeded",
    "max_temp_directory_size",
    "failed to offload data",
)
"""How DuckDB and the system say it. Through Arrow only the text of DuckDB's errors arrives."""


@contextmanager
def temporary_room(*also: type[Exception]) -> Iterator[None]:
    """Raise BadInputError where the disk for temporary files is full; `also` are errors that may tell it."""
    try:
        yield
    except (OSError, pa.ArrowException, *also) as error:
        text = " ".join(str(error).split())
        if not any(sign in text for sign in _NO_ROOM):
            raise
        raise BadInputError(
            f"{tempfile.gettempdir()}: too little room for temporary files: make some, or name a folder on a "
            f"larger disk in TMPDIR, then try again: {text}"
        ) from error
