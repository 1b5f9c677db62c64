"""Clients of LocalStack's services, whatever the environment says of AWS."""

import contextlib
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.config import Config

from twin.s3 import REGION

_CONFIG = Config(read_timeout=300, retries={"total_max_attempts": 1})


@contextlib.contextmanager
def client(endpoint: str, service: str) -> Iterator[Any]:
    """A client that is closed with the block; what fails is not tried again."""
    key = "local"
    session: Any = boto3.Session(aws_access_key_id=key, aws_secret_access_key=key, region_name=REGION)
    opened = session.client(service, endpoint_url=endpoint, config=_CONFIG)
    try:
        yield opened
    finally:
        opened.close()
