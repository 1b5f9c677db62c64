"""What a process writes: read at once, so that it never waits, and kept in order."""

import contextlib
import logging
import os
import queue
import select
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 18
"""CloudWatch cuts longer ones, too."""
_MOST_KEPT = 1 << 20
"""Bytes that `take` gives at most, the latest ones; the lines that go elsewhere are complete."""

logger = logging.getLogger(__name__)


class LogPipe:
    """The pipe that the processes of an environment write to, and its read end.

    A thread reads whenever something comes. Whoever needs all that was written so far (an answer came,
    so its log lines did) calls `take`, which reads the rest itself instead of waiting for the thread.
    """

    def __init__(self, on_lines: Callable[[Sequence[bytes]], None]) -> None:
        self._on_lines = on_lines
        self._lock = threading.Lock()
        self._line = b""
        self._taken = bytearray()
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._wake_read_end, self._wake_write_end = os.pipe()
        self._reader = threading.Thread(target=self._read, name="lambda-logs", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()

    def take(self) -> str:
        """What was written since the last call."""
        with self._lock:
            self._drain()
            text = self._taken.decode(errors="replace")
            self._taken.clear()
        return text

    def close(self) -> None:
        """Read what is there and stop; does not wait for others that hold the pipe open."""
        os.close(self._wake_write_end)
        self._reader.join()
        os.close(self.write_end)
        with self._lock:
            self._drain()
            if self._line:
                self._on_lines([self._line])
                self._line = b""
            os.close(self._read_end)
            os.close(self._wake_read_end)
            self._read_end = -1

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        poll.register(self._wake_read_end, select.POLLIN)
        while True:
            ready = {file for file, _ in poll.poll()}
            with self._lock:
                at_end = self._drain()
            if at_end or self._wake_read_end in ready:
                return

    def _drain(self) -> bool:
        """Read all there is; whether that was the end."""
        if self._read_end < 0:
            return True
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._read_end, _CHUNK):
                self._keep(data)
            return True
        return False

    def _keep(self, data: bytes) -> None:
        self._taken += data
        del self._taken[:-_MOST_KEPT]
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > _LONGEST_LINE:
            lines.append(self._line)
            self._line = b""
        if lines:
            self._on_lines(lines)


class LogSink:
    """Brings lines to a file and to a callback, in a thread of its own: a slow one holds up nobody."""

    def __init__(self, *, file: Path | None, callback: Callable[[str], None] | None) -> None:
        self._callback = callback
        self._queue: queue.SimpleQueue[Sequence[bytes] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._file = None
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._file = file.open("ab", buffering=0)
        if file is not None or callback is not None:
            self._thread = threading.Thread(target=self._write, name="lambda-log-sink", daemon=True)
            self._thread.start()

    def put(self, lines: Sequence[bytes]) -> None:
        """Take whole lines, without their ends."""
        if self._thread is not None:
            self._queue.put(lines)

    def close(self) -> None:
        """Return when every line is where it belongs."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        if self._file is not None:
            self._file.close()

    def _write(self) -> None:
        while (lines := self._queue.get()) is not None:
            # Others' code and a full disk: neither may end the thread, and neither goes unseen.
            try:
                self._write_lines(lines)
            except Exception:
                logger.exception("log lines could not be handed on")

    def _write_lines(self, lines: Sequence[bytes]) -> None:
        if self._file is not None:
            self._file.write(b"".join(line + b"\n" for line in lines))
        if self._callback is not None:
            for line in lines:
                self._callback(line.decode(errors="replace"))
