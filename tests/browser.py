"""A real browser without a window or a network, that opens pages from disk: Chromium, told what to do.

It is spoken to by the DevTools protocol over a pipe (`--remote-debugging-pipe`), so no port is opened:
https://chromedevtools.github.io/devtools-protocol/. Messages end with a zero byte.
"""

import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 60.0
"""Seconds that one answer may take."""
GRACE = 10.0
"""Seconds that it may take to end by itself."""

Message = dict[str, Any]


def chromium() -> str | None:
    """The program, where there is one; the variable CHROME names it first."""
    names = (os.environ.get("CHROME"), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


needs_chromium = pytest.mark.skipif(
    chromium() is None, reason="no chromium, google-chrome or CHROME is found to open pages with"
)


@dataclass
class Tab:
    """One page, and what the browser said of it."""

    send: Any
    session: str
    told: list[Message]
    """Events of the protocol, of all tabs."""

    def ask(self, method: str, **parameters: Any) -> Message:
        """One command of the protocol."""
        answer: Message = self.send(method, parameters, self.session)
        return answer

    def open(self, page: Path) -> None:
        """A page from disk, until it is loaded."""
        already = len(self.told)
        self.ask("Page.navigate", url=page.as_uri())
        deadline = time.monotonic() + PATIENCE
        while not any(
            event["method"] == "Page.loadEventFired" and event.get("sessionId") == self.session
            for event in self.told[already:]
        ):
            assert time.monotonic() < deadline, f"{page} is not loaded"
            self.evaluate("1")

    def evaluate(self, expression: str) -> Any:
        """What JavaScript makes of it; that the page itself may not run scripts does not matter."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def resize(self, width: int, height: int = 900) -> None:
        """In CSS pixels; far narrower than a window may be."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def emulate(self, medium: str) -> None:
        """`screen` or `print`."""
        self.ask("Emulation.setEmulatedMedia", media=medium)

    def screenshot(self, file: Path, *, top: int, height: int, width: int) -> None:
        """A part of the page, wherever it has been scrolled to."""
        clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
        shot = self.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """Errors and warnings of console, network and content security policy."""
        self.evaluate("new Promise(done => setTimeout(done, 50))")  # what is on its way arrives before
        found = []
        for event in self.told:
            parameters = event.get("params", {})
            if event.get("sessionId") != self.session:
                continue
            if event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in {"error", "warning"}:
                found.append(parameters["entry"]["text"])
            if event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in {"error", "warning"}:
                found.append(" ".join(str(each.get("value")) for each in parameters["args"]))
            if event["method"] == "Runtime.exceptionThrown":
                found.append(parameters["exceptionDetails"]["text"])
            if event["method"] == "Network.loadingFailed":
                found.append(f"not loaded: {parameters.get('blockedReason') or parameters['errorText']}")
        return found


@dataclass
class Browser:
    """A running browser."""

    write_to: int
    read_from: int
    group: int
    """Of its processes."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _unread: bytes = b""
    told: list[Message] = field(default_factory=list)

    def tab(self) -> Tab:
        """A new page, of which everything is told."""
        target = self._send("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self._send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        tab = Tab(self._send, session, self.told)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.ask(f"{domain}.enable")
        return tab

    def _send(self, method: str, parameters: Message, session: str | None = None) -> Message:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        data = json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        while data:
            data = data[os.write(self.write_to, data) :]
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._receive(deadline, method)
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                result: Message = answer["result"]
                return result
            self.told.append(answer)

    def _receive(self, deadline: float, method: str) -> Message:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self.read_from], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"the browser did not answer {method}"
            received = os.read(self.read_from, 1 << 20)
            assert received, f"the browser ended before it answered {method}"
            self._unread += received
        message, _, self._unread = self._unread.partition(b"\0")
        answer: Message = json.loads(message)
        return answer


@contextlib.contextmanager
def running_browser(folder: Path) -> Iterator[Browser]:
    """A browser whose files are in `folder`, that is gone afterwards, whatever happens."""
    program = chromium()
    assert program is not None
    options = [
        "--headless=new",
        "--remote-debugging-pipe",
        f"--user-data-dir={folder / 'profile'}",
        "--host-resolver-rules=MAP * 127.0.0.1:9",
        "--disable-background-networking",
        "--disable-breakpad",
        "--disable-crash-reporter",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--hide-scrollbars",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        "about:blank",
    ]
    with contextlib.ExitStack() as ours:
        with contextlib.ExitStack() as its:
            its_input, our_output = _pipe(its, ours)
            our_input, its_output = _pipe(ours, its)
            log = its.enter_context((folder / "browser.log").open("wb"))
            process = subprocess.Popen(
                # The browser reads from 3 and writes to 4.
                ["bash", "-c", f'exec "$@" 3<&{its_input} 4>&{its_output}', "bash", program, *options],
                pass_fds=(its_input, its_output),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
            )
        try:
            yield Browser(our_output, our_input, process.pid)
        finally:
            _end(process, our_output)


def _end(process: subprocess.Popen[bytes], write_to: int) -> None:
    """Ask it to end, so that it waits for its own children; and whatever it says, nothing of it remains."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        os.write(write_to, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        process.wait(timeout=GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=PATIENCE)


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose ends have numbers beyond those that the browser takes, and who closes each of them."""
    ends = []
    for end, owner in zip(os.pipe(), (reader, writer), strict=True):
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
        owner.callback(os.close, ends[-1])
    return ends[0], ends[1]
