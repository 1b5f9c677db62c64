"""Where the lines go that a process writes."""

import threading
from pathlib import Path
from typing import Any

import pytest

WRITE = """
import logging, os, sys
print("starting")
def handler(event, context):
    for number in range(event):
        print(f"line {number} é")
    print("to stderr", file=sys.stderr)
    logging.getLogger().error("logged")
    sys.stdout.write("without an end")
"""


def test_lines_come_with_the_result_in_their_order(code: Any) -> None:
    function = code.function(WRITE)
    cold, warm = function.invoke(b"2"), function.invoke(b"0")
    assert cold.logs.startswith("starting\nline 0 é\nline 1 é\nto stderr\n[ERROR]\t")
    assert cold.request_id in cold.logs
    assert cold.logs.endswith("\tlogged\nwithout an end")
    assert warm.logs.startswith("to stderr\n")


def test_no_line_is_lost_on_its_way_to_file_and_callback(code: Any, tmp_path: Path) -> None:
    heard: list[str] = []
    file = tmp_path / "logs" / "function.log"
    function = code.function(WRITE, log_file=file, on_log=heard.append)
    function.invoke(b"20000")
    function.stop()
    written = file.read_text().splitlines()
    assert written == heard
    assert [line for line in heard if line.startswith("line ")] == [f"line {n} é" for n in range(20_000)]
    assert heard[-1] == "without an end"


def test_a_callback_that_hangs_holds_up_nobody(code: Any) -> None:
    released = threading.Event()
    heard: list[str] = []

    def hang(line: str) -> None:
        released.wait()
        heard.append(line)

    function = code.function(WRITE, on_log=hang)
    for _ in range(3):
        assert not function.invoke(b"5000").is_error
    assert heard == []
    released.set()
    function.stop()
    assert sum("line " in line for line in heard) == 15_000


def test_a_callback_that_fails_is_reported_and_called_again(
    code: Any, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def fail(line: str) -> None:
        heard.append(line)
        raise ValueError("a callback's own error")

    function = code.function("def handler(event, context): print(event)", on_log=fail)
    function.invoke(b"1")
    function.invoke(b"2")
    function.stop()
    assert heard == ["1", "2"]
    assert "a callback's own error" in caplog.text


def test_the_last_words_of_a_crash_are_kept(code: Any) -> None:
    heard: list[str] = []
    source = "import os\nprint('last words', flush=True)\nos.write(2, b'cut o')\nos._exit(1)"
    function = code.function(source, on_log=heard.append)
    assert function.invoke(b"1").logs == "last words\ncut o"
    function.stop()
    assert heard == ["last words", "cut o"]


def test_a_line_without_an_end_does_not_grow_for_ever(code: Any) -> None:
    heard: list[str] = []
    source = "import sys\ndef handler(event, context): sys.stdout.write('x' * event)"
    function = code.function(source, on_log=heard.append)
    result = function.invoke(b"3000000")
    function.stop()
    assert len("".join(heard)) == 3_000_000
    assert len(heard) > 1
    assert len(result.logs) == 1 << 20
