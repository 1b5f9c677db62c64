"""What an import did, and how it tells people about it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from training.events import EventsFile
from training.importing.catalogue import CatalogueReport, describe_catalogue
from training.importing.rejects import listed, show_rejected
from training.importing.rows import REASONS
from training.importing.understood import Understood, describe_understood
from training.moments import format_moment

_KINDS_TOLD: Final = 20


@dataclass(frozen=True)
class ImportReport:
    """What an import read, wrote and set aside; also what its manifest holds."""

    source: str
    content: str
    """The SHA-256 of what the files of events held, whatever the options were."""
    out: str
    manifest: str
    files: tuple[EventsFile, ...]
    rows: int
    """Rows of events that were read: events, duplicates, rejected ones and those of deleted users."""
    events: int
    duplicates: int
    deleted: int
    """Rows that were dropped because their user was deleted at that moment or later."""
    rejected: Mapping[str, int]
    """Rows by reason, see `importing.rows.REASONS`."""
    rejected_file: str | None
    event_types: Mapping[str, int]
    users: int
    items: int
    first_ms: int
    last_ms: int
    as_of_ms: int | None
    understood: tuple[Understood, ...]
    kinds: Mapping[str, tuple[str, str]]
    """What each name of an event type was taken for, and why."""
    time_forms: tuple[str, ...]
    left_out_users: int
    """Rows of files of users, of which no use is made."""
    catalogue: CatalogueReport | None
    """What became of the files of items and categories; None where there were none."""
    same_files: tuple[str, ...]
    """Manifests of earlier imports of the same files with other options: their events are read, too."""

    @property
    def rejected_rows(self) -> int:
        """How many rows of events were set aside."""
        return sum(self.rejected.values())


def describe(report: ImportReport) -> str:
    """The report for people: what was understood and why, what was written, what was set aside."""
    lines = [*describe_understood(report.understood, report.time_forms), *_kinds(report)]
    counts = listed([f"{count:,} {kind}" for kind, count in report.event_types.items()], most=_KINDS_TOLD)
    lines += [
        f"{report.rows:,} rows, {report.events:,} events:",
        f"  {counts}",
        f"  {report.users:,} users, {report.items:,} items",
        f"  {format_moment(report.first_ms)} to {format_moment(report.last_ms)}",
        f"  {report.duplicates:,} exact duplicates dropped",
        f"  {report.rejected_rows:,} rejected",
    ]
    lines += [f"    {count:,} {reason}: {REASONS[reason]}" for reason, count in report.rejected.items()]
    if report.rejected_file:
        lines.append(f"  the rejected rows: {show_rejected(f'{report.out}/{report.rejected_file}')}")
    if report.deleted:
        lines.append(f"  {report.deleted:,} dropped, because their users were deleted afterwards")
    lines.append(f"{len(report.files):,} files, listed in {report.out}/{report.manifest}")
    if report.left_out_users:
        lines.append(f"{report.left_out_users:,} rows of users left out: no use is made of what users are")
    if report.catalogue:
        lines.append(describe_catalogue(report.catalogue))
    lines += [
        f"The same files were imported before, with other options, and those events are read, too: to take "
        f"them back, delete {report.out}/{key}"
        for key in report.same_files
    ]
    return "\n".join(lines)


def _kinds(report: ImportReport) -> Iterator[str]:
    yield "event types:"
    for theirs, (ours, reason) in list(report.kinds.items())[:_KINDS_TOLD]:
        yield f"  {theirs!r} is {ours} ({reason})" if theirs != ours else f"  {theirs!r} stays as it is"
    if len(report.kinds) > _KINDS_TOLD:
        yield f"  and {len(report.kinds) - _KINDS_TOLD:,} more"
