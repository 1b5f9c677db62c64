"""Files that no manifest lists: replaced ones, and those of an import or a training that was cut off."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from contract.recommendations import Manifest
from contract.s3_layout import (
    EVENTS_MANIFESTS_PREFIX,
    EVENTS_PREFIX,
    RECOMMENDATIONS_PREFIX,
    events_manifest_key,
    manifest_key,
    source_of,
    version_prefix,
)
from training.events import files_in
from training.storage import Folder, StoredFile

REPLACED_MS: Final = 12 * 3_600_000
"""So long may who read a manifest before it was replaced go on reading; less than a day, see `forget`."""
ABANDONED_MS: Final = 7 * 24 * 3_600_000
"""So long a file waits for a manifest: an import writes it last, and may take its time."""

_DAY_FILE: Final = re.compile(re.escape(EVENTS_PREFIX) + r"dt=[^/]+/(import|export)-[^/]+\.parquet")
"""What imports and exports write; whatever else somebody put there is theirs."""
_VERSION_FILE: Final = re.compile(r"lists-\d{5,}(\.[0-9a-f]{16})?\.parquet|ranker\.json")


@dataclass(frozen=True)
class Leftover:
    """A file that nobody will read, and the moment from which it may go, ms UTC."""

    key: str
    from_ms: int


def sweep(bucket: Folder, leftovers: Iterable[Leftover], now_ms: int) -> tuple[int, int]:
    """Delete those whose time has come; how many these were, and how many are waiting."""
    deleted = waiting = 0
    for leftover in leftovers:
        if leftover.from_ms <= now_ms:
            bucket.delete(leftover.key)
            deleted += 1
        else:
            waiting += 1
    return deleted, waiting


def events_leftovers(
    bucket: Folder, files: Iterable[StoredFile], manifests: Mapping[str, bytes]
) -> Iterator[Leftover]:
    """Of a listing of `events/`; `manifests` by key, read after it. Raises BadInputError for what is none."""
    known = {file.key: file for file in files}
    listed = {
        file.key for key, content in manifests.items() for file in files_in(content, bucket.uri_of(key))
    }
    for file in known.values():
        if not _DAY_FILE.fullmatch(file.key) or file.key in listed:
            continue
        key = events_manifest_key(source_of(file.key))
        if key not in manifests:
            yield Leftover(file.key, file.changed_at + ABANDONED_MS)
        elif key in known:
            yield _replaced(file, known[key])


def versions_leftovers(files: Iterable[StoredFile], manifests: Mapping[str, bytes]) -> Iterator[Leftover]:
    """Of a listing of `recommendations/`; as above, but for ManifestError."""
    for version, of_version in groupby(files, key=version_of):
        known = {file.key: file for file in of_version}
        key, prefix = manifest_key(version), version_prefix(version)
        files_of = Manifest.from_json(manifests[key]).files if key in manifests else ()
        listed = {prefix + entry.name for entry in files_of}
        for file in known.values():
            name = file.key.removeprefix(prefix)
            if not _VERSION_FILE.fullmatch(name) or file.key in listed:
                continue
            if key not in manifests:
                yield Leftover(file.key, file.changed_at + ABANDONED_MS)
            elif key in known and not name.endswith(".json"):
                yield _replaced(file, known[key])


def manifests_among(files: Iterable[StoredFile]) -> list[str]:
    """The keys of manifests, of events or of versions."""
    return [
        file.key
        for file in files
        if (file.key.startswith(EVENTS_MANIFESTS_PREFIX) and file.key.endswith(".json"))
        or (file.key.startswith(RECOMMENDATIONS_PREFIX) and file.key == manifest_key(version_of(file)))
    ]


def version_of(file: StoredFile) -> str:
    """The version in whose folder a file lies."""
    return file.key.removeprefix(RECOMMENDATIONS_PREFIX).partition("/")[0]


def _replaced(file: StoredFile, manifest: StoredFile) -> Leftover:
    # The manifest that stopped listing it was written then, or even earlier.
    return Leftover(file.key, max(file.changed_at, manifest.changed_at) + REPLACED_MS)
