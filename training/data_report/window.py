"""The stretches of time that a profile compares: whole days (UTC), the last one up to `as_of`."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from training.moments import MILLISECONDS_A_DAY


@dataclass(frozen=True)
class Window:
    """Some days in a row, both ends included."""

    first_day: date
    last_day: date
    end_ms: int
    """The last moment that is looked at, UTC ms; it may lie within the last day."""

    def __str__(self) -> str:
        return f"{self.first_day} to {self.last_day}"

    @property
    def start_ms(self) -> int:
        """The first moment, UTC ms."""
        return start_of(self.first_day)

    @property
    def days(self) -> list[date]:
        """All of them, in order."""
        count = (self.last_day - self.first_day).days + 1
        return [self.first_day + timedelta(days=number) for number in range(count)]

    @property
    def full_days(self) -> list[date]:
        """Those that are looked at from midnight to midnight."""
        is_full = self.end_ms + 1 == start_of(self.last_day) + MILLISECONDS_A_DAY
        return self.days if is_full else self.days[:-1]


def window_up_to(as_of_ms: int, days: int, *, first_event_ms: int) -> Window:
    """The `days` days up to `as_of_ms`, or fewer where the events begin later.

    A midnight ends the day before it, as people mean it; the one moment that belongs to the next day is
    not looked at then.
    """
    last_day = day_of(as_of_ms - 1)
    first_day = max(last_day - timedelta(days=days - 1), min(day_of(first_event_ms), last_day))
    return Window(first_day, last_day, min(as_of_ms, _end_of(last_day)))


def window_before(window: Window, *, first_event_ms: int) -> Window | None:
    """The same number of days right before, or those since the first event; None where there are none."""
    last_day = window.first_day - timedelta(days=1)
    first_day = max(window.first_day - timedelta(days=len(window.days)), day_of(first_event_ms))
    return Window(first_day, last_day, _end_of(last_day)) if first_day <= last_day else None


def day_of(moment_ms: int) -> date:
    """The day (UTC) of a moment in UTC ms."""
    return datetime.fromtimestamp(moment_ms // 1000, UTC).date()


def start_of(day: date) -> int:
    """Its first millisecond (UTC)."""
    return (day - date(1970, 1, 1)).days * MILLISECONDS_A_DAY


def _end_of(day: date) -> int:
    return start_of(day) + MILLISECONDS_A_DAY - 1
