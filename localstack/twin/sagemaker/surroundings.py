"""What all jobs share."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import boto3.session

from twin.sagemaker.settings import TrainingSettings

# What a program on this machine can't do without; a container would have all of its own.
_MACHINE: Final = ("HOME", "LANG", "LD_LIBRARY_PATH", "NO_PROXY", "PATH", "PYTHONPATH", "TMPDIR", "no_proxy")
_CREDENTIALS: Final = ("AWS_", "MLFLOW_S3_ENDPOINT_URL")


@dataclass(frozen=True)
class Surroundings:
    """`folder` takes the jobs' files, `environment` is what each program finds; `s3`, `logs`: clients."""

    settings: TrainingSettings
    folder: Path
    environment: Mapping[str, str]
    s3: Any
    logs: Any

    @classmethod
    def of_this_process(cls, settings: TrainingSettings, folder: Path) -> Self:
        """Endpoints and credentials are those of the variables AWS_*, for the jobs as well."""
        session = boto3.session.Session()
        given = {
            name: value
            for name, value in os.environ.items()
            if name in _MACHINE or name.startswith(_CREDENTIALS) or name.endswith("_NUM_THREADS")
        }
        return cls(
            settings=settings,
            folder=folder,
            environment={**given, **settings.image_environment},
            s3=session.client("s3"),
            logs=session.client("logs"),
        )
