import io
import sys
import time

import pytest
from structlog.testing import capture_logs

from training.progress import doing, each, heartbeat
from training.steps import Steps, part


def wait_for_lines(lines: list[dict[str, object]], count: int) -> None:
    for _ in range(2_000):
        if len(lines) >= count:
            return
        time.sleep(0.005)
    raise AssertionError(f"{len(lines)} lines after ten seconds")


def test_a_line_tells_where_a_run_is_and_how_far() -> None:
    with capture_logs() as lines, heartbeat(every=0.01), doing("evaluate"):
        for number in each(range(3), "lessons", "window"):
            if number == 1:
                already = len(lines)
                wait_for_lines(lines, already + 2)
    told = lines[already + 1]
    assert told["event"] == "still at work"
    assert (told["at"], told["done"], told["of"]) == ("evaluate > lessons", 1, 3)


def test_what_cannot_be_counted_is_told_by_name() -> None:
    with capture_logs() as lines, heartbeat(every=0.01), Steps().step("fit"), part("candidates"):
        wait_for_lines(lines, 3)
    told = next(line for line in lines if line["event"] == "still at work")
    assert told["at"] == "fit > candidates"
    assert "of" not in told


def test_nothing_is_told_where_nothing_is_done_and_nothing_after_the_end() -> None:
    with capture_logs() as lines:
        with heartbeat(every=0.01):
            time.sleep(0.05)
        with doing("afterwards"):
            time.sleep(0.05)
    assert lines == []


def test_on_a_terminal_bars_tell_it_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with capture_logs() as lines, heartbeat(every=0.01):
        for _ in each(range(3), "lessons", "window"):
            time.sleep(0.05)
    assert lines == []
    assert "lessons" in terminal.getvalue()


def test_what_fails_is_no_longer_being_done() -> None:
    with pytest.raises(ArithmeticError), doing("evaluate"):
        raise ArithmeticError
    with capture_logs() as lines, heartbeat(every=0.01):
        time.sleep(0.05)
    assert lines == []
