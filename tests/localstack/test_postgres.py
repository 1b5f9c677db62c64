import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from twin import postgres
from twin.errors import MissingProgramError, ServerError


@pytest.fixture(autouse=True)
def _no_server_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)


def test_a_given_server_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody@elsewhere/shop")
    with postgres.running_postgres(log=tmp_path / "log") as url:
        assert url == "postgresql://somebody@elsewhere/shop"


@pytest.mark.parametrize(
    ("server", "database"),
    [
        ("postgresql://u:p@host:5432/postgres", "postgresql://u:p@host:5432/shop"),
        ("postgresql://host", "postgresql://host/shop"),
        ("postgres://host/db?sslmode=require", "postgres://host/shop?sslmode=require"),
        ("postgresql:///db?host=/tmp/socket", "postgresql:///shop?host=/tmp/socket"),
    ],
)
def test_a_database_is_named_beside_the_given_one(server: str, database: str) -> None:
    assert postgres.url_of_database(server, "shop") == database


def test_without_any_postgres_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgres, "find_binaries", lambda: None)
    with (
        pytest.raises(MissingProgramError, match="run `make setup`.*or set DATABASE_URL"),
        postgres.running_postgres(log=tmp_path / "log"),
    ):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another user")
def test_root_copies_programs_from_a_folder_that_only_root_may_enter(tmp_path: Path) -> None:
    """Laid out as the wheel is: its programs find their libraries in a folder beside the package."""
    closed = Path(tempfile.mkdtemp(prefix="closed-", dir=Path.home()))
    open_to_all = Path(tempfile.mkdtemp(prefix="open-"))
    try:
        binaries = closed / "package/pginstall/bin"
        binaries.mkdir(parents=True)
        (closed / "package.libs").mkdir()
        (closed / "package.libs/word").write_text("found")
        program = binaries / "postgres"
        program.write_text('#!/bin/sh\ncat "$(dirname "$0")/../../../package.libs/word"\n')
        program.chmod(0o755)
        closed.chmod(0o700)
        account = postgres.unprivileged_account()
        assert account is not None
        os.chown(open_to_all, account.pw_uid, account.pw_gid)
        within_reach = postgres.binaries_within_reach(binaries, open_to_all, account)
        said = subprocess.run(
            [within_reach / "postgres"],
            user=account.pw_uid, group=account.pw_gid, extra_groups=[], cwd=open_to_all,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert said.stdout == "found"
        assert postgres.binaries_within_reach(within_reach, open_to_all, account) == within_reach
    finally:
        shutil.rmtree(closed)
        shutil.rmtree(open_to_all)


def test_a_postgres_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(
                ServerError, match=r"Postgres ended with status 1 .*could not create any TCP/IP sockets"
            ),
            postgres.running_postgres(log=tmp_path / "log", port=port),
        ):
            pass


STARTED = """
import sys, tempfile, time
from pathlib import Path
from twin.keeper import Interrupted, handle_signals
from twin.postgres import start_postgres
tempfile.tempdir = sys.argv[1]
handle_signals()
print("starting", flush=True)
try:
    with start_postgres(log=Path(sys.argv[2])):
        time.sleep(600)
except Interrupted:
    print("interrupted")
"""


@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.4, 0.8, 1.6])
def test_interrupted_while_it_starts_it_leaves_nothing_behind(tmp_path: Path, seconds: float) -> None:
    folder = Path(tempfile.mkdtemp(prefix="open-"))
    folder.chmod(0o755)
    command = [sys.executable, "-c", STARTED, str(folder), str(tmp_path / "log")]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "starting\n"
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            said, complaints = process.communicate(timeout=60)
        assert (said, complaints) == ("interrupted\n", "")
        assert list(folder.iterdir()) == []
    finally:
        shutil.rmtree(folder)
