"""A real S3 API on loopback: moto's server."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import boto3

from twin.processes import LOOPBACK, Server, answers, free_port

REGION = "us-east-1"


@contextlib.contextmanager
def running_s3(*, log: Path, port: int | None = None) -> Iterator[str]:
    """The endpoint of an empty S3 that ends, with all it holds, with the block."""
    port = port or free_port()
    command = [sys.executable, "-m", "moto.server", "--host", LOOPBACK, "--port", str(port)]
    with Server("the S3 API (moto)", command, log=log) as server:
        endpoint = f"http://{LOOPBACK}:{port}"
        server.wait_until(lambda: answers(f"{endpoint}/moto-api/data.json"), timeout=120)
        yield endpoint


def aws_environment(endpoint: str) -> dict[str, str]:
    """The variables by which every AWS client finds the local endpoint, and no real account."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "MLFLOW_S3_ENDPOINT_URL": endpoint,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def create_bucket(environment: Mapping[str, str], name: str) -> None:
    """Make a bucket at the endpoint that the environment names."""
    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        region_name=REGION,
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=name)
    client.close()
