"""S3, SageMaker, CloudWatch Logs and what else moto has, on loopback, in one server."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from twin.processes import LOOPBACK, Server, answers, free_port
from twin.s3 import aws_environment
from twin.sagemaker.settings import TrainingSettings


@contextlib.contextmanager
def running_aws(
    *,
    log: Path,
    port: int | None = None,
    training: TrainingSettings | None = None,
    elsewhere: Mapping[str, str] | None = None,
    requests: Path | None = None,
) -> Iterator[str]:
    """The endpoint of empty services that end with the block, the training jobs among them.

    Jobs reach AWS at this endpoint. `elsewhere` has variables for what is at another, such as
    AWS_ENDPOINT_URL_S3; `twin.sagemaker` tells what of SageMaker is real. `requests` is a file that takes
    each request, as JSON, by moto's recorder.
    """
    port = port or free_port()
    endpoint = f"http://{LOOPBACK}:{port}"
    settings = (training or TrainingSettings()).model_dump_json()
    with tempfile.TemporaryDirectory(prefix="sagemaker-") as folder:
        arguments = ["--port", str(port), "--folder", folder, "--training", settings]
        command = [sys.executable, "-m", "twin.sagemaker.server", *arguments]
        recorder = {"MOTO_ENABLE_RECORDING": "1", "MOTO_RECORDER_FILEPATH": str(requests)} if requests else {}
        environment = {**os.environ, **aws_environment(endpoint), **(elsewhere or {}), **recorder}
        with Server("AWS's API (moto)", command, log=log, environment=environment) as server:
            server.wait_until(lambda: answers(f"{endpoint}/moto-api/data.json"), timeout=120)
            yield endpoint
