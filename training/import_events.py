"""Shop events from files into the bucket: `python -m training.import_events SOURCE… --out S3_URI_OR_FOLDER`.

Every row becomes an event of exactly one day's file, or is set aside in `rejected/` with its reason, or
is counted as a repeat or as a deleted user's. The same sources with the same options give the same keys and
the same bytes; the manifest, without which nothing is read, is written last.

Files of items and categories that lie beside the events become a version of the catalogue.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from contract.events import EVENT_COLUMNS, KNOWN_EVENT_TYPES
from contract.s3_layout import EVENTS_MANIFESTS_PREFIX, events_manifest_key, rejected_key
from training.data_report.checks import refuse_empty_days, refuse_without_targets
from training.errors import BadInputError, UserError
from training.importing.catalogue import CatalogueReport, has_catalogue, import_taken
from training.importing.columns import check_explicit
from training.importing.day_files import Written, write_days
from training.importing.intake import EventIntake
from training.importing.options import add_event_options, add_reading_options
from training.importing.rejects import MAX_BAD_SHARE, Rejects, check_share, listed
from training.importing.report import ImportReport, describe
from training.importing.roles import ImportFormat, Role, Taken, no_events, of_role, take_files
from training.importing.rows import Judge
from training.importing.sorting import MEMORY_LIMIT
from training.importing.sources import content_hash
from training.importing.understood import understand
from training.moments import format_moment
from training.storage import Folder
from training.tombstones import read_tombstones

__all__ = ["ImportReport", "describe", "import_events", "main"]

FORMAT_VERSION: Final = 1
"""Part of every source's name: to be raised when the same input is to give other files."""

_SOURCE_PREFIX: Final = "import-"


def import_events(
    sources: Sequence[str | Path],
    out: str | Path | Folder,
    *,
    catalogue: Sequence[str | Path] = (),
    columns: Mapping[str, str] | None = None,
    event_types: Mapping[str, str] | None = None,
    file_format: ImportFormat = "auto",
    as_of_ms: int | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
    allow_empty_days: bool = False,
    allow_no_targets: bool = False,
    memory_limit: str = MEMORY_LIMIT,
) -> ImportReport:
    """Import files, or folders of files, into the bucket or folder `out`.

    What each file of `sources` is its columns tell; those of `catalogue` hold no events. `columns` and
    `event_types` lead from their names to ours and win over the usual names. Events after `as_of_ms` (UTC
    milliseconds) are rejected. The catalogue is that of `as_of_ms`, or else of the last event.

    Raises BadInputError where a source can't be used, or where more than `max_bad_share` of all rows are
    bad, and TooLittleDataError where a day is empty or nothing was carted or bought, unless that is allowed;
    what was imported before stays as it is then, and nothing of this import is read.
    """
    columns, event_types = dict(columns or {}), dict(event_types or {})
    check_explicit(columns, event_types)
    check_share(max_bad_share)
    folder = out if isinstance(out, Folder) else Folder(out)
    taken = take_files(sources, catalogue, columns, file_format)
    of_events = of_role(taken, Role.EVENTS)
    if not of_events:
        raise no_events(taken)
    names = listed([file.opened.file.where for file in of_events], most=3)
    content = _content(of_events)
    options = _options(columns, event_types, as_of_ms)
    with tempfile.TemporaryDirectory(prefix="import-") as temporary:
        rejects = Rejects(Path(temporary) / "rejected.parquet")
        intake = EventIntake(of_events, Judge(event_types, as_of_ms), read_tombstones(folder), rejects)
        try:
            with intake.sorted(Path(temporary), memory_limit) as events:
                source = _source_name(content, options | intake.deletions())
                rejected_file = rejects.store(folder, source)
                _refuse_useless(intake, names, max_bad_share, folder.uri_of(rejected_key(source)))
                written = write_days(folder, source, events)
            with _taken_back_on_failure(folder, source, written):
                if not allow_empty_days:
                    refuse_empty_days(names, written.rows_by_day)
                if not allow_no_targets:
                    refuse_without_targets(names, written.event_types)
                of_catalogue = _import_catalogue(
                    folder,
                    taken,
                    as_of_ms=written.last_ms if as_of_ms is None else as_of_ms,
                    columns=columns,
                    max_bad_share=max_bad_share,
                    memory_limit=memory_limit,
                )
            report = _report(
                folder=folder,
                source=source,
                content=content,
                taken=taken,
                columns=columns,
                intake=intake,
                written=written,
                rejected_file=rejected_file,
                of_catalogue=of_catalogue,
            )
            _write_manifest(folder, report)
        except OSError as error:
            raise BadInputError(f"{folder}: cannot be written: {error}") from error
    return report


def _content(files: Sequence[Taken]) -> str:
    hashes = sorted(content_hash(file.opened.file) for file in files)
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _options(
    columns: Mapping[str, str], event_types: Mapping[str, str], as_of_ms: int | None
) -> dict[str, object]:
    """What makes other events of the same files; columns that only a catalogue has don't."""
    of_events = {theirs: ours for theirs, ours in columns.items() if ours in EVENT_COLUMNS}
    return {"columns": of_events, "event_types": event_types, "as_of": as_of_ms}


def _source_name(content: str, options: Mapping[str, object]) -> str:
    """A name that stands for what was read and how, so that a second import replaces the first."""
    identity = {"version": FORMAT_VERSION, "content": content, "options": options}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return f"{_SOURCE_PREFIX}{digest[:16]}"


def _refuse_useless(intake: EventIntake, names: str, max_bad_share: float, stored_at: str) -> None:
    intake.rejects.refuse_too_many(names, intake.rows, max_bad_share, stored_at)
    if not intake.events:
        raise BadInputError(
            f"{names}: all {intake.deleted:,} events are of users who were deleted afterwards"
        )


@contextmanager
def _taken_back_on_failure(folder: Folder, source: str, written: Written) -> Iterator[None]:
    """Delete what was written, unless an earlier import of the same, which was finished, has it, too."""
    try:
        yield
    except UserError:
        if not folder.exists(events_manifest_key(source)):
            for file in written.files:
                folder.delete(file.key)
        raise


def _import_catalogue(folder: Folder, taken: Sequence[Taken], **options: Any) -> CatalogueReport | None:
    return import_taken(folder, taken, **options) if has_catalogue(taken) else None


def _report(
    *,
    folder: Folder,
    source: str,
    content: str,
    taken: Sequence[Taken],
    columns: Mapping[str, str],
    intake: EventIntake,
    written: Written,
    rejected_file: str | None,
    of_catalogue: CatalogueReport | None,
) -> ImportReport:
    return ImportReport(
        source=source,
        content=content,
        out=str(folder),
        manifest=events_manifest_key(source),
        files=tuple(written.files),
        rows=intake.rows,
        events=written.rows,
        duplicates=intake.events - written.rows,
        deleted=intake.deleted,
        rejected=intake.rejects.by_reason(),
        rejected_file=rejected_file,
        event_types=dict(sorted(written.event_types.items())),
        users=len(written.users),
        items=len(written.items),
        first_ms=written.first_ms,
        last_ms=written.last_ms,
        as_of_ms=intake.judge.as_of_ms,
        understood=understand(taken, columns),
        kinds=_kinds(intake.judge),
        time_forms=tuple(sorted(intake.judge.time_forms)),
        left_out_users=_count_rows(of_role(taken, Role.USERS)),
        catalogue=of_catalogue,
        same_files=tuple(_same_files(folder, source, content)),
    )


def _kinds(judge: Judge) -> dict[str, tuple[str, str]]:
    return {theirs: (ours, _reason(theirs, ours, judge)) for theirs, ours in sorted(judge.kinds.items())}


def _reason(theirs: str, ours: str, judge: Judge) -> str:
    if theirs in judge.event_types:
        return "--event-type"
    return "its usual name" if ours in KNOWN_EVENT_TYPES else "kept as it is"


def _count_rows(files: Sequence[Taken]) -> int:
    batches = (batch for file in files for batch in file.opened.batches(file.wanted))
    return sum(len(batch.rows) + len(batch.malformed) for batch in batches)


def _same_files(folder: Folder, source: str, content: str) -> Iterator[str]:
    own = events_manifest_key(source)
    for key in folder.list(EVENTS_MANIFESTS_PREFIX):
        is_import = key.startswith(EVENTS_MANIFESTS_PREFIX + _SOURCE_PREFIX)
        if is_import and key != own and f'"content": "{content}"' in folder.read(key).decode():
            yield key


def _write_manifest(folder: Folder, report: ImportReport) -> None:
    # Not where it was written to, nor when: the same import gives the same bytes.
    content = {"version": FORMAT_VERSION, **asdict(report)}
    del content["out"], content["manifest"], content["same_files"]
    content["catalogue"] = report.catalogue.info.version if report.catalogue else None
    for name in ("first", "last", "as_of"):
        moment = content.pop(f"{name}_ms")
        content[name] = format_moment(moment) if moment is not None else None
    text = json.dumps(content, indent=2, ensure_ascii=False)
    folder.write(report.manifest, text.encode())


def main(arguments: Sequence[str] | None = None) -> int:
    """Import, tell about it; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        report = import_events(
            options.sources,
            options.out,
            catalogue=options.catalogue,
            columns=dict(options.column),
            event_types=dict(options.event_type),
            file_format=options.format,
            as_of_ms=options.as_of,
            max_bad_share=options.max_bad_share,
            allow_empty_days=options.allow_empty_days,
            allow_no_targets=options.allow_no_targets,
        )
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{describe(report)}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.import_events",
        description="Bring shop events, and what the shop sells, from CSV, JSON lines or Parquet into the "
        "bucket.",
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="a file or folder, local or s3://…")
    parser.add_argument("--out", required=True, metavar="S3_URI_OR_FOLDER", help="the bucket, or a folder")
    parser.add_argument(
        "--catalogue",
        action="append",
        default=[],
        metavar="SOURCE",
        help="a file or folder of items or categories, which holds no events",
    )
    add_reading_options(parser)
    add_event_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
