"""Deleted users, kept in step between Postgres and the bucket: `python -m training.tombstones`."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contract.recommendations import VERSIONS_TABLE
from contract.s3_layout import EVENTS_PREFIX, TOMBSTONES_KEY
from contract.tombstones import KEY_PURPOSE, Tombstones, TombstonesError
from training.commands import add_database, add_setting
from training.database import Connection, connected, lists_table_name
from training.errors import BadInputError, UserError
from training.storage import Folder

_NEVER: Final = np.iinfo(np.int64).min


def read_tombstones(folder: Folder, key: str = TOMBSTONES_KEY) -> Tombstones:
    """Those that lie in the bucket; none where there is no such file.

    Raises BadInputError where the file can't be read: then nobody may go on as if there were none.
    """
    try:
        return Tombstones.from_json(folder.read(key))
    except FileNotFoundError:
        return Tombstones()
    except (TombstonesError, ValueError) as error:
        raise BadInputError(f"{folder.uri_of(key)}: the tombstones of deleted users {error}") from error
    except OSError as error:
        raise BadInputError(f"{folder.uri_of(key)}: cannot be read: {error}") from error


def tombstones_of_channel(folder: Folder) -> Tombstones:
    """The same where `folder` holds what lies below `events/`."""
    return read_tombstones(folder, TOMBSTONES_KEY.removeprefix(EVENTS_PREFIX))


def swallowed(
    tombstones: Tombstones, user_ids: pa.Array | pa.ChunkedArray, timestamps: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Which of n events happened, in ms UTC, at or before the deletion of their user."""
    if not tombstones:
        return np.zeros(len(user_ids), dtype=np.bool_)
    users = pc.unique(user_ids)
    moments = [tombstones.deleted_until(user) for user in users.to_pylist()]
    if not any(moment is not None for moment in moments):
        return np.zeros(len(user_ids), dtype=np.bool_)
    until = np.array([_NEVER if moment is None else moment for moment in moments], dtype=np.int64)
    places = pc.index_in(user_ids, value_set=users).to_numpy(zero_copy_only=False)
    result: npt.NDArray[np.bool_] = timestamps <= until[places]
    return result


def exchange_tombstones(connection: Connection, folder: Folder) -> Tombstones:
    """Bring Postgres' and the bucket's tombstones to the union of both, and take new ones to heart.

    A database that was made anew, or restored, learns from the bucket whom to forget.
    """
    stored = read_tombstones(folder)
    with connection.transaction():
        known = _known(connection)
        united = known.united(stored)
        if united != known:
            _write(connection, united)
            _obey_everywhere(connection)
    if united != stored:
        folder.write(TOMBSTONES_KEY, united.to_json().encode())
    return united


def obey(connection: Connection, lists: str, as_of: datetime) -> int:
    """Take deleted users out of a table of lists that know up to `as_of`; how many lists it were.

    To be called in a transaction; from then to its end nobody can be deleted.
    """
    connection.execute("LOCK TABLE deleted_users IN SHARE MODE")
    row = connection.execute("SELECT obey_tombstones(%s::regclass, %s)", (lists, as_of)).fetchone()
    return int(row[0]) if row else 0


def delete_user(database_url: str, user_id: str) -> tuple[int, int]:
    """Forget a user; how many lists and events of theirs were in Postgres."""
    with connected(database_url) as connection:
        row = connection.execute("SELECT lists, events FROM delete_user(%s)", (user_id,)).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def _known(connection: Connection) -> Tombstones:
    # Against a deletion between reading and writing.
    connection.execute("LOCK TABLE deleted_users IN SHARE ROW EXCLUSIVE MODE")
    keys = connection.execute("SELECT id, secret FROM keys WHERE purpose = %s", (KEY_PURPOSE,)).fetchall()
    users = connection.execute(
        "SELECT key_id, user_hash, round(extract(epoch FROM deleted_at) * 1000)::bigint FROM deleted_users"
    ).fetchall()
    return Tombstones(
        {name: bytes(secret) for name, secret in keys},
        {(name, bytes(digest)): moment for name, digest, moment in users},
    )


def _write(connection: Connection, tombstones: Tombstones) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO keys (purpose, id, secret, made_at) VALUES (%s, %s, %s, '-infinity')"
            " ON CONFLICT DO NOTHING",
            [(KEY_PURPOSE, name, secret) for name, secret in tombstones.keys.items()],
        )
        cursor.executemany(
            "INSERT INTO deleted_users (key_id, user_hash, deleted_at) VALUES (%s, %s, %s)"
            " ON CONFLICT (key_id, user_hash) DO UPDATE SET deleted_at = excluded.deleted_at",
            [
                (name, digest, datetime.fromtimestamp(moment / 1000, UTC))
                for (name, digest), moment in tombstones.deleted_at.items()
            ],
        )


def _obey_everywhere(connection: Connection) -> None:
    versions = connection.execute(
        f"SELECT number, (manifest->>'as_of')::timestamptz FROM {VERSIONS_TABLE} WHERE state = 'ready'"  # noqa: S608
    ).fetchall()
    for number, as_of in versions:
        obey(connection, lists_table_name(number), as_of)


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring both sides into step, or delete a user first; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.delete is not None:
            lists, events = delete_user(options.database_url, options.delete)
            sys.stdout.write(f"deleted: {lists:,} lists and {events:,} events in Postgres\n")
        with connected(options.database_url) as connection:
            tombstones = exchange_tombstones(connection, Folder(options.events))
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(
        f"{len(tombstones.deleted_at):,} deleted users are known to Postgres and {options.events}\n"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.tombstones",
        description="Keep Postgres and the bucket in step about who was deleted.",
    )
    parser.add_argument("--delete", metavar="USER_ID", help="first delete this user, whether known or not")
    add_database(parser)
    add_setting(parser, "--events", "EVENTS_URI", "the bucket, or the folder, that holds events/")
    return parser


if __name__ == "__main__":
    sys.exit(main())
