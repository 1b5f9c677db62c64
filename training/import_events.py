"""Shop events from files into the bucket: `python -m training.import_events SOURCE… --out S3_URI_OR_FOLDER`.

Every row becomes an event of exactly one day's file, or is set aside in `rejected/` with its reason, or
is counted as a repeat. The same sources with the same options give the same keys and the same bytes; the
manifest, without which nothing is read, is written last.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from contract.events import EVENT_COLUMNS, KNOWN_EVENT_TYPES, event_type_problem
from contract.s3_layout import EVENTS_MANIFESTS_PREFIX, events_manifest_key, rejected_key
from training.errors import BadInputError, UserError
from training.event_files import PARQUET_OPTIONS, ROW_GROUP, Written, write_days
from training.event_readers import OpenedSource, open_source
from training.event_rows import REASONS, REJECTED_SCHEMA, Judge
from training.event_sources import SourceFile, content_hash, find_files
from training.events import EVENTS_SCHEMA, EventsFile
from training.moments import format_moment, parse_moment
from training.storage import Folder

MAX_BAD_SHARE: Final = 0.01
MEMORY_LIMIT: Final = "500MB"
"""What sorting may use before it goes to disk; reading and writing need a few hundred MB besides."""

FORMAT_VERSION: Final = 1
"""Part of every source's name: to be raised when the same input is to give other files."""

_SOURCE_PREFIX: Final = "import-"
_SAMPLES: Final = 3
_KINDS_TOLD: Final = 20
_SAMPLE_LENGTH: Final = 200


@dataclass(frozen=True)
class Understood:
    """What was taken for what."""

    files: tuple[str, ...]
    columns: Mapping[str, str]
    """Theirs for each of ours, in these files."""
    explicit: tuple[str, ...]
    """Those of ours that `--column` named."""


@dataclass(frozen=True)
class ImportReport:
    """What an import read, wrote and set aside; also what its manifest holds."""

    source: str
    content: str
    """The SHA-256 of what the files held, whatever the options were."""
    out: str
    manifest: str
    files: tuple[EventsFile, ...]
    rows: int
    """Rows that were read: events, duplicates and rejected ones."""
    events: int
    duplicates: int
    rejected: Mapping[str, int]
    """Rows by reason, see `event_rows.REASONS`."""
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
    same_files: tuple[str, ...]
    """Manifests of earlier imports of the same files with other options: their events are read, too."""

    @property
    def rejected_rows(self) -> int:
        """How many rows were set aside."""
        return sum(self.rejected.values())


def import_events(
    sources: Sequence[str | Path],
    out: str | Path | Folder,
    *,
    columns: Mapping[str, str] | None = None,
    event_types: Mapping[str, str] | None = None,
    as_of_ms: int | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
    memory_limit: str = MEMORY_LIMIT,
) -> ImportReport:
    """Import files, or folders of files, into the bucket or folder `out`.

    `columns` and `event_types` lead from their names to ours and win over the usual names. Events after
    `as_of_ms` (UTC milliseconds) are rejected.

    Raises BadInputError where a source can't be used, or where more than `max_bad_share` of all rows are
    bad; nothing under `events/` is changed then.
    """
    columns, event_types = dict(columns or {}), dict(event_types or {})
    _check_options(columns, event_types, max_bad_share)
    folder = out if isinstance(out, Folder) else Folder(out)
    files = find_files(sources)
    content = _content(files)
    source = _source_name(content, {"columns": columns, "event_types": event_types, "as_of": as_of_ms})
    opened = [open_source(file, columns) for file in files]
    with tempfile.TemporaryDirectory(prefix="import-") as temporary:
        intake = _Intake(opened, Judge(event_types, as_of_ms), Path(temporary) / "rejected.parquet")
        try:
            with _sorted(intake, temporary, memory_limit) as events:
                rejected_file = _store_rejected(folder, source, intake)
                _check_share(intake, max_bad_share, folder.uri_of(rejected_key(source)))
                written = write_days(folder, source, events)
            report = _report(
                folder=folder,
                source=source,
                content=content,
                intake=intake,
                written=written,
                rejected_file=rejected_file,
                columns=columns,
            )
            _write_manifest(folder, report)
        except OSError as error:
            raise BadInputError(f"{folder}: cannot be written: {error}") from error
    return report


def describe(report: ImportReport) -> str:
    """The report for people: what was understood and why, what was written, what was set aside."""
    lines = []
    for understood in report.understood:
        lines.append(_listed(understood.files, most=3) + ":")
        for ours, theirs in understood.columns.items():
            reason = "--column" if ours in understood.explicit else "its usual name"
            form = f"; {', '.join(report.time_forms)}" if ours == "timestamp" else ""
            lines.append(f"  {ours:<11} is {theirs!r} ({reason}{form})")
    lines.append("event types:")
    for theirs, (ours, reason) in list(report.kinds.items())[:_KINDS_TOLD]:
        lines.append(
            f"  {theirs!r} is {ours} ({reason})" if theirs != ours else f"  {theirs!r} stays as it is"
        )
    if len(report.kinds) > _KINDS_TOLD:
        lines.append(f"  and {len(report.kinds) - _KINDS_TOLD:,} more")
    counts = _listed([f"{count:,} {kind}" for kind, count in report.event_types.items()], most=_KINDS_TOLD)
    lines += [
        f"{report.rows:,} rows, {report.events:,} events:",
        f"  {counts}",
        f"  {report.users:,} users, {report.items:,} items",
        f"  {format_moment(report.first_ms)} to {format_moment(report.last_ms)}",
        f"  {report.duplicates:,} exact duplicates dropped",
        f"  {report.rejected_rows:,} rejected",
    ]
    for reason, count in report.rejected.items():
        lines.append(f"    {count:,} {reason}: {REASONS[reason]}")
    if report.rejected_file:
        lines.append(f"  the rejected rows: {report.out}/{report.rejected_file}")
    lines.append(f"{len(report.files):,} files, listed in {report.out}/{report.manifest}")
    lines += [
        f"The same files were imported before, with other options, and those events are read, too: to take "
        f"them back, delete {report.out}/{key}"
        for key in report.same_files
    ]
    return "\n".join(lines)


@dataclass
class _Intake:
    """All rows of all sources on their way: events go on, rejected rows go into a local file."""

    opened: Sequence[OpenedSource]
    judge: Judge
    rejected_path: Path
    rows: int = 0
    events: int = 0
    rejected: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    samples: list[dict[str, Any]] = field(default_factory=list)
    failure: UserError | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The events, unsorted. A UserError is also kept in `failure`: DuckDB passes on its text alone."""
        writer: pq.ParquetWriter | None = None
        try:
            with tqdm(desc="reading", unit=" rows", unit_scale=True, disable=None, leave=False) as progress:
                for source in self.opened:
                    for batch in source.batches():
                        events, rejected = self.judge.judge(batch)
                        if rejected.num_rows:
                            writer = writer or pq.ParquetWriter(
                                self.rejected_path, REJECTED_SCHEMA, **PARQUET_OPTIONS
                            )
                            writer.write_batch(rejected)
                        self._count(events, rejected)
                        progress.update(events.num_rows + rejected.num_rows)
                        yield events
        except UserError as error:
            self.failure = error
            raise
        finally:
            if writer:
                writer.close()

    def _count(self, events: pa.RecordBatch, rejected: pa.RecordBatch) -> None:
        self.rows += events.num_rows + rejected.num_rows
        self.events += events.num_rows
        names = zip(rejected["reason"].to_pylist(), rejected["field"].to_pylist(), strict=True)
        self.rejected.update(names)
        missing = _SAMPLES - len(self.samples)
        self.samples += rejected.slice(0, missing).to_pylist()

    def by_reason(self) -> dict[str, int]:
        """How many rows were rejected for each reason, the most frequent first."""
        counts: Counter[str] = Counter()
        for (reason, _), count in self.rejected.items():
            counts[reason] += count
        return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _check_options(columns: Mapping[str, str], event_types: Mapping[str, str], max_bad_share: float) -> None:
    for ours, count in Counter(columns.values()).items():
        if ours not in EVENT_COLUMNS:
            raise BadInputError(f"there is no column {ours!r}; ours are {', '.join(EVENT_COLUMNS)}")
        if count > 1:
            raise BadInputError(f"{count} columns are said to be {ours}; only one can be")
    for ours in event_types.values():
        if problem := event_type_problem(ours):
            raise BadInputError(f"the event type {ours!r} {problem}")
    if not 0 <= max_bad_share <= 1:
        raise BadInputError(f"the share of bad rows is {max_bad_share}; expected 0 to 1")


def _content(files: Sequence[SourceFile]) -> str:
    return hashlib.sha256("".join(sorted(map(content_hash, files))).encode()).hexdigest()


def _source_name(content: str, options: Mapping[str, object]) -> str:
    """A name that stands for what was read and how, so that a second import replaces the first."""
    identity = {"version": FORMAT_VERSION, "content": content, "options": options}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return f"{_SOURCE_PREFIX}{digest[:16]}"


def _same_files(folder: Folder, source: str, content: str) -> Iterator[str]:
    own = events_manifest_key(source)
    for key in folder.list(EVENTS_MANIFESTS_PREFIX):
        is_import = key.startswith(EVENTS_MANIFESTS_PREFIX + _SOURCE_PREFIX)
        if is_import and key != own and f'"content": "{content}"' in folder.read(key).decode():
            yield key


@contextmanager
def _sorted(intake: _Intake, temporary: str, memory_limit: str) -> Iterator[Iterator[pa.RecordBatch]]:
    """All events in their order; when this has been entered, all sources have been read."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory_limit,
        "temp_directory": str(Path(temporary) / "sort"),
    }
    with duckdb.connect(config=config) as connection:
        connection.register("events", pa.RecordBatchReader.from_batches(EVENTS_SCHEMA, intake.batches()))
        try:
            relation = connection.sql(
                'SELECT * FROM events ORDER BY "timestamp", user_id, item_id, event_type'
            )
            reader = relation.to_arrow_reader(ROW_GROUP)
            first = next(reader, None)
        except (duckdb.Error, pa.ArrowException) as error:
            if intake.failure:
                raise intake.failure from error
            raise
        with reader:
            yield (batch.cast(EVENTS_SCHEMA) for batch in chain([first] if first else [], reader))


def _store_rejected(folder: Folder, source: str, intake: _Intake) -> str | None:
    if not intake.rejected:
        return None
    key = rejected_key(source)
    folder.write_from(key, intake.rejected_path)
    return key


def _check_share(intake: _Intake, max_bad_share: float, rejected: str) -> None:
    """Raise BadInputError where too little of what was read can be used."""
    n_bad = intake.rejected.total()
    names = _listed([source.file.where for source in intake.opened], most=3)
    if not intake.rows:
        raise BadInputError(f"{names}: no rows")
    if intake.events and n_bad <= max_bad_share * intake.rows:
        return
    reasons = ", ".join(
        f"{count:,} {reason}{f' ({name})' if name else ''}"
        for (reason, name), count in intake.rejected.most_common(5)
    )
    samples = "\n".join(
        f"  {row['file']}, row {row['row']}: {row['field'] or 'line'}: {REASONS[row['reason']]}: "
        f"{row['raw'][:_SAMPLE_LENGTH]}"
        for row in intake.samples
    )
    allowed = "not one can be used" if not intake.events else f"at most {max_bad_share:.2%} may be"
    raise BadInputError(
        f"{names}: {n_bad:,} of {intake.rows:,} rows ({n_bad / intake.rows:.2%}) are bad, {allowed}: "
        f"{reasons}. The first ones:\n{samples}\nAll of them, with their reasons: {rejected}"
    )


def _report(
    *,
    folder: Folder,
    source: str,
    content: str,
    intake: _Intake,
    written: Written,
    rejected_file: str | None,
    columns: Mapping[str, str],
) -> ImportReport:
    judge = intake.judge
    kinds = {theirs: (ours, _reason(theirs, ours, judge)) for theirs, ours in sorted(judge.kinds.items())}
    return ImportReport(
        source=source,
        content=content,
        out=str(folder),
        manifest=events_manifest_key(source),
        files=tuple(written.files),
        rows=intake.rows,
        events=written.rows,
        duplicates=intake.events - written.rows,
        rejected=intake.by_reason(),
        rejected_file=rejected_file,
        event_types=dict(sorted(written.event_types.items())),
        users=len(written.users),
        items=len(written.items),
        first_ms=written.first_ms or 0,
        last_ms=written.last_ms or 0,
        as_of_ms=judge.as_of_ms,
        understood=tuple(_understood(intake.opened, columns)),
        kinds=kinds,
        time_forms=tuple(sorted(judge.time_forms)),
        same_files=tuple(_same_files(folder, source, content)),
    )


def _reason(theirs: str, ours: str, judge: Judge) -> str:
    if theirs in judge.event_types:
        return "--event-type"
    return "its usual name" if ours in KNOWN_EVENT_TYPES else "kept as it is"


def _understood(opened: Sequence[OpenedSource], explicit: Mapping[str, str]) -> Iterator[Understood]:
    files: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for source in opened:
        files.setdefault(tuple(source.columns.items()), []).append(source.file.name)
    for columns, names in files.items():
        yield Understood(files=tuple(names), columns=dict(columns), explicit=tuple(explicit.values()))


def _write_manifest(folder: Folder, report: ImportReport) -> None:
    # Not where it was written to, nor when: the same import gives the same bytes.
    content = {"version": FORMAT_VERSION, **asdict(report)}
    del content["out"], content["manifest"], content["same_files"]
    for name in ("first", "last", "as_of"):
        moment = content.pop(f"{name}_ms")
        content[name] = format_moment(moment) if moment is not None else None
    text = json.dumps(content, indent=2, ensure_ascii=False)
    folder.write(report.manifest, text.encode())


def _listed(names: Sequence[str], *, most: int) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _pair(text: str) -> tuple[str, str]:
    theirs, _, ours = text.rpartition("=")
    if not theirs or not ours:
        raise argparse.ArgumentTypeError(f"{text!r} isn't THEIRS=OURS")
    return theirs, ours


def _moment(text: str) -> int:
    try:
        return parse_moment(text)
    except BadInputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} isn't a share from 0 to 1")
    return share


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.import_events",
        description="Bring shop events from CSV, JSON lines or Parquet into the bucket.",
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="a file or folder, local or s3://…")
    parser.add_argument("--out", required=True, metavar="S3_URI_OR_FOLDER", help="the bucket, or a folder")
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        type=_pair,
        metavar="THEIRS=OURS",
        help=f"which column of the source is which of {', '.join(EVENT_COLUMNS)}",
    )
    parser.add_argument(
        "--event-type",
        action="append",
        default=[],
        type=_pair,
        metavar="THEIRS=OURS",
        help=f"what a name of an event means: {', '.join(KNOWN_EVENT_TYPES)}, or any other",
    )
    parser.add_argument(
        "--as-of", type=_moment, metavar="T", help="reject events after this moment (ISO 8601)"
    )
    parser.add_argument(
        "--max-bad-share",
        type=_share,
        default=MAX_BAD_SHARE,
        metavar="SHARE",
        help="stop where more than this share of the rows is bad (default: %(default)s)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Import, tell about it; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        report = import_events(
            options.sources,
            options.out,
            columns=dict(options.column),
            event_types=dict(options.event_type),
            as_of_ms=options.as_of,
            max_bad_share=options.max_bad_share,
        )
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{describe(report)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
