"""Deletions brought to the files in S3: `python -m training.forget`.

Postgres forgets a user at once, and readers of files pass over them; here the files themselves lose them.
What was looked at before, for the same deletions, is not read again. It runs in Airflow's workers, too:
psycopg, pyarrow and numpy are all that it needs.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from contract.recommendations import ManifestError
from contract.s3_layout import EVENTS_PREFIX, RECOMMENDATIONS_PREFIX, REJECTED_PREFIX
from contract.tombstones import Tombstones, user_hash
from training.commands import add_database, add_setting, run
from training.database import FILES_LOCK, alone, connected
from training.errors import BadInputError, UserError
from training.forgetting.events import forget_events, forgotten_rows
from training.forgetting.leftovers import (
    Leftover,
    events_leftovers,
    manifests_among,
    sweep,
    versions_leftovers,
)
from training.forgetting.lists import forget_lists
from training.forgetting.record import DeletionsRecord, Reached, read_record
from training.forgetting.rejected import forget_rejected
from training.moments import format_moment
from training.storage import Folder, StoredFile
from training.tombstones import exchange_tombstones, read_tombstones


@dataclass
class ForgetReport:
    """What one run did."""

    deleted_users: int = 0
    """How many are known."""
    looked_at: int = 0
    """Sources of events, files of rejected rows and versions that were read."""
    sources: int = 0
    """Of events, that lost rows."""
    events: int = 0
    """Rows that they lost."""
    rejected: int = 0
    """Rejected rows that were emptied."""
    versions: int = 0
    """That lost lists."""
    swept: int = 0
    """Files that no manifest listed any more, deleted now."""
    waiting: int = 0
    """Such files that somebody may still be reading: a later run deletes them."""


def forget_in_files(
    database_url: str,
    events: Folder,
    recommendations: Folder,
    *,
    wait: bool = False,
    now_ms: int | None = None,
) -> ForgetReport:
    """Take all deleted users out of events, rejected rows and versions, and say so beside the events.

    `wait` says what happens while another is at it. A file that can't be read stops none of the others.
    Raises UserError that names all of these; what was done is done, and the next run goes on.
    """
    with connected(database_url) as connection, alone(connection, wait=wait, lock=FILES_LOCK):
        now_ms = round(time.time() * 1000) if now_ms is None else now_ms
        try:
            for folder in (events, recommendations):
                folder.require()
            tombstones = exchange_tombstones(connection, events)
            return _Run(events, recommendations, tombstones, read_record(events), now_ms).run()
        except OSError as error:
            raise BadInputError(
                f"{events} and {recommendations}: cannot be read and written: {error}; the next run goes on"
            ) from error


def reached(events: Folder, user_id: str) -> Reached | None:
    """How far a user's deletion has come in the files; None where it is not known there.

    Raises BadInputError where tombstones or record can't be read.
    """
    record, tombstones = read_record(events), read_tombstones(events)
    found = [
        known
        for name, secret in tombstones.keys.items()
        if (known := record.reached.get((name, user_hash(secret, user_id))))
        and known.deleted_at == tombstones.deleted_until(user_id)
    ]
    return found[0] if found else None


@dataclass
class _Run:
    events: Folder
    recommendations: Folder
    tombstones: Tombstones
    record: DeletionsRecord
    now_ms: int
    report: ForgetReport = field(default_factory=ForgetReport)
    failures: list[str] = field(default_factory=list)

    def run(self) -> ForgetReport:
        self.record.begin(self.tombstones)
        self.report.deleted_users = len(self.tombstones.deleted_at)
        # Before anything is replaced now: else what is replaced every night would never be old enough.
        of_events, of_versions = self._sweep()
        if not self.failures and not self.report.waiting:
            self.record.all_gone(self.now_ms)
        try:
            if self.tombstones:
                self._forget(of_events, of_versions)
        finally:
            self.record.write(self.events)
        if self.failures:
            raise BadInputError("; ".join(self.failures))
        return self.report

    def _sweep(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """Delete what is left over, and give all manifests by key."""
        found = []
        for folder, prefix, leftovers in (
            (self.events, EVENTS_PREFIX, self._of_events),
            (self.recommendations, RECOMMENDATIONS_PREFIX, self._of_versions),
        ):
            # The listing first: what is written from now on is none of the files that may go.
            files = list(folder.files(prefix))
            manifests = {key: folder.read(key) for key in manifests_among(files)}
            with self._telling(folder.uri_of(prefix)):
                swept, waiting = sweep(folder, leftovers(files, manifests), self.now_ms)
                self.report.swept += swept
                self.report.waiting += waiting
            found.append(manifests)
        return found[0], found[1]

    def _of_events(self, files: list[StoredFile], manifests: dict[str, bytes]) -> Iterator[Leftover]:
        return events_leftovers(self.events, files, manifests)

    def _of_versions(self, files: list[StoredFile], manifests: dict[str, bytes]) -> Iterator[Leftover]:
        return versions_leftovers(files, manifests)

    def _forget(self, of_events: dict[str, bytes], of_versions: dict[str, bytes]) -> None:
        rejected = {file.key: file for file in self.events.files(REJECTED_PREFIX)}
        self.record.keep_only({*of_events, *of_versions, *rejected})
        replaced = 0
        for key, manifest in of_events.items():
            replaced += self._look(self.events, key, manifest, self._forget_events)
        for key, manifest in of_versions.items():
            replaced += self._look(self.recommendations, key, manifest, self._forget_lists)
        for file in rejected.values():
            self._look_at_rejected(file)
        if not self.failures:
            self.record.all_unread(self.tombstones, self.now_ms)
            if not replaced and not self.report.waiting:
                self.record.all_gone(self.now_ms)
        self.report.waiting += replaced

    def _look(
        self,
        folder: Folder,
        key: str,
        manifest: bytes,
        forget: Callable[[str, bytes], bytes],
    ) -> int:
        """Free all that a manifest lists, unless that is known to be free; how many files were replaced."""
        if self.record.is_clean(key, _digest(manifest)):
            return 0
        with self._telling(folder.uri_of(key)):
            self.report.looked_at += 1
            after = forget(key, manifest)
            self.record.clean[key] = _digest(after)
            return len(_names(manifest) - _names(after))
        return 0

    def _forget_events(self, key: str, manifest: bytes) -> bytes:
        after = forget_events(self.events, key, manifest, self.tombstones)
        if after != manifest:
            self.report.sources += 1
            self.report.events += forgotten_rows(after) - forgotten_rows(manifest)
        return after

    def _forget_lists(self, _: str, manifest: bytes) -> bytes:
        after = forget_lists(self.recommendations, manifest, self.tombstones)
        self.report.versions += after != manifest
        return after

    def _look_at_rejected(self, file: StoredFile) -> None:
        if self.record.is_clean(file.key, _stand(file)):
            return
        with self._telling(self.events.uri_of(file.key)):
            self.report.looked_at += 1
            emptied = forget_rejected(self.events, file.key, self.tombstones)
            self.report.rejected += emptied
            # A rewritten file stands otherwise: the next run looks at it once more.
            self.record.clean[file.key] = _stand(file)

    @contextmanager
    def _telling(self, where: str) -> Iterator[None]:
        """Take note of what can't be read, and go on."""
        try:
            yield
        except UserError as error:
            self.failures.append(str(error))
        except (OSError, ManifestError) as error:
            self.failures.append(f"{where}: {error}")


def _names(manifest: bytes) -> set[str]:
    """The files that a manifest lists, of events by their keys, of lists by their names."""
    return {file.get("key") or file["name"] for file in json.loads(manifest)["files"]}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _stand(file: StoredFile) -> str:
    return f"{file.bytes} bytes of {file.changed_at}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring deletions to the files, or tell when one got there; the exit status."""
    return run(_parser(), arguments)


def _forget_all(options: argparse.Namespace) -> tuple[Any, str]:
    report = forget_in_files(
        options.database_url, Folder(options.events), Folder(options.recommendations), wait=options.wait
    )
    return asdict(report), (
        f"{report.deleted_users:,} deleted users; {report.looked_at:,} manifests and files looked at:\n"
        f"  {report.events:,} events taken out of {report.sources:,} sources\n"
        f"  {report.rejected:,} rejected rows emptied\n"
        f"  lists taken out of {report.versions:,} versions\n"
        f"  {report.swept:,} replaced files deleted, {report.waiting:,} to be deleted by a later run"
    )


def _tell(options: argparse.Namespace) -> tuple[Any, str]:
    known = reached(Folder(options.events), options.user)
    if known is None:
        return None, "not known in the files: never deleted, or not reached yet"
    moments = {
        name: None if moment is None else format_moment(moment) for name, moment in asdict(known).items()
    }
    return moments, "\n".join(f"{name}: {moment or 'not yet'}" for name, moment in moments.items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.forget",
        description="Take deleted users out of events, rejected rows and versions in S3.",
    )
    commands = parser.add_subparsers(required=True)
    forget = commands.add_parser("files", help="take them out")
    add_database(forget)
    add_setting(
        forget, "--recommendations", "RECOMMENDATIONS_URI", "the bucket, or the folder, that holds versions"
    )
    forget.add_argument("--wait", action="store_true", help="wait while another is at it")
    forget.set_defaults(run=_forget_all)
    when = commands.add_parser("when", help="tell how far a user's deletion has come")
    when.add_argument("user", metavar="USER_ID")
    when.set_defaults(run=_tell)
    for command in (forget, when):
        add_setting(command, "--events", "EVENTS_URI", "the bucket, or the folder, that holds events/")
        command.add_argument("--json", action="store_true", help="a document instead of text")
    return parser


if __name__ == "__main__":
    sys.exit(main())
