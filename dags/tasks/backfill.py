"""History from a bucket, brought to where the training reads it."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.deployment import Deployment
from training.errors import BadInputError
from training.import_events import describe, import_events
from training.importing.rejects import MAX_BAD_SHARE
from training.importing.roles import IMPORT_FORMATS, ImportFormat
from training.importing.sources import SourceFile, find_files
from training.moments import format_moment, parse_moment


@dataclass(frozen=True)
class Understanding:
    """How the files are to be understood, as `docs/data.md` says of the options of these names."""

    file_format: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    """From their names to ours."""
    event_types: Mapping[str, str] = field(default_factory=dict)
    """From their names to ours."""
    as_of: str | None = None
    max_bad_share: float = MAX_BAD_SHARE
    allow_empty_days: bool = False
    allow_no_targets: bool = False


def import_history(
    deployment: Deployment,
    *,
    sources: Sequence[str],
    catalogue: Sequence[str] = (),
    understanding: Understanding | None = None,
) -> dict[str, Any]:
    """Import files or folders: `s3://…`, or keys in the bucket of events; what the import tells.

    Files are read where they are; the worker's disk holds the sorted events alone. The same import again
    writes the same files again. Raises BadInputError that names the source, also where it is larger than
    the room that there is, and TooLittleDataError where days are missing; then nothing of it is read.
    """
    how = understanding or Understanding()
    named = [_uri(deployment, source) for source in sources]
    of_catalogue = [_uri(deployment, source) for source in catalogue]
    if not named:
        raise BadInputError("no source was named: expected s3://… or a key in the bucket of events")
    _refuse_too_large(find_files(named))
    report = import_events(
        named,
        deployment.events,
        catalogue=of_catalogue,
        columns=how.columns,
        event_types=how.event_types,
        file_format=_format(how.file_format),
        as_of_ms=None if how.as_of is None else parse_moment(how.as_of),
        max_bad_share=how.max_bad_share,
        allow_empty_days=how.allow_empty_days,
        allow_no_targets=how.allow_no_targets,
    )
    return {
        "source": report.source,
        "manifest": report.manifest,
        "files": len(report.files),
        "rows": report.rows,
        "events": report.events,
        "users": report.users,
        "items": report.items,
        "duplicates": report.duplicates,
        "deleted": report.deleted,
        "rejected_file": report.rejected_file,
        "rejected": dict(report.rejected),
        "event_types": dict(report.event_types),
        "first": format_moment(report.first_ms),
        "last": format_moment(report.last_ms),
        "same_files": list(report.same_files),
        "catalogue": report.catalogue.info.version if report.catalogue else None,
        "report": describe(report),
    }


def _uri(deployment: Deployment, source: str) -> str:
    if source.startswith("s3://"):
        return source
    key = source.strip("/")
    if "://" in source or source.startswith("/") or not key:
        raise BadInputError(f"{source!r}: expected s3://… or a key in {deployment.events_uri}")
    return deployment.events.uri_of(key)


def _format(name: str) -> ImportFormat:
    for known in IMPORT_FORMATS:
        if name == known:
            return known
    raise BadInputError(f"the format {name!r} is not known: expected one of {', '.join(IMPORT_FORMATS)}")


def _refuse_too_large(files: Sequence[SourceFile]) -> None:
    """Raise BadInputError where sorting surely finds no room; it takes about what the files take."""
    needed = sum(file.folder.filesystem.get_file_info(file.path).size or 0 for file in files)
    room = shutil.disk_usage(tempfile.gettempdir()).free
    if needed > room:
        raise BadInputError(
            f"{files[0].where}: {len(files):,} files have {needed:,} bytes, and this worker has room for "
            f"{room:,}: import them in parts, or on a larger machine with python -m training.import_events"
        )
