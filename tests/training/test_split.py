import pytest

from contract.events import VIEW
from tests.training.shops import DAY, START, interactions
from training.errors import TooLittleDataError
from training.split import windows


def events_over(days: float) -> object:
    return interactions([("u", "i", VIEW, 0), ("u", "i", VIEW, round(days * DAY))])


def test_windows_step_back_from_the_end_without_a_gap() -> None:
    end = START + 100 * DAY
    found = windows(events_over(100), days=14, count=3, end=end)  # type: ignore[arg-type]
    assert [(window.start, window.end) for window in found] == [
        (end - 14 * DAY, end),
        (end - 28 * DAY, end - 14 * DAY),
        (end - 42 * DAY, end - 28 * DAY),
    ]


def test_a_short_span_gets_fewer_windows() -> None:
    assert len(windows(events_over(60), days=14, count=3, end=START + 60 * DAY)) == 2  # type: ignore[arg-type]


def test_a_very_short_span_gets_one_window_of_half_of_it() -> None:
    (window,) = windows(events_over(9), days=14, count=3, end=START + 9 * DAY)  # type: ignore[arg-type]
    assert window.end - window.start == 4.5 * DAY


def test_events_all_at_one_time_cannot_be_split() -> None:
    with pytest.raises(TooLittleDataError, match="span 0.00 days"):
        windows(events_over(0), days=14, count=3, end=START + 1)  # type: ignore[arg-type]
