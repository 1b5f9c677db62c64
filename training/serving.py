"""Which versions Postgres holds, which of them answers, and moving from one to another.

One row of `serving` a variant says what is live. It moves in one transaction, so every answer comes from
one version. None of these functions needs the lock of loading: a rollback never waits for a load.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from contract.recommendations import CANARY_VARIANT, DEFAULT_VARIANT
from training.database import Connection, connected, lists_table_name, one_value
from training.errors import VersionError

_VERSIONS = """
    SELECT number, name, state, changed_at, manifest,
        ARRAY(SELECT variant FROM serving WHERE serving.version = number ORDER BY variant)
    FROM versions
"""


@dataclass(frozen=True)
class VersionInfo:
    """A version as Postgres knows it."""

    number: int
    name: str
    state: str
    """`loading`, `ready` or `dropping`; all but `ready` are done or undone by the next load."""
    changed_at: datetime
    manifest: dict[str, Any]
    """As it was published, perhaps by code of another version."""
    variants: tuple[str, ...]
    """Which variants it answers for."""


@dataclass(frozen=True)
class VersionDetails:
    """All that Postgres knows about a version."""

    info: VersionInfo
    table_bytes: int
    """What its lists take up, their index included."""
    served: tuple[tuple[str, datetime], ...]
    """Each variant that it was moved to, and when, oldest first."""


@dataclass(frozen=True)
class Move:
    """A variant that went from one version to another."""

    variant: str
    version: str
    previous: str | None
    """What was served before; None where nothing was."""

    @property
    def moved(self) -> bool:
        """Whether anything changed."""
        return self.version != self.previous


def list_versions(database_url: str) -> list[VersionInfo]:
    """Every version that Postgres holds, newest first."""
    with connected(database_url) as connection:
        return versions(connection)


def show_version(database_url: str, version: str) -> VersionDetails:
    """One version. Raises VersionError where there is none of that name."""
    with connected(database_url) as connection:
        info = find(connection, version)
        size = one_value(
            connection, "SELECT pg_total_relation_size(to_regclass(%s))", lists_table_name(info.number)
        )
        served = connection.execute(
            "SELECT variant, moved_at FROM serving_history WHERE version = %s ORDER BY id", (info.number,)
        ).fetchall()
    return VersionDetails(info=info, table_bytes=size or 0, served=tuple((row[0], row[1]) for row in served))


def activate(database_url: str, version: str, variant: str = DEFAULT_VARIANT) -> Move:
    """Let a ready version answer for a variant.

    Raises VersionError where there is no such version, or it isn't ready.
    """
    with connected(database_url) as connection:
        return move(connection, version, variant)


def rollback(database_url: str, to: str | None = None, variant: str = DEFAULT_VARIANT) -> Move:
    """Move a variant back: to a ready version by name, or to what it served before the present one.

    Once more goes further back. Versions that were rolled back from are no aim, nor are dropped ones.
    Raises VersionError where there is nothing to go back to; the message says what there is.
    """
    with connected(database_url) as connection, connection.transaction():
        _lock_row(connection, variant)
        return move(connection, to or _before(connection, variant), variant)


def earlier_version(database_url: str, variant: str = DEFAULT_VARIANT) -> str:
    """Where `rollback` would go. Raises VersionError where there is nothing to go back to."""
    with connected(database_url) as connection, connection.transaction():
        return _before(connection, variant)


def set_share(database_url: str, variant: str, share: float) -> dict[str, float]:
    """Set how large a variant's part of the visitors is; every variant's share afterwards.

    Shares are from 0 to 1, and count relative to their sum. Raises VersionError where there is no such
    variant, for the canary, and where nobody would be served.
    """
    if variant == CANARY_VARIANT:
        raise VersionError(f"the variant {CANARY_VARIANT} answers no visitors, whatever its share")
    if not 0 <= share <= 1:
        raise VersionError(f"a share is from 0 to 1, not {share}")
    with connected(database_url) as connection, connection.transaction():
        # All rows: two changes at once could leave nobody served.
        connection.execute("SELECT 1 FROM serving ORDER BY variant FOR UPDATE")
        _lock_row(connection, variant)
        connection.execute("UPDATE serving SET share = %s WHERE variant = %s", (share, variant))
        return _shares(connection)


def end_variant(database_url: str, variant: str) -> dict[str, float]:
    """Serve a variant no more: its visitors go to the others; every other one's share.

    Raises VersionError where there is no such variant, for the default one, and where nobody would be served;
    the canary, which has no visitors, ends also where it is the only one.
    """
    if variant == DEFAULT_VARIANT:
        raise VersionError(f"the variant {DEFAULT_VARIANT} stays: it answers who is nobody in particular")
    with connected(database_url) as connection, connection.transaction():
        connection.execute("SELECT 1 FROM serving ORDER BY variant FOR UPDATE")
        _lock_row(connection, variant)
        connection.execute("DELETE FROM serving WHERE variant = %s", (variant,))
        return _shares(connection, may_be_none=variant == CANARY_VARIANT)


def versions(connection: Connection) -> list[VersionInfo]:
    """Every version, newest first."""
    rows = connection.execute(f"{_VERSIONS} ORDER BY number DESC")
    return [_info(row) for row in rows]


def find(connection: Connection, version: str) -> VersionInfo:
    """One version. Raises VersionError, saying what there is, where there is none of that name."""
    known = versions(connection)
    for info in known:
        if info.name == version:
            return info
    raise VersionError(f"there is no version {version!r} in the database; {described(known)}")


def described(infos: Iterable[VersionInfo]) -> str:
    """What versions there are, for an error's message."""
    told = [
        f"{info.name} ({', '.join([info.state, *(f'served as {name}' for name in info.variants)])})"
        for info in infos
    ]
    return f"there are: {', '.join(told)}" if told else "there are none"


def move(connection: Connection, version: str, variant: str) -> Move:
    """Let a ready version answer for a variant, and remember that in `serving_history`."""
    with connection.transaction():
        info = find(connection, version)
        # Whoever wants to drop this version changes its state first, and waits for this transaction.
        state = one_value(connection, "SELECT state FROM versions WHERE number = %s FOR SHARE", info.number)
        if state != "ready":
            ready = [each for each in versions(connection) if each.state == "ready"]
            raise VersionError(
                f"version {version} is {state or 'dropped'}, only a ready one can be served; "
                f"{described(ready)}"
            )
        previous = _served(connection, variant)
        if previous != version:
            _write(connection, info.number, variant)
    return Move(variant=variant, version=version, previous=previous)


def _write(connection: Connection, number: int, variant: str) -> None:
    # A new variant beside the default one gets no visitors until its share is set.
    connection.execute(
        "INSERT INTO serving (variant, version, share) VALUES (%s, %s, %s)"
        " ON CONFLICT (variant) DO UPDATE SET version = excluded.version, moved_at = now()",
        (variant, number, 1 if variant == DEFAULT_VARIANT else 0),
    )
    connection.execute("INSERT INTO serving_history (variant, version) VALUES (%s, %s)", (variant, number))


def _shares(connection: Connection, *, may_be_none: bool = False) -> dict[str, float]:
    rows = connection.execute("SELECT variant, share FROM serving ORDER BY variant").fetchall()
    shares = {str(variant): float(f"{share:.6g}") for variant, share in rows}
    served = any(share for variant, share in shares.items() if variant != CANARY_VARIANT)
    if not (served or may_be_none):
        raise VersionError("no variant would have a share then: give another one its share first")
    return shares


def _lock_row(connection: Connection, variant: str) -> None:
    if one_value(connection, "SELECT 1 FROM serving WHERE variant = %s FOR UPDATE", variant) is None:
        rows = connection.execute("SELECT variant FROM serving ORDER BY variant").fetchall()
        told = f"only {', '.join(row[0] for row in rows)}" if rows else "no variant does"
        raise VersionError(f"variant {variant!r} serves nothing; {told}")


def _before(connection: Connection, variant: str) -> str:
    """What a variant served before the version that it serves."""
    rows = connection.execute(
        "SELECT name, state FROM serving_history JOIN versions ON number = version"
        " WHERE variant = %s ORDER BY id",
        (variant,),
    ).fetchall()
    ready = {name for name, state in rows if state == "ready"}
    earlier = [name for name in path([name for name, _ in rows])[:-1] if name in ready]
    if not earlier:
        others = [info for info in versions(connection) if variant not in info.variants]
        raise VersionError(
            f"variant {variant!r} served no version before {_served(connection, variant)} that is still "
            f"there; beside it {described(others)}; name one to move to it"
        )
    return earlier[-1]


def path(served: Sequence[str]) -> list[str]:
    """The way to the present version: what was gone back from is left out.

    A, B, back to A, C gives A, C: whoever goes back from C does not want B again.
    """
    way: list[str] = []
    for name in served:
        if name in way:
            del way[way.index(name) + 1 :]
        else:
            way.append(name)
    return way


def _served(connection: Connection, variant: str) -> str | None:
    name: str | None = one_value(
        connection,
        "SELECT name FROM serving JOIN versions ON number = version WHERE variant = %s FOR UPDATE OF serving",
        variant,
    )
    return name


def _info(row: tuple[Any, ...]) -> VersionInfo:
    number, name, state, changed_at, manifest, variants = row
    return VersionInfo(
        number=number,
        name=name,
        state=state,
        changed_at=changed_at,
        manifest=manifest,
        variants=tuple(variants),
    )
