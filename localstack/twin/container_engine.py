"""Docker or Podman, whichever works on this machine: by the commands that both have."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from twin.errors import MissingProgramError, ServerError

ENGINES = ("docker", "podman")
PODMAN_LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")
"""By itself Podman, as root, asks for more than it may have where it runs within a container."""
DEBIAN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BUILD_SECONDS = 3600
JOB_SECONDS = 1800
_TAIL_LINES = 5


@dataclass(frozen=True)
class Job:
    """What one run of the training image gets."""

    opt_ml: Path
    """The folder that is mounted as `/opt/ml`."""
    environment: Mapping[str, str]
    log: Path

    @property
    def failure(self) -> str:
        """What the run left in `output/failure`; nothing where it left nothing."""
        file = self.opt_ml / "output/failure"
        return file.read_text() if file.exists() else ""


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    status: int
    tail: str
    """The last lines of its log."""


class Running:
    """A container that runs in the foreground of a process of its own."""

    def __init__(self, program: str, name: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._program, self._name, self._process, self._log = program, name, process, log

    def wait(self, *, timeout: float) -> Ended:
        """Wait for its end. Raises ServerError where the time is up."""
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise ServerError(
                f"the container did not end within {timeout:.0f} s; log: {self._log}"
            ) from error
        return Ended(status, tail(self._log))

    def wait_for_line(self, text: str, *, timeout: float) -> None:
        """Wait until its log has `text`. Raises ServerError where it ends before, or the time is up."""
        deadline = time.monotonic() + timeout
        while text not in self._log.read_text(errors="replace"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"the container never said {text!r}; it ends: {tail(self._log)}")
            time.sleep(0.1)

    def stop(self, *, timeout: int) -> Ended:
        """SIGTERM, and SIGKILL after `timeout` seconds: what SageMaker does to a job that is stopped."""
        _call([self._program, "stop", "-t", str(timeout), self._name])
        return self.wait(timeout=timeout)


@dataclass(frozen=True)
class ContainerEngine:
    """An engine that answers."""

    name: str

    def has(self, image: str) -> bool:
        """Whether the image is here."""
        return _succeeds([self.name, "image", "inspect", image])

    def obtain(self, image: str) -> bool:
        """Whether the image is here, or could be pulled."""
        return self.has(image) or _succeeds([self.name, "pull", image])

    def build(
        self,
        image: str,
        *,
        dockerfile: Path,
        context: Path,
        arguments: Mapping[str, str],
        secrets: Mapping[str, Path],
        log: Path,
    ) -> None:
        """Build an image; `secrets` are files by id. Raises ServerError with the end of the log."""
        options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        options += [f"--secret=id={name},src={file}" for name, file in secrets.items()]
        # Podman keeps no layers of stages unless it is told to, and its network takes a firewall's rights.
        options += ["--layers", "--network=host"] if self.name == "podman" else []
        command = [self.name, "build", *options, f"--file={context / dockerfile}", f"--tag={image}", "."]
        with log.open("ab") as output:
            built = subprocess.run(
                command, cwd=context, stdout=output, stderr=output, timeout=BUILD_SECONDS, check=False
            )
        if built.returncode != 0:
            raise ServerError(f"the image could not be built; {log} ends: {tail(log)}")

    def make_image(self, root: Path, image: str) -> None:
        """Make an image of one layer out of a tree of files. Raises ServerError."""
        with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as packed:
            _call([self.name, "import", f"--change=ENV PATH={DEBIAN_PATH}", "-", image], stdin=packed.stdout)
        if packed.returncode != 0:
            raise ServerError(f"tar could not pack {root}")

    def size(self, image: str) -> int:
        """Bytes of all layers, unpacked."""
        return int(_call([self.name, "image", "inspect", "--format", "{{.Size}}", image]))

    def user(self, image: str) -> str:
        """Who runs in it, as the image says."""
        return _call([self.name, "image", "inspect", "--format", "{{.Config.User}}", image]).strip()

    def run(self, image: str, job: Job) -> Ended:
        """Run a job to its end. Raises ServerError where that takes too long."""
        with self.started(image, job) as running:
            return running.wait(timeout=JOB_SECONDS)

    @contextlib.contextmanager
    def started(self, image: str, job: Job) -> Iterator[Running]:
        """A job that runs; removed with the block, whatever happens.

        As SageMaker runs it, with the argument `train`, but without any right that a training doesn't need:
        nothing but `/opt/ml` and `/tmp` can be written to. The network is this machine's, so that the
        container reaches servers on loopback.
        """
        name = f"{job.log.parent.name}-{os.getpid()}"
        variables = [f"--env={name}={value}" for name, value in job.environment.items()]
        options = ["--rm", "--network=host", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL"]
        options += PODMAN_LIMITS if self.name == "podman" else []
        mount = f"--volume={job.opt_ml}:/opt/ml"
        with job.log.open("ab") as output:
            process = subprocess.Popen(
                [self.name, "run", f"--name={name}", *options, *variables, mount, image, "train"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            yield Running(self.name, name, process, job.log)
        finally:
            _succeeds([self.name, "rm", "--force", name])
            process.wait()


def find_engine(names: Sequence[str] = ENGINES) -> ContainerEngine:
    """The first that is installed and answers: a client alone runs nothing. Raises MissingProgramError."""
    for name in names:
        if shutil.which(name) and _succeeds([name, "info"]):
            return ContainerEngine(name)
    raise MissingProgramError(
        f"neither {' nor '.join(names)} works here: start Docker, or install Podman "
        "(Debian, as root: apt-get install --no-install-recommends podman runc buildah)"
    )


def tail(log: Path) -> str:
    """The last lines of a log, in one."""
    return " | ".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _call(command: Sequence[str], stdin: IO[bytes] | None = None) -> str:
    called = subprocess.run(command, stdin=stdin, capture_output=True, check=False)
    if called.returncode != 0:
        raise ServerError(f"{' '.join(command)} failed: {called.stderr.decode(errors='replace').strip()}")
    return called.stdout.decode()
