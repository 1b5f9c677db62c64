"""A Postgres of a test's own, which it may stop, freeze and start again, and which can speak TLS."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from twin.postgres import binaries_within_reach, create_database, find_binaries, unprivileged_account
from twin.processes import LOOPBACK, Server, free_port

from lambdas.migrate_database.migrate import migrate


class OwnPostgres:
    """One data folder on one port, whose server comes and goes."""

    def __init__(self, folder: Path, binaries: Path, log: Path) -> None:
        self._folder = folder
        self._log = log
        self._account = unprivileged_account()
        if self._account:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)
            binaries = binaries_within_reach(binaries, folder, self._account)
        self._binaries = binaries
        self._server: Server | None = None
        self._frozen: list[int] = []
        self.port = free_port()
        initdb: list[str | Path] = [
            binaries / "initdb",
            "--pgdata",
            folder / "data",
            "--username",
            "postgres",
        ]
        initdb += ["--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync"]
        with self._program("initdb", initdb) as making:
            making.wait_for_success(timeout=120)

    @property
    def url(self) -> str:
        """Of its superuser, who needs no password."""
        return f"postgresql://postgres@{LOOPBACK}:{self.port}/postgres"

    def start(self, **settings: str) -> None:
        command: list[str | Path] = [self._binaries / "postgres", "-D", self._folder / "data"]
        command += ["-p", str(self.port), "-k", self._folder]
        settings = {"listen_addresses": "localhost", "fsync": "off", "timezone": "UTC", **settings}
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self._server = self._program("Postgres", command)
        self._server.wait_until(self._accepts, timeout=60)

    def stop(self) -> None:
        self.thaw()
        if self._server is not None:
            self._server.stop()
            self._server = None

    def freeze(self) -> None:
        """Halt the server and everything that it started, as a machine does that hangs."""
        assert self._server is not None
        os.kill(self._server.pid, signal.SIGSTOP)
        children = subprocess.run(
            ["pgrep", "-P", str(self._server.pid)], capture_output=True, text=True, check=True
        )
        self._frozen = [self._server.pid, *map(int, children.stdout.split())]
        for pid in self._frozen:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self._frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._frozen = []

    def ask_for_passwords_of(self, role: str) -> None:
        """From now on, over TCP."""
        rules = f"host all {role} all scram-sha-256\nhost all all all trust\nlocal all all trust\n"
        (self._folder / "data/pg_hba.conf").write_text(rules)
        self._reload()

    def certify(self, certificate: bytes, key: bytes) -> None:
        """Speak TLS, with this certificate."""
        for name, content in (("server.crt", certificate), ("server.key", key)):
            file = self._folder / "data" / name
            file.write_bytes(content)
            file.chmod(0o600)
            if self._account:
                os.chown(file, self._account.pw_uid, self._account.pw_gid)
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET ssl = on")
        self._reload()
        self._wait_for("SHOW ssl", "on")

    def make_database(self, name: str) -> str:
        """The URL of a new database with the current schema."""
        database = create_database(self.url, name)
        migrate(database)
        return database

    def _reload(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            before = connection.execute("SELECT pg_conf_load_time()").fetchone()
            connection.execute("SELECT pg_reload_conf()")
            while connection.execute("SELECT pg_conf_load_time()").fetchone() == before:
                time.sleep(0.01)

    def _wait_for(self, question: str, answer: str) -> None:
        while True:
            with psycopg.connect(self.url, autocommit=True) as connection:
                if connection.execute(question.encode()).fetchone() == (answer,):
                    return
            time.sleep(0.01)

    def _program(self, name: str, command: list[str | Path]) -> Server:
        user, group = (self._account.pw_uid, self._account.pw_gid) if self._account else (None, None)
        return Server(
            name,
            command,
            log=self._log,
            environment={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            user=user,
            group=group,
            cwd=self._folder,
            stop_signal=signal.SIGINT,
        )

    def _accepts(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@contextlib.contextmanager
def own_postgres(log: Path) -> Iterator[OwnPostgres]:
    """A running one; skips the test where only a server that others use was given."""
    if os.environ.get("DATABASE_URL"):
        pytest.skip("DATABASE_URL names a server that others use: this test stops and changes its own")
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no Postgres was found on this machine")
    folder = Path(tempfile.mkdtemp(prefix="own-postgres-"))
    try:
        postgres = OwnPostgres(folder, binaries, log)
        try:
            postgres.start()
            yield postgres
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(folder)
