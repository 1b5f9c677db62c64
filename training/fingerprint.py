"""What a result depends on beside events and settings: the code, and the libraries that compute."""

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[1]
_CODE: Final = ("contract", "training")
_LIBRARIES: Final = ("catboost", "duckdb", "ibis-framework", "implicit", "numpy", "pyarrow", "scipy")


@cache
def code_fingerprint() -> str:
    """SHA-256 over all that `contract/` and `training/` hold, Python's version and those of the libraries."""
    digest = hashlib.sha256(platform.python_version().encode())
    for name in _LIBRARIES:
        digest.update(f"{name}=={version(name)}\n".encode())
    for folder in _CODE:
        for file in sorted((_ROOT / folder).rglob("*")):
            if file.suffix in {".py", ".html"}:
                digest.update(f"{file.relative_to(_ROOT)}\n".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def inputs_fingerprint(*inputs: str) -> str:
    """One name for several inputs, in their order; 32 hexadecimal digits."""
    digest = hashlib.sha256()
    for each in inputs:
        digest.update(hashlib.sha256(each.encode()).digest())
    return digest.hexdigest()[:32]
