"""Uploads to S3 that were begun and never ended: nobody sees them, and everybody pays for them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tasks.deployment import Deployment
from training.errors import BadInputError

# Ended or aborted by another since they were listed.
_GONE: Final = "NoSuchUpload"


def abort_uploads(deployment: Deployment, *, older_than_days: int) -> dict[str, Any]:
    """Abort uploads in the buckets of events and of versions that began more than so many days ago.

    `aborted` has how many, by bucket. Raises BadInputError where a bucket refuses; the other one was done.
    """
    limit = datetime.now(UTC) - timedelta(days=older_than_days)
    client = boto3.client("s3", region_name=deployment.region)
    buckets = {urlsplit(uri).netloc for uri in (deployment.events_uri, deployment.recommendations_uri)}
    aborted, problems = {}, []
    for bucket in sorted(filter(None, buckets)):
        try:
            aborted[bucket] = sum(_abort(client, bucket, upload) for upload in _old(client, bucket, limit))
        except (BotoCoreError, ClientError) as error:
            problems.append(f"s3://{bucket}: uploads can't be aborted: {error}")
    if problems:
        raise BadInputError("; ".join(problems))
    return {"aborted": aborted}


def _old(client: Any, bucket: str, limit: datetime) -> Iterator[dict[str, Any]]:
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        yield from (upload for upload in page.get("Uploads", ()) if upload["Initiated"] < limit)


def _abort(client: Any, bucket: str, upload: dict[str, Any]) -> bool:
    try:
        client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    except ClientError as error:
        if error.response["Error"]["Code"] != _GONE:
            raise
        return False
    return True
