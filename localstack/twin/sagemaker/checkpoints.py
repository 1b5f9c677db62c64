"""A job's folder for checkpoints, which SageMaker keeps the same as a place in S3."""

from pathlib import Path

from twin.sagemaker.s3_prefix import S3Prefix


class Checkpoints:
    """From S3 before a run, to S3 while it runs. What disappears from the folder stays in S3."""

    def __init__(self, folder: Path, place: S3Prefix) -> None:
        self._folder = folder
        self._place = place
        self._known: dict[Path, tuple[int, int]] = {}

    def restore(self) -> None:
        """Bring what earlier runs left."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._place.below("").download(self._folder)
        self._known = self._states()

    def save(self) -> bool:
        """Take what has changed to S3; whether anything had."""
        changed = {file: state for file, state in self._states().items() if self._known.get(file) != state}
        for file, state in changed.items():
            try:
                # Read at once: the program may be writing to it.
                self._place.below(file.relative_to(self._folder).as_posix()).put(file.read_bytes())
            except FileNotFoundError:  # renamed or deleted in between
                continue
            self._known[file] = state
        return bool(changed)

    def _states(self) -> dict[Path, tuple[int, int]]:
        """When each file was changed and how long it is."""
        states = {}
        for file in self._folder.rglob("*"):
            try:
                stat = file.stat()
            except FileNotFoundError:
                continue
            if file.is_file():
                states[file] = (stat.st_mtime_ns, stat.st_size)
        return states
