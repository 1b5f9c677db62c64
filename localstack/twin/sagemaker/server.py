"""moto's server with this SageMaker in it: `python -m twin.sagemaker.server`, which `running_aws` starts."""

import argparse
import sys
from pathlib import Path

import moto.server

from twin.processes import LOOPBACK
from twin.sagemaker.models import register
from twin.sagemaker.run import Runs
from twin.sagemaker.settings import TrainingSettings
from twin.sagemaker.surroundings import Surroundings


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C; jobs end with the server."""
    parser = argparse.ArgumentParser(prog="python -m twin.sagemaker.server", description=__doc__)
    parser.add_argument("--port", required=True)
    parser.add_argument("--folder", type=Path, required=True, help="for the jobs' files")
    parser.add_argument("--training", default="{}", help="TrainingSettings as JSON")
    given = parser.parse_args(arguments)
    runs = Runs(
        Surroundings.of_this_process(TrainingSettings.model_validate_json(given.training), given.folder)
    )
    register(runs)
    try:
        moto.server.main(["--host", LOOPBACK, "--port", given.port])
    finally:
        runs.abandon()


if __name__ == "__main__":
    main(sys.argv[1:])
