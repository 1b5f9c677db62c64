"""A job's log in CloudWatch Logs."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from twin.sagemaker.metrics import Metrics

GROUP: Final = "/aws/sagemaker/TrainingJobs"

# A call of PutLogEvents takes 10,000 events and 1 MiB, 26 bytes of which go to each event's own needs.
_CHUNK_BYTES: Final = 256 * 1024
_EVENTS_A_CALL: Final = 5_000


class LogStream:
    """Takes what is appended to a file to the stream `name`, and shows each line to `metrics`."""

    def __init__(self, logs: Any, name: str, *, file: Path, metrics: Metrics) -> None:
        self._logs = logs
        self._name = name
        self._file = file
        self._metrics = metrics
        self._position = 0
        self.lines = 0
        """How many there are so far; empty ones aren't counted, because CloudWatch takes none."""

    def create(self) -> None:
        """Make the stream, and the group where it is the first one."""
        with contextlib.suppress(self._logs.exceptions.ResourceAlreadyExistsException):
            self._logs.create_log_group(logGroupName=GROUP)
        self._logs.create_log_stream(logGroupName=GROUP, logStreamName=self._name)

    def forward(self, *, is_over: bool = False) -> None:
        """Send all whole lines that are new, and once the program is over the beginning of one, too."""
        for chunk in self._chunks(is_over=is_over):
            now = datetime.now(UTC)
            lines = [line for line in chunk.decode(errors="replace").splitlines() if line.strip()]
            for line in lines:
                self._metrics.read(line, now)
            for start in range(0, len(lines), _EVENTS_A_CALL):
                self._send(lines[start : start + _EVENTS_A_CALL], now)
            self.lines += len(lines)

    def _chunks(self, *, is_over: bool) -> Iterator[bytes]:
        with self._file.open("rb") as file:
            file.seek(self._position)
            while chunk := file.read(_CHUNK_BYTES):
                if b"\n" in chunk:
                    chunk = chunk[: chunk.rindex(b"\n") + 1]
                elif len(chunk) < _CHUNK_BYTES and not is_over:
                    return
                self._position += len(chunk)
                file.seek(self._position)
                yield chunk

    def _send(self, lines: list[str], at: datetime) -> None:
        events = [{"timestamp": int(at.timestamp() * 1000), "message": line} for line in lines]
        self._logs.put_log_events(logGroupName=GROUP, logStreamName=self._name, logEvents=events)
