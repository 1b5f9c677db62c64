"""One start of the training program under the `/opt/ml` contract, in a folder that takes its place.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
"""

import json
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twin.processes import ending_with_parent, stop_group


class Container:
    """The folder `base` and the process in it, which ends with this one however this one ends."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.model = base / "model"
        self._process: subprocess.Popen[bytes] | None = None
        for folder in ("input/config", "input/data", "model", "output/data"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        self._failure.unlink(missing_ok=True)

    def channel(self, name: str) -> Path:
        """Where the channel's files belong."""
        return self.base / "input/data" / name

    def configure(self, name: str, content: Any) -> None:
        """Write `/opt/ml/input/config/<name>.json`."""
        (self.base / f"input/config/{name}.json").write_text(json.dumps(content))

    def start(self, program: Sequence[str], environment: Mapping[str, str], *, log: Path) -> None:
        """Start the program; what it writes is appended to `log`."""
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                # A server that was killed has nobody left to care for its jobs: they are killed as well.
                [*ending_with_parent(signal.SIGKILL), *program, "train"],
                env={**environment, "SAGEMAKER_BASE_DIR": str(self.base)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit status as Docker tells it, or None where the program is still running after `timeout`."""
        assert self._process is not None, "not started"  # noqa: S101 - a mistake of the caller's
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        return status if status >= 0 else 128 - status

    def terminate(self) -> None:
        """Ask the program to end, as stopping a job does."""
        if self._process:
            self._process.terminate()

    def kill(self) -> None:
        """End the program and whatever it started; harmless when it has ended or was never started."""
        self.stop(timeout=0)

    def stop(self, *, timeout: float) -> None:
        """`terminate`, and `kill` when that took too long."""
        process = self._process
        if process:
            stop_group(process.pid, signal.SIGTERM, lambda: process.poll() is not None, timeout=timeout)
            process.wait()

    @property
    def failure(self) -> str | None:
        """Why the program failed, where it told."""
        return self._failure.read_text(errors="replace") if self._failure.exists() else None

    @property
    def _failure(self) -> Path:
        return self.base / "output/failure"
