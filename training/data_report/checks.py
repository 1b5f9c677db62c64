"""What stops a run before a model is made of events that can't be right."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

from contract.events import TARGET_EVENT_TYPES
from training.errors import TooLittleDataError

_DAYS_TOLD: Final = 5


def refuse_empty_days(where: str, rows_by_day: Mapping[str, int]) -> None:
    """Raise TooLittleDataError where a day (YYYY-MM-DD) between the first and the last has no event."""
    empty = empty_days(rows_by_day)
    if empty:
        told = ", ".join(empty[:_DAYS_TOLD]) + (
            f" and {len(empty) - _DAYS_TOLD:,} more" if len(empty) > _DAYS_TOLD else ""
        )
        raise TooLittleDataError(
            f"{where}: no events on {told}, though there are some before and after: bring the missing days "
            "in, or, if nothing happened then, say so with --allow-empty-days"
        )


def empty_days(rows_by_day: Mapping[str, int]) -> list[str]:
    """The days without an event between the first and the last that has one, in order."""
    there = {date.fromisoformat(day) for day, rows in rows_by_day.items() if rows}
    if not there:
        return []
    first, last = min(there), max(there)
    span = (first + timedelta(days=number) for number in range((last - first).days))
    return [day.isoformat() for day in span if day not in there]


def refuse_without_targets(where: str, rows_by_event_type: Mapping[str, int]) -> None:
    """Raise TooLittleDataError where nothing was ever carted or bought: there is nothing to aim at."""
    if not any(rows_by_event_type.get(kind) for kind in TARGET_EVENT_TYPES):
        kinds = ", ".join(f"{rows:,} {kind}" for kind, rows in sorted(rows_by_event_type.items())) or "none"
        raise TooLittleDataError(
            f"{where}: no cart and no purchase among the events (there are: {kinds}); if they go by another "
            f"name, say so with --event-type 'THEIRS={TARGET_EVENT_TYPES[-1]}'; if they come from elsewhere, "
            "--allow-no-targets"
        )
