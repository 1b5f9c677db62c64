import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from twin.errors import ServerError
from twin.processes import Server, answers, free_port

SERVER = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and was not yet collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] if Path("/proc").exists() else "R"
        os.kill(pid, 0)
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def wait_until_dead(pid: int) -> None:
    deadline = time.monotonic() + 30
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still alive"
        time.sleep(0.02)


def test_a_server_is_waited_for_and_its_children_end_with_it(tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "server.log"
    with Server("a server", [sys.executable, "-c", SERVER, str(port)], log=log, cwd=tmp_path) as server:
        server.wait_until(lambda: answers(f"http://127.0.0.1:{port}/"), timeout=60)
        child = int(log.read_text().split()[1])
        assert is_alive(child)
    wait_until_dead(child)
    assert not answers(f"http://127.0.0.1:{port}/")


def test_a_server_that_ends_at_once_tells_its_status_and_the_end_of_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such licence'); raise SystemExit(3)"]
    with (
        pytest.raises(ServerError, match=r"a server ended with status 3 .*no such licence"),
        Server("a server", command, log=tmp_path / "log") as server,
    ):
        server.wait_until(lambda: False, timeout=60)


def test_a_server_that_takes_too_long_is_stopped_and_named(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with Server("a server", command, log=tmp_path / "log") as server:
        with pytest.raises(ServerError, match="was not ready within 0 s"):
            server.wait_until(lambda: False, timeout=0.2)
        assert not is_alive(server.pid)


def test_a_server_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(600)"
    log = tmp_path / "log"
    with Server("a server", [sys.executable, "-c", stubborn], log=log) as server:
        server.wait_until(lambda: "on" in log.read_text(), timeout=60)
        server.stop(timeout=0.2)
        assert not is_alive(server.pid)


def test_ctrl_c_at_the_terminal_does_not_reach_the_servers(tmp_path: Path) -> None:
    with Server(
        "a server", [sys.executable, "-c", "import time; time.sleep(600)"], log=tmp_path / "log"
    ) as server:
        assert os.getpgid(server.pid) != os.getpgid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_server_ends_with_whoever_started_it_also_when_that_is_killed(tmp_path: Path) -> None:
    starter = """
import sys, time
from pathlib import Path
from twin.processes import Server
server = Server("a server", [sys.executable, "-c", "import time; time.sleep(600)"], log=Path(sys.argv[1]))
print(server.pid, flush=True)
time.sleep(600)
"""
    command = [sys.executable, "-c", starter, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        program = Path(f"/proc/{pid}/exe")
        while "setpriv" in str(program.readlink()):
            time.sleep(0.02)
        process.kill()
    wait_until_dead(pid)


KEPT = """
import sys, time
from pathlib import Path
from twin.keeper import Interrupted, handle_signals, keep_until_stopped, only_one
handle_signals()
folder = Path(sys.argv[1])
with only_one(folder):
    print("told", flush=True)
    keep_until_stopped(folder / "keeper.log")
    (folder / "cleared-up").touch()
"""


def test_a_kept_run_lets_go_of_the_terminal_and_is_stopped_from_another(tmp_path: Path) -> None:
    starter = "import sys; from twin.keeper import *; handle_signals(); sys.exit(start_kept(sys.argv[1:]))"
    command = [sys.executable, "-c", starter, sys.executable, "-c", KEPT, str(tmp_path)]
    started = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (started.returncode, started.stdout) == (0, "told\n")
    pid = int((tmp_path / "running.lock").read_text())
    assert is_alive(pid)

    again = subprocess.run(
        [sys.executable, "-c", KEPT, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "another demo is running in this checkout" in again.stderr

    stop = [sys.executable, "-m", "twin.keeper", str(tmp_path)]
    assert (
        subprocess.run(stop, capture_output=True, text=True, timeout=60, check=True).stdout
        == "demo: stopped\n"
    )
    assert (tmp_path / "cleared-up").exists()
    assert not is_alive(pid)
    nothing = subprocess.run(stop, capture_output=True, text=True, timeout=60, check=True)
    assert nothing.stdout == "demo: nothing is running\n"


def test_a_second_ctrl_c_does_not_disturb_the_clearing_up(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from twin.keeper import Interrupted, handle_signals
handle_signals()
try:
    print("ready", flush=True)
    time.sleep(600)
except Interrupted:
    print("clearing", flush=True)
    time.sleep(0.5)
    print("cleared", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "clearing\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "cleared\n"
    assert process.returncode == 0
