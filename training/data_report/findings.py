"""What a profile means for a training: what stops it, what to look at, what to know."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from training.data_report.bots import Concentration
from training.data_report.checks import refuse_empty_days, refuse_without_targets
from training.data_report.drift import LARGE_DRIFT, SOME_DRIFT, Drift
from training.data_report.profile import DataProfile
from training.errors import BadInputError, TooLittleDataError, UserError
from training.importing.rejects import MAX_BAD_SHARE

Severity = Literal["stop", "warning", "note"]

_MUCH_OF_BOTS: Final = 0.01
_MUCH_OF_THE_TOP: Final = 0.5
_TOLD: Final = 5


@dataclass(frozen=True)
class Limits:
    """What events may be like before they stop a run."""

    max_bad_share: float = MAX_BAD_SHARE
    """Of the rows of the window's sources."""
    allow_empty_days: bool = False
    allow_no_targets: bool = False
    max_drift: float | None = None
    """A population stability index; None lets a change never stop anything."""


@dataclass(frozen=True)
class Finding:
    """One sentence about the events."""

    severity: Severity
    text: str


def findings(profile: DataProfile, limits: Limits | None = None) -> tuple[Finding, ...]:
    """All that is to be said, the worst first."""
    limits = limits or Limits()
    return (
        *(Finding("stop", str(problem)) for problem in problems(profile, limits)),
        *(Finding("warning", text) for text in _warnings(profile, limits)),
        *(Finding("note", text) for text in _notes(profile, limits)),
    )


def problems(profile: DataProfile, limits: Limits) -> list[UserError]:
    """Everything for which a run is to stop, as the errors that say so."""
    found = [*_bad_rows(profile, limits.max_bad_share), *_drifted(profile, limits.max_drift)]
    if not limits.allow_empty_days:
        found += _empty_days(profile)
    if not limits.allow_no_targets:
        found += _no_targets(profile)
    return found


def rejected_by_reason(profile: DataProfile) -> dict[str, int]:
    """Rejected rows of all sources, the most frequent reason first."""
    totals: dict[str, int] = {}
    for source in profile.sources:
        for reason, rows in source.rejected.items():
            totals[reason] = totals.get(reason, 0) + rows
    return dict(sorted(totals.items(), key=lambda entry: (-entry[1], entry[0])))


def in_words(change: Drift) -> str:
    """How to read a population stability index."""
    if change.psi <= change.noise:
        return "no more than chance"
    if change.psi > LARGE_DRIFT:
        return "much"
    return "some" if change.psi > SOME_DRIFT else "little"


def _bad_rows(profile: DataProfile, max_bad_share: float) -> Iterator[UserError]:
    rows = sum(source.rows for source in profile.sources)
    rejected = rejected_by_reason(profile)
    bad = sum(rejected.values())
    if bad > max_bad_share * rows:
        yield BadInputError(
            f"{bad:,} of {rows:,} rows ({bad / rows:.2%}) of the window's sources were rejected, at most "
            f"{max_bad_share:.2%} may be: {_by_reason(rejected)}"
        )


def _drifted(profile: DataProfile, max_drift: float | None) -> Iterator[UserError]:
    for change in profile.drifts:
        if max_drift is not None and change.exceeds(max_drift):
            yield BadInputError(f"{_change_told(change)}, at most {max_drift:g} is allowed (--max-drift)")


def _empty_days(profile: DataProfile) -> Iterator[UserError]:
    window = profile.window
    rows_by_day = {day.day.isoformat(): day.events for day in profile.days}
    if profile.before:
        # There are events before the window, so an empty day at its beginning lies between others.
        rows_by_day[(window.first_day - timedelta(days=1)).isoformat()] = 1
    try:
        refuse_empty_days(str(window), rows_by_day)
    except TooLittleDataError as error:
        yield error
    last = max(day.day for day in profile.days if day.events)
    missing = [day for day in window.full_days if day > last]
    if missing:
        yield TooLittleDataError(
            f"{window}: no events from {missing[0]} on, the latest one is of {profile.last_event}: bring the "
            "missing days in, name an earlier end with --as-of, or, if nothing happened then, say so with "
            "--allow-empty-days"
        )


def _no_targets(profile: DataProfile) -> Iterator[UserError]:
    try:
        refuse_without_targets(str(profile.window), profile.event_types)
    except TooLittleDataError as error:
        yield error


def _warnings(profile: DataProfile, limits: Limits) -> Iterator[str]:
    empty = [str(day.day) for day in profile.days if day.verdict == "empty"]
    if limits.allow_empty_days and empty:
        yield f"No events on {_first(empty)}, which is allowed"
    if limits.allow_no_targets and any(_no_targets(profile)):
        yield "Nothing was carted or bought, which is allowed"
    low = [
        f"{day.day} ({_counted(day.events, 'event')}, usual {day.usual:,.0f})"
        for day in profile.days
        if day.verdict == "low"
    ]
    if low:
        yield f"Far fewer events than usual on {_first(low)}: was something down, or is a part missing?"
    for change in profile.drifts:
        if change.exceeds(LARGE_DRIFT) and (limits.max_drift is None or not change.exceeds(limits.max_drift)):
            yield f"{_change_told(change)}, which is much: what was learned before may not hold now"
    crowd = profile.concentration
    if crowd.flagged_share > _MUCH_OF_BOTS:
        yield f"{_flagged(crowd)}: a model would learn from them, too"
    if crowd.top_share > _MUCH_OF_THE_TOP and profile.totals.users >= 100:
        yield f"{crowd.top_share:.0%} of all events come from the most active hundredth of the users"


def _notes(profile: DataProfile, limits: Limits) -> Iterator[str]:
    yield from profile.notes
    if profile.days[-1].verdict == "cut off":
        yield f"{profile.window.last_day} is cut off at {profile.as_of}; it isn't compared with other days."
    rejected = rejected_by_reason(profile)
    if rejected and not any(_bad_rows(profile, limits.max_bad_share)):
        rows = sum(source.rows for source in profile.sources)
        yield (
            f"{sum(rejected.values()):,} of {rows:,} rows of the window's sources were rejected: "
            f"{_by_reason(rejected)}."
        )
    crowd = profile.concentration
    if 0 < crowd.flagged_share <= _MUCH_OF_BOTS:
        yield f"{_flagged(crowd)}; that is little."


def _flagged(crowd: Concentration) -> str:
    return f"{_counted(crowd.flagged_users, 'bot-like user')}, with {crowd.flagged_share:.2%} of all events"


def _change_told(change: Drift) -> str:
    return f"The {change.name} changed: population stability index {change.psi:.3f}"


def _by_reason(rows_by_reason: Mapping[str, int]) -> str:
    return ", ".join(f"{rows:,} {reason}" for reason, rows in rows_by_reason.items())


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _TOLD:,} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more


def _counted(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"
