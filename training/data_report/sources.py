"""What lies in the bucket: each source's files and the time that they cover, and its rejected rows."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from contract.s3_layout import EVENTS_MANIFESTS_PREFIX, EVENTS_PREFIX
from training.data_report.window import Window
from training.errors import BadInputError
from training.events import EventsFile, checked_footer, listed_files, manifest_names
from training.storage import Folder


@dataclass(frozen=True)
class TimedFile:
    """A file of events, and the moments of its first and last one, UTC ms."""

    file: EventsFile
    first_ms: int
    last_ms: int

    def overlaps(self, start_ms: int, end_ms: int) -> bool:
        """Whether it can hold events of this time, both ends included."""
        return self.first_ms <= end_ms and self.last_ms >= start_ms


@dataclass(frozen=True)
class Source:
    """What one manifest tells; an export of posted events has no rejected rows."""

    name: str
    rows: int
    """That were read, rejected ones and duplicates among them."""
    rejected: Mapping[str, int]
    """Rows by reason, see `importing.rows.REASONS`."""
    rejected_file: str | None
    files: tuple[TimedFile, ...]


@dataclass(frozen=True)
class SourceShare:
    """A source's rows, and how many of them were rejected."""

    name: str
    rows: int
    rejected: Mapping[str, int]
    rejected_file: str | None

    @property
    def rejected_rows(self) -> int:
        """How many rows were set aside."""
        return sum(self.rejected.values())


def read_sources(events: Folder) -> list[Source]:
    """All sources; `events` holds what lies below the bucket's `events/`.

    Raises BadInputError where a manifest or a listed file is missing, damaged, or not of events.
    """
    prefix, suffix = EVENTS_MANIFESTS_PREFIX.removeprefix(EVENTS_PREFIX), ".json"
    return [
        _source(events, name, name.removeprefix(prefix).removesuffix(suffix))
        for name in manifest_names(events)
    ]


def shares(sources: Iterable[Source], window: Window) -> tuple[SourceShare, ...]:
    """Those of the sources that have events in the window, by name."""
    return tuple(
        SourceShare(source.name, source.rows, source.rejected, source.rejected_file)
        for source in sources
        if any(file.overlaps(window.start_ms, window.end_ms) for file in source.files)
    )


def _source(events: Folder, manifest_name: str, name: str) -> Source:
    files = tuple(_timed(events, file) for file in listed_files(events, manifest_name) if file.rows)
    manifest: dict[str, Any] = json.loads(events.read(manifest_name))
    try:
        rejected = {str(reason): int(rows) for reason, rows in (manifest.get("rejected") or {}).items()}
        rows = int(manifest["rows"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInputError(
            f"{events.uri_of(manifest_name)}: expected `rows`, and `rejected` as rows by reason ({error!r})"
        ) from error
    return Source(name, rows, rejected, manifest.get("rejected_file"), files)


def _timed(events: Folder, file: EventsFile) -> TimedFile:
    """Out of the footer, where the writer put the first and last time of every group of rows."""
    footer = checked_footer(events, file)
    column = footer.schema.to_arrow_schema().get_field_index("timestamp")
    groups = (footer.row_group(number) for number in range(footer.num_row_groups))
    statistics = [group.column(column).statistics for group in groups]
    if all(known is not None and known.has_min_max for known in statistics):
        return TimedFile(file, min(known.min for known in statistics), max(known.max for known in statistics))
    with events.filesystem.open_input_file(events.path(file.key.removeprefix(EVENTS_PREFIX))) as opened:
        times = pq.read_table(opened, columns=["timestamp"])["timestamp"].drop_null().to_numpy()
    if not len(times):
        raise BadInputError(f"{events.uri_of(file.key)}: no event has a timestamp; import them again")
    return TimedFile(file, int(times.min()), int(times.max()))
