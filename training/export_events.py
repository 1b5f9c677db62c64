"""Posted events from Postgres into the bucket, each exactly once: `python -m training.export_events`.

An export covers a range of transactions, all of which had ended when it was planned: a serial number or a
time would pass over what was about to be committed. The plan is committed before anything is written, the
files' names follow from it, their manifest is written after them, and then the plan is marked as done. A
crash anywhere leaves an open plan, which the next run repeats.

A database that was restored counts on from an earlier transaction, and would write other events under
names that the bucket holds already. It is told by its system identifier, or by exports in the bucket that
it doesn't know of; then a new epoch begins, and all events that it has are exported once more. Readers
count an event of one `event_id` once.
"""

import argparse
import io
import json
import re
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, Final

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from psycopg import sql

from contract.recommendations import EVENTS_TABLE
from contract.s3_layout import EVENTS_MANIFESTS_PREFIX, events_key, events_manifest_key
from training.commands import add_database, add_setting
from training.database import EXPORT_LOCK, Connection, alone, connected, one_value
from training.errors import BadInputError, UserError
from training.event_retention import drop_exported_days
from training.events import POSTED_EVENTS_SCHEMA, EventsFile
from training.importing.row_groups import parquet_options
from training.storage import Folder
from training.tombstones import exchange_tombstones

_MANIFEST: Final = re.compile(
    re.escape(EVENTS_MANIFESTS_PREFIX) + r"export-(?P<epoch>[0-9a-f]{8})-(?P<range>\d+-\d+)\.json"
)

_DAY_COLUMN: Final = "received_on"
_COPY: Final = sql.SQL(
    """
    COPY (
        SELECT received_on, user_id, item_id, event_type, "timestamp", event_id, recommendation_id,
            round(extract(epoch FROM received_at) * 1000)::bigint AS received_at
        FROM {} WHERE xid >= {} AND xid < {}
        ORDER BY received_on, "timestamp", user_id, item_id, event_type, event_id
    ) TO STDOUT WITH (FORMAT csv)
    """
)
# As COPY writes it: nothing between two commas is no value, two quotes are an empty one.
_BLOCK_BYTES: Final = 4 * 1024 * 1024
_READ: Final = pacsv.ReadOptions(
    block_size=_BLOCK_BYTES, column_names=[_DAY_COLUMN, *POSTED_EVENTS_SCHEMA.names], use_threads=False
)
_PARSE: Final = pacsv.ParseOptions(newlines_in_values=True)
_CONVERT: Final = pacsv.ConvertOptions(
    column_types={_DAY_COLUMN: pa.string(), **{field.name: field.type for field in POSTED_EVENTS_SCHEMA}},
    null_values=[""],
    strings_can_be_null=True,
    quoted_strings_can_be_null=False,
)


@dataclass(frozen=True)
class Plan:
    """A range of transactions that is exported as one."""

    number: int
    epoch: str
    from_xid: int
    to_xid: int
    """The first transaction that is not in it."""
    days: tuple[str, ...]
    """The days of receipt, YYYY-MM-DD, that had events when it was planned."""

    @property
    def source(self) -> str:
        """What its files and its manifest are called."""
        return f"export-{self.epoch}-{self.from_xid}-{self.to_xid}"


@dataclass(frozen=True)
class ExportReport:
    """What one run exported."""

    out: str
    manifests: tuple[str, ...]
    """Keys; of a plan that was found open, then of a new one. None where there was nothing new."""
    events: int
    deleted_users: int
    """How many are known, here and in the bucket."""


def export_events(database_url: str, out: Folder, *, wait: bool = False) -> ExportReport:
    """Finish an export that was cut off, then export what was committed since.

    `wait` says what happens while another exports. Raises UserError where that isn't set, where Postgres
    fails, or where the bucket can't be written; then nothing is lost, and the next run goes on.
    """
    with connected(database_url) as connection, alone(connection, wait=wait, lock=EXPORT_LOCK):
        tombstones = exchange_tombstones(connection, out)
        plans, events = [], 0
        for plan in _plans(connection, out):
            events += _carry_out(connection, out, plan)
            plans.append(plan)
    return ExportReport(
        out=str(out),
        manifests=tuple(events_manifest_key(plan.source) for plan in plans),
        events=events,
        deleted_users=len(tombstones.deleted_at),
    )


def _plans(connection: Connection, out: Folder) -> Iterator[Plan]:
    """The plan that is open, if there is one, and when that is done a new one, if there are new events."""
    for find in (_open_plan, _new_plan):
        plan = find(connection, out)
        if plan:
            yield plan


def _open_plan(connection: Connection, _: Folder) -> Plan | None:
    row = connection.execute(
        "SELECT number, epoch, from_xid::text, to_xid::text, days FROM event_exports WHERE state = 'planned'"
    ).fetchone()
    return _plan(row) if row else None


def _new_plan(connection: Connection, out: Folder) -> Plan | None:
    """Commit a plan for all that is finished and not yet exported; None where there is no such event."""
    system, epoch, start = _where_to_go_on(connection, out)
    with connection.transaction():
        # One statement, so that one snapshot says where the range ends and what lies in it.
        row = connection.execute(
            """
            WITH range AS (SELECT %s::xid8 AS from_xid, pg_snapshot_xmin(pg_current_snapshot()) AS to_xid),
            days AS (
                SELECT array_agg(DISTINCT received_on ORDER BY received_on) AS days
                FROM events, range WHERE xid >= from_xid AND xid < to_xid
            )
            INSERT INTO event_exports (system_identifier, epoch, from_xid, to_xid, days)
            SELECT %s, %s, from_xid, to_xid, days FROM range, days WHERE days IS NOT NULL
            RETURNING number, epoch, from_xid::text, to_xid::text, days
            """,
            (str(start), system, epoch),
        ).fetchone()
    return _plan(row) if row else None


def _where_to_go_on(connection: Connection, out: Folder) -> tuple[str, str, int]:
    """This system's identifier, the epoch, and the first transaction that no plan of it has."""
    system = str(one_value(connection, "SELECT system_identifier FROM pg_control_system()"))
    last = connection.execute(
        "SELECT system_identifier, epoch, to_xid::text FROM event_exports ORDER BY number DESC LIMIT 1"
    ).fetchone()
    if last and last[0] == system and not _unknown_exports(connection, out, last[1]):
        return system, last[1], int(last[2])
    _adopt_events(connection)
    return system, uuid.uuid4().hex[:8], 0


def _unknown_exports(connection: Connection, out: Folder, epoch: str) -> set[str]:
    """Exports of this epoch in the bucket that the database doesn't know of: it went back in time."""
    found = {
        match["range"]
        for key in out.list(EVENTS_MANIFESTS_PREFIX)
        if (match := _MANIFEST.fullmatch(key)) and match["epoch"] == epoch
    }
    known = connection.execute(
        "SELECT from_xid || '-' || to_xid FROM event_exports WHERE epoch = %s", (epoch,)
    ).fetchall()
    return found - {row[0] for row in known}


def _adopt_events(connection: Connection) -> None:
    """Give events that another system wrote a transaction of this one, so that ranges come to hold them."""
    connection.execute(
        "UPDATE events SET xid = pg_current_xact_id() WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())"
    )


def _carry_out(connection: Connection, out: Folder, plan: Plan) -> int:
    """Write a plan's files, then its manifest, then that it is done; how many events it has."""
    try:
        files = _write_days(connection, out, plan)
        _delete_emptied(out, plan, files)
        manifest = {
            **asdict(plan), "source": plan.source, "rows": sum(file.rows for file in files),
            "files": [asdict(file) for file in files],
        }  # fmt: skip
        del manifest["number"]
        out.write(events_manifest_key(plan.source), json.dumps(manifest, indent=2).encode())
    except OSError as error:
        raise BadInputError(f"{out}: cannot be written: {error}; the next export goes on with it") from error
    rows: int = manifest["rows"]
    _mark_as_done(connection, plan, rows)
    return rows


def _mark_as_done(connection: Connection, plan: Plan, rows: int) -> None:
    connection.execute(
        "UPDATE event_exports SET state = 'done', rows = %s, done_at = now() WHERE number = %s",
        (rows, plan.number),
    )


def _write_days(connection: Connection, out: Folder, plan: Plan) -> list[EventsFile]:
    """One file a day of receipt; the same plan gives the same files, but for users deleted meanwhile."""
    files = []
    with tempfile.TemporaryDirectory(prefix="export-") as temporary, _copied(connection, plan) as events:
        local = Path(temporary) / "day.parquet"
        for day, parts in groupby(events, key=lambda part: part[0]):
            with pq.ParquetWriter(
                local, POSTED_EVENTS_SCHEMA, **parquet_options(POSTED_EVENTS_SCHEMA)
            ) as writer:
                rows = 0
                for _, batch in parts:
                    writer.write_batch(batch)
                    rows += batch.num_rows
            key = events_key(day, plan.source)
            out.write_from(key, local)
            files.append(EventsFile(key=key, rows=rows))
    return files


@contextmanager
def _copied(connection: Connection, plan: Plan) -> Iterator[Iterator[tuple[str, pa.RecordBatch]]]:
    """The plan's events, sorted, each batch of one day. Leaving ends the copy, which holds the connection."""
    bounds = [sql.Literal(str(xid)) for xid in (plan.from_xid, plan.to_xid)]
    with (
        connection.cursor() as cursor,
        cursor.copy(_COPY.format(sql.Identifier(EVENTS_TABLE), *bounds)) as copy,
    ):
        first = copy.read()
        reader = pacsv.open_csv(_whole_blocks(first, copy), _READ, _PARSE, _CONVERT) if first else ()
        yield (part for batch in reader for part in _by_day(batch))


def _by_day(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    days = batch[_DAY_COLUMN]
    events = batch.select(POSTED_EVENTS_SCHEMA.names)
    ends = pc.run_end_encode(days, run_end_type=pa.int32())
    start = 0
    for day, end in zip(ends.values.to_pylist(), ends.run_ends.to_pylist(), strict=True):
        yield day, events.slice(start, end - start)
        start = end


def _whole_blocks(first: bytes | bytearray | memoryview, copy: psycopg.Copy) -> BinaryIO:
    # Postgres sends row by row, and Arrow makes a batch of whatever one reading gives.
    return io.BufferedReader(_Chunks(first, copy), _BLOCK_BYTES)


class _Chunks(io.RawIOBase):
    """What Postgres copies out, as a file to read from."""

    def __init__(self, first: bytes | bytearray | memoryview, copy: psycopg.Copy) -> None:
        self._chunk, self._copy = memoryview(first), copy

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._chunk:
            self._chunk = memoryview(self._copy.read())
        size = min(len(buffer), len(self._chunk))
        buffer[:size] = self._chunk[:size]
        self._chunk = self._chunk[size:]
        return size


def _delete_emptied(out: Folder, plan: Plan, files: list[EventsFile]) -> None:
    """Take away what an earlier try wrote for a day whose users were all deleted since."""
    written = {file.key for file in files}
    for day in plan.days:
        key = events_key(day, plan.source)
        if key not in written and out.exists(key):
            out.delete(key)


def _plan(row: tuple[Any, ...]) -> Plan:
    number, epoch, from_xid, to_xid, days = row
    return Plan(number, epoch, int(from_xid), int(to_xid), tuple(day.isoformat() for day in days))


def main(arguments: Sequence[str] | None = None) -> int:
    """Export, tell about it; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        report = export_events(options.database_url, Folder(options.events), wait=options.wait)
        dropped = (
            drop_exported_days(options.database_url, keep_days=options.keep_days, wait=options.wait)
            if options.keep_days is not None
            else ()
        )
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if options.json:
        text = json.dumps({**asdict(report), "dropped_days": dropped}, indent=2)
    else:
        text = "\n".join(_described(report, dropped))
    sys.stdout.write(f"{text}\n")
    return 0


def _described(report: ExportReport, dropped: Sequence[str]) -> Iterator[str]:
    if report.manifests:
        yield f"{report.events:,} posted events exported:"
        yield from (f"  {report.out}/{key}" for key in report.manifests)
    else:
        yield "no posted event is new"
    if dropped:
        yield f"dropped from Postgres, since exported: {', '.join(dropped)}"
    yield f"{report.deleted_users:,} deleted users are known"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.export_events",
        description="Bring posted events from Postgres into the bucket, each exactly once.",
    )
    add_database(parser)
    add_setting(parser, "--events", "EVENTS_URI", "the bucket, or the folder, that holds events/")
    parser.add_argument("--wait", action="store_true", help="wait while another exports")
    parser.add_argument(
        "--keep-days",
        type=int,
        metavar="N",
        help="afterwards drop days of receipt that ended more than N days ago, as far as they are exported",
    )
    parser.add_argument("--json", action="store_true", help="a document instead of text")
    return parser


if __name__ == "__main__":
    sys.exit(main())
