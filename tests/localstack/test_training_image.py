"""What `make training-image` checks, with a stand-in for the engine that runs the program on this machine.

The image itself is built and run by `make training-image` alone.
"""

import json
import os
import re
import stat
import sys
from pathlib import Path

import pytest
from twin.container_engine import ContainerEngine, Ended, Job, find_engine
from twin.errors import MissingProgramError, ServerError
from twin.s3 import aws_environment
from twin.training_image import (
    Services,
    TrainingImageError,
    a_bad_hyperparameter_leaves_its_reason,
    a_stopped_job_leaves_its_reason,
    a_training_ends_in_a_version,
    commit_of,
    default_base,
    lay_out,
    trained,
)

from contract.s3_layout import EVENTS_PREFIX
from training.events import read_events

ROOT = Path(__file__).parents[2]

ENGINE = """#!{python}
import json, os, signal, subprocess, sys
from pathlib import Path

command, *words = sys.argv[1:]
notes = Path(__file__).parent
with (notes / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps([command, *words]) + "\\n")
options = [word.partition("=")[::2] for word in words if word.startswith("--")]
named = dict(options)
if command == "image":
    sys.exit(0)
if command == "build":
    print("step 1 went well")
    sys.exit(int("BROKEN" in "".join(words)))
if command == "run":
    program = {program}
    process = subprocess.Popen(program, env={{
        "PATH": os.environ["PATH"],
        **dict(value.split("=", 1) for name, value in options if name == "--env"),
        "SAGEMAKER_BASE_DIR": named["--volume"].partition(":")[0],
    }}, cwd={root!r})
    (notes / named["--name"]).write_text(str(process.pid))
    sys.exit(process.wait())
if command == "stop":
    os.kill(int((notes / words[-1]).read_text()), signal.SIGTERM)
"""


@pytest.fixture
def services(mlflow_server: str, s3_server: str, bucket: str) -> Services:
    code = {"CODE_VERSION": "abc1234", "GIT_PYTHON_REFRESH": "quiet"}  # which the image would set
    return Services(mlflow_server, {**aws_environment(s3_server), **code}, bucket)


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, program: list[str]) -> ContainerEngine:
    """An engine of the name `podman` whose containers are processes that run `program`."""
    file = folder / "bin/podman"
    file.parent.mkdir()
    file.write_text(ENGINE.format(python=sys.executable, program=program, root=str(ROOT)))
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{file.parent}:{os.environ['PATH']}")
    return ContainerEngine("podman")


TRAINING = [sys.executable, "-m", "training.container"]


@pytest.mark.slow
def test_a_training_that_works_passes_all_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, services: Services
) -> None:
    engine = stand_in(tmp_path, monkeypatch, TRAINING)
    told = a_training_ends_in_a_version(engine, "image", tmp_path / "trained", services, "abc1234")
    assert told.startswith("promoted: ")
    run = _calls(tmp_path, "run")[0]
    assert run[-2:] == ["image", "train"]
    assert {"--read-only", "--cap-drop=ALL", "--network=host", "--rm"} <= set(run)
    job = Job(tmp_path / "trained/opt-ml", {}, tmp_path / "trained/container.log")
    with pytest.raises(TrainingImageError, match="code version other, found abc1234"):
        trained(job, Ended(0, ""), services, "other")


def test_a_bad_hyperparameter_and_a_stop_leave_their_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, services: Services
) -> None:
    engine = stand_in(tmp_path, monkeypatch, TRAINING)
    bad = a_bad_hyperparameter_leaves_its_reason(engine, "image", tmp_path / "failed", services)
    assert "als_factor is unknown" in bad
    stopped = a_stopped_job_leaves_its_reason(engine, "image", tmp_path / "stopped", services)
    assert "stopped by SIGTERM" in stopped
    assert _calls(tmp_path, "stop")[0][1:3] == ["-t", "120"]
    assert len(_calls(tmp_path, "rm")) == 2  # whatever happens, no container stays


@pytest.mark.parametrize(
    ("program", "expected"),
    [("raise SystemExit(0)", "the gate's decision"), ("raise SystemExit(3)", "status 0, found 3")],
)
def test_an_image_that_does_not_train_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, expected: str
) -> None:
    engine = stand_in(tmp_path, monkeypatch, [sys.executable, "-c", program])
    nothing = Services("http://127.0.0.1:9", {}, "nothing")
    with pytest.raises(TrainingImageError, match=expected):
        a_training_ends_in_a_version(engine, "image", tmp_path / "job", nothing, "abc1234")
    with pytest.raises(TrainingImageError, match="status 1, found"):
        a_bad_hyperparameter_leaves_its_reason(engine, "image", tmp_path / "other", nothing)
    with pytest.raises(ServerError, match="never said 'step=evaluate'"):
        a_stopped_job_leaves_its_reason(engine, "image", tmp_path / "third", nothing)


def test_a_job_finds_its_channels_and_folders_that_any_user_may_write_to(tmp_path: Path) -> None:
    services = Services("http://127.0.0.1:5", {"AWS_REGION": "us-east-1"}, "bucket")
    job = lay_out(tmp_path / "job", {"seed": "1"}, services, with_events=True)
    assert read_events(job.opt_ml / "input/data" / EVENTS_PREFIX).num_rows > 1000
    assert list((job.opt_ml / "input/data/catalogue").rglob("*.parquet"))
    assert json.loads((job.opt_ml / "input/config/hyperparameters.json").read_text()) == {"seed": "1"}
    for name in ("checkpoints", "model", "output"):
        assert stat.S_IMODE((job.opt_ml / name).stat().st_mode) == 0o777
    assert job.environment["RECOMMENDATIONS_URI"] == "s3://bucket"
    assert job.failure == ""


def test_a_build_gets_its_arguments_and_tells_how_its_log_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = stand_in(tmp_path, monkeypatch, TRAINING)
    known = {"dockerfile": Path("training/Dockerfile"), "context": ROOT, "log": tmp_path / "build.log"}
    engine.build("name", arguments={"BASE": "b"}, secrets={"pip.conf": tmp_path / "pip.conf"}, **known)
    (call,) = _calls(tmp_path, "build")
    assert {"--build-arg=BASE=b", f"--secret=id=pip.conf,src={tmp_path}/pip.conf", "--tag=name"} <= set(call)
    with pytest.raises(ServerError, match="step 1 went well"):
        engine.build("name", arguments={"BASE": "BROKEN"}, secrets={}, **known)


def test_an_engine_that_is_installed_but_does_not_answer_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, status in (("docker", 1), ("podman", 0)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert find_engine().name == "podman"
    (tmp_path / "podman").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(MissingProgramError, match="neither docker nor podman"):
        find_engine()


def test_the_base_is_the_dockerfiles_and_the_commit_the_checkouts() -> None:
    assert f"ARG BASE={default_base()}\n" in (ROOT / "training/Dockerfile").read_text()
    assert commit_of(Path("/")) == "unknown"
    if (ROOT / ".git").exists():
        assert re.fullmatch(r"[0-9a-f]{7,}(-dirty)?", commit_of(ROOT))


def _calls(folder: Path, command: str) -> list[list[str]]:
    calls = map(json.loads, (folder / "bin/calls.jsonl").read_text().splitlines())
    return [call for call in calls if call[0] == command]
