"""`make local` and its steps as commands: what they say, and that they leave nothing behind."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from twin.cloud.clients import client
from twin.cloud.parts import Parts

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="it asks Linux who runs")


class Cloud:
    """The commands, in a folder and with temporary files of their own."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.folder = folder
        self.temporary = temporary
        self.ports: set[int] = set()

    def start(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "twin.cloud", command, "--folder", str(self.folder), "--port", "0"],
            env={**os.environ, "TMPDIR": str(self.temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str, *, status: int = 0) -> str:
        """What it said; that is its status."""
        process = self.start(command)
        said, _ = process.communicate()
        assert process.returncode == status, said
        return said

    def up(self) -> Parts:
        self.run("up")
        parts = Parts.read(self.folder)
        urls = (parts.endpoint, parts.sagemaker, parts.database_url, parts.mlflow_uri)
        monitoring = filter(None, (parts.pushgateway_url, parts.prometheus_url))
        self.ports |= {urlsplit(url).port or 0 for url in (*urls, *monitoring)}
        return parts

    def processes(self, program: str = "") -> list[int]:
        """Those whose logs or temporary files are this cloud's, whoever started them."""
        return [pid for pid, command in self._commands() if program in command]

    def kill_localstack(self) -> None:
        (pid,) = self.processes("localstack.runtime.main")
        os.kill(pid, signal.SIGKILL)

    def left(self) -> list[str]:
        """What of it is still there: processes, ports, temporary files."""
        running = [command for _, command in self._commands()]
        listening = [f"port {port}" for port in self.ports if _listens(port)]
        return [*running, *listening, *(str(path) for path in self.temporary.iterdir())]

    def _commands(self) -> Iterator[tuple[int, str]]:
        for process in Path("/proc").glob("[0-9]*"):
            # Others end while they are looked at, or are somebody else's.
            with contextlib.suppress(OSError):
                told = [(process / name).read_bytes() for name in ("environ", "cmdline")]
                told.append(os.fsencode((process / "fd/1").readlink()))
                found = b"\n".join(told)
                if os.fsencode(self.folder) in found or os.fsencode(self.temporary) in found:
                    yield int(process.name), told[1].decode(errors="replace").replace("\0", " ")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(is_so: Callable[[], object], *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)


@pytest.fixture
def cloud(installed: None, tmp_path: Path) -> Iterator[Cloud]:
    with tempfile.TemporaryDirectory(prefix="cloud-") as temporary:
        # Postgres, which runs as somebody else where root starts it, keeps its data there.
        Path(temporary).chmod(0o1777)
        cloud = Cloud(tmp_path / "cloud", Path(temporary))
        yield cloud
        cloud.run("down")


@pytest.mark.slow
def test_where_localstack_is_killed_everything_else_ends_with_it(cloud: Cloud) -> None:
    cloud.up()
    programs = ("localstack.runtime.main", "twin.sagemaker", "postgres", "mlflow", "twin.cloud")
    assert [program for program in programs if not cloud.processes(program)] == []
    assert cloud.run("call", status=1) == "local: nothing is deployed: `make local-deploy` does it\n"
    cloud.kill_localstack()
    until(lambda: not cloud.left())
    assert cloud.run("call", status=1) == "local: the local cloud is not up: `make local-up` starts it\n"
    assert cloud.run("down").strip() == "nothing is running"


@pytest.mark.slow
def test_after_localstack_was_killed_half_way_through_a_deployment_another_one_works(cloud: Cloud) -> None:
    parts = cloud.up()
    deploying = cloud.start("deploy")
    until(lambda: _is_half_way(parts) or deploying.poll() is not None, seconds=600)
    cloud.kill_localstack()
    said, _ = deploying.communicate()
    assert deploying.returncode == 1, said
    assert "failed at the step 'deploy': LocalStack ended during `cdk deploy`" in said
    cloud.up()
    assert "7 stacks with " in cloud.run("deploy")
    assert cloud.run("down").strip() == "stopped"
    assert cloud.left() == []


def _is_half_way(parts: Parts) -> bool:
    with client(parts.endpoint, "cloudformation") as cloudformation:
        stacks = cloudformation.describe_stacks()["Stacks"]
    statuses = [stack["StackStatus"] for stack in stacks if stack["StackName"].startswith("shop-local-")]
    return "CREATE_COMPLETE" in statuses and "CREATE_IN_PROGRESS" in statuses


@pytest.mark.slow
def test_all_of_it_in_one_ends_with_ok_and_leaves_its_summary_alone(cloud: Cloud) -> None:
    said = cloud.run("all")
    assert said.splitlines()[-1] == "local: ok"
    assert cloud.left() == []
    summary = json.loads((cloud.folder / "summary.json").read_text())
    assert len(summary["stacks"]) == 7
    assert summary["resources"].keys() == {"real", "emulated", "placeholder"}
    assert summary["calls"]["GET /v1/popular"] == {"without a key": {"403": 1}, "with the key": {"200": 1}}
    assert summary["traffic"]["statuses"] == {"200": 1000}
    assert summary["seconds"].keys() == {"start", "bootstrap", "deploy", "seed", "call", "traffic", "total"}
    assert re.search(rf"version {summary['version']} is live", said)
