"""Loading a published version into Postgres, and making it live.

The lists go into a table of their own, which becomes a partition of `recommendations` when it is whole:
readers never wait, and never see half a version. Interrupted anywhere, what is served stays as it was,
and the next load begins by cleaning up.

It runs in Airflow's workers, too: psycopg, pyarrow and numpy are all that it needs.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from contract.recommendations import (
    DEFAULT_VARIANT,
    LIST_COLUMNS,
    LISTS_TABLE,
    ListKind,
    Manifest,
    lists_counts,
)
from training.ahead import ahead
from training.binary_copy import encode
from training.database import Connection, alone, connected, lists_table, lists_table_name, one_value
from training.errors import VersionError
from training.publish import read_lists, read_manifest
from training.retirement import PATIENCE_SECONDS, clean_up
from training.serving import Move, move, versions
from training.storage import Folder
from training.tombstones import exchange_tombstones, obey

_COLUMNS: Final = ("version", *LIST_COLUMNS)

# Planning takes milliseconds. Who holds the table for longer than this reads it, and sees what was served.
_PLANNING_SECONDS: Final = 10.0
_SECONDS_BETWEEN_LOOKS: Final = 0.01


@dataclass(frozen=True)
class LoadReport:
    """What a load did."""

    version: str
    number: int
    """The version's number in Postgres."""
    lists: dict[str, int]
    """How many the version holds, by kind."""
    as_of: str
    """The moment up to which the version knows events, ISO 8601 UTC."""
    reused: bool
    """Whether it was in Postgres already, so that nothing was written."""
    move: Move | None
    """What became of the variant's row; None where the version was not to be activated."""
    pending: tuple[str, ...]
    """Versions that are to be removed, but that somebody still reads."""
    seconds: float


def load_version(
    database_url: str,
    out: Folder,
    version: str,
    *,
    variant: str = DEFAULT_VARIANT,
    activate: bool = True,
    wait: bool = False,
    patience_seconds: float = PATIENCE_SECONDS,
    events: Folder | None = None,
    on_lists: Callable[[int], object] | None = None,
) -> LoadReport:
    """Load a published version, unless it is there, and let it answer for `variant`.

    `wait` says what happens while another loads or drops; `patience_seconds` is how long the removal of
    leftovers may wait for readers; `events` is where other databases' tombstones lie, which this one
    takes over; `on_lists` is told, in another thread, how many lists each step sent.

    Deleted users get no lists: of what they did since then the version knows nothing.

    Raises VersionError where the version is missing or damaged, or another is at work, and DatabaseError
    where Postgres fails. Then the variant serves what it served before.
    """
    started = time.monotonic()
    with connected(database_url) as connection, alone(connection, wait=wait):
        pending = clean_up(connection, patience_seconds=patience_seconds)
        if events:
            exchange_tombstones(connection, events)
        number, reused = _ready(connection, version), True
        if number is None:
            number, reused = _load(connection, out, version, on_lists or _tell_nobody), False
        moved = move(connection, version, variant) if activate else None
        manifest = one_value(connection, "SELECT manifest FROM versions WHERE number = %s", number)
    return LoadReport(
        version=version,
        number=number,
        lists=lists_counts(manifest["counts"]),
        as_of=manifest["as_of"],
        reused=reused,
        move=moved,
        pending=pending,
        seconds=time.monotonic() - started,
    )


def _ready(connection: Connection, version: str) -> int | None:
    """The number of a version that is there; None where it is to be loaded."""
    for info in versions(connection):
        if info.name == version:
            if info.state == "ready":
                return info.number
            raise VersionError(
                f"version {version} is being dropped, and somebody still reads it: try again later, "
                "or publish it under another name"
            )
    return None


def _load(connection: Connection, out: Folder, version: str, on_lists: Callable[[int], object]) -> int:
    manifest = read_manifest(out, version)
    number = _begin(connection, manifest)
    try:
        _fill(connection, out, manifest, number, on_lists)
    except (psycopg.IntegrityError, psycopg.DataError) as error:
        clean_up(connection)
        raise VersionError(f"version {version}: Postgres refuses its lists: {error}") from error
    except VersionError:
        clean_up(connection)
        raise
    _attach(connection, number, manifest)
    _wait_for_earlier_plans(connection)
    return number


def _begin(connection: Connection, manifest: Manifest) -> int:
    """Register the version and make its table, empty and apart: the version's number."""
    with connection.transaction():
        number: int = one_value(
            connection,
            "INSERT INTO versions (name, state, manifest) VALUES (%s, 'loading', %s) RETURNING number",
            manifest.version,
            manifest.to_json(),
        )
        # With the constraint, attaching needs no scan. LIKE locks its model until the transaction ends:
        # hence this one is short.
        connection.execute(
            sql.SQL(
                "CREATE TABLE {table} (LIKE {lists} INCLUDING ALL EXCLUDING INDEXES,"
                " CONSTRAINT one_version CHECK (version = {number}))"
            ).format(table=lists_table(number), lists=sql.Identifier(LISTS_TABLE), number=sql.Literal(number))
        )
    return number


def _fill(
    connection: Connection,
    out: Folder,
    manifest: Manifest,
    number: int,
    on_lists: Callable[[int], object],
) -> None:
    """Write all lists, check their counts, make the primary key and the planner's figures."""
    table = lists_table(number)
    counts: Counter[str] = Counter()
    # FREEZE spares readers and vacuum from touching each page once more; only a table that this very
    # transaction has emptied can have it.
    copy_in = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT binary, FREEZE)").format(
        table, sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
    )
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(sql.SQL("TRUNCATE {}").format(table))
        with cursor.copy(copy_in) as copy:
            chunks = encode(_numbered(read_lists(out, manifest), number, counts, on_lists))
            for chunk in ahead(chunks):
                copy.write(chunk)
        _check_counts(manifest, counts, written=cursor.rowcount)
        cursor.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (version, key, kind)").format(table))
        # Without figures the planner takes guesses, and an answer may read all lists of a kind.
        cursor.execute(sql.SQL("ANALYZE {} (version, key, kind)").format(table))


def _numbered(
    batches: Iterator[pa.RecordBatch],
    number: int,
    counts: Counter[str],
    on_lists: Callable[[int], object],
) -> Iterator[pa.RecordBatch]:
    """The batches with the version's number in front, counted by kind."""
    for batch in batches:
        for kind in pc.value_counts(batch["kind"]).to_pylist():
            counts[kind["values"]] += kind["counts"]
        numbers = pa.array(np.full(batch.num_rows, number, np.int32))
        yield pa.RecordBatch.from_arrays([numbers, *batch.columns], names=list(_COLUMNS))
        on_lists(batch.num_rows)


def _check_counts(manifest: Manifest, counts: Counter[str], *, written: int) -> None:
    expected = {kind: manifest.counts.get(kind, 0) for kind in ListKind}
    found = {kind: counts.get(kind, 0) for kind in ListKind}
    if expected != found or written != sum(expected.values()):
        raise VersionError(
            f"version {manifest.version}: the manifest promises {lists_counts(manifest.counts)} lists, "
            f"the files hold {dict(counts)}, Postgres took {written}"
        )


def _attach(connection: Connection, number: int, manifest: Manifest) -> None:
    with connection.transaction():
        obey(connection, lists_table_name(number), datetime.fromisoformat(manifest.as_of))
        connection.execute(
            sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES IN ({})").format(
                sql.Identifier(LISTS_TABLE), lists_table(number), sql.Literal(number)
            )
        )
        connection.execute(
            "UPDATE versions SET state = 'ready', changed_at = now() WHERE number = %s", (number,)
        )


def _wait_for_earlier_plans(connection: Connection) -> None:
    """Wait until nobody is about to run a statement that was planned before the version was attached.

    Postgres plans by the partitions of that moment, and only then takes the snapshot that says what is
    served: a version that was attached and made live in between would seem to have no lists at all.
    """
    deadline = time.monotonic() + _PLANNING_SECONDS
    earlier = _users_of_lists(connection)
    while earlier and time.monotonic() < deadline:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        earlier &= _users_of_lists(connection)


def _users_of_lists(connection: Connection) -> set[str]:
    """The transactions of others that are running a statement on the lists, or planning one."""
    # What sessions of other roles do is hidden from most: then they are taken to run something.
    rows = connection.execute(
        "SELECT virtualtransaction FROM pg_locks LEFT JOIN pg_stat_activity USING (pid)"
        " WHERE relation = %s::regclass AND pid <> pg_backend_pid()"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND state IS DISTINCT FROM 'idle in transaction'",
        (LISTS_TABLE,),
    )
    return {row[0] for row in rows}


def _tell_nobody(_: int) -> None:
    """Tell nobody."""
