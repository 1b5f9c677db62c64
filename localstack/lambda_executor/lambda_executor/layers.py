"""A function's layers, laid over each other as Lambda lays them over /opt."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path


class Opt:
    """One folder with what is in all layers; of files with the same name it has the last layer's.

    Raises NotADirectoryError where a layer is no folder.
    """

    def __init__(self, layers: Sequence[Path]) -> None:
        for layer in layers:
            if not layer.is_dir():
                raise NotADirectoryError(f"the layer {layer} is not a folder: unpack its archive into one")
        self._merged: tempfile.TemporaryDirectory[str] | None = None
        self.folder: Path | None = None
        if len(layers) == 1:
            self.folder = layers[0].absolute()
        elif layers:
            self._merged = tempfile.TemporaryDirectory(prefix="lambda-layers-")
            self.folder = Path(self._merged.name)
            for layer in layers:
                shutil.copytree(layer.absolute(), self.folder, copy_function=_link, dirs_exist_ok=True)

    def close(self) -> None:
        """Remove what was made."""
        if self._merged is not None:
            self._merged.cleanup()


def _link(source: str, target: str) -> None:
    # A layer may have hundreds of megabytes, so that copies would cost more than the start of a process.
    file = Path(target)
    file.unlink(missing_ok=True)
    file.symlink_to(source)
