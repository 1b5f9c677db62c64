"""A job's input: what of S3 goes to which folder below `/opt/ml/input/data`."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from twin.sagemaker.s3_prefix import S3Client, S3Prefix


class NoDataError(Exception):
    """A channel has nothing; the message is the service's own."""


def channels(request: Mapping[str, Any], s3: S3Client) -> dict[str, S3Prefix]:
    """What each channel brings. Raises NoDataError for the first that would bring nothing."""
    found = {
        channel["ChannelName"]: S3Prefix(s3, channel["DataSource"]["S3DataSource"]["S3Uri"])
        for channel in request.get("InputDataConfig", [])
    }
    for prefix in found.values():
        try:
            is_empty = prefix.is_empty()
        except ClientError as error:
            raise NoDataError(_told(prefix, request["RoleArn"])) from error
        if is_empty:
            raise NoDataError(_told(prefix, request["RoleArn"]))
    return found


def configuration(request: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What the program finds in `inputdataconfig.json`."""
    return {
        channel["ChannelName"]: {
            "TrainingInputMode": "File",
            "S3DistributionType": channel["DataSource"]["S3DataSource"].get(
                "S3DataDistributionType", "FullyReplicated"
            ),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
            **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
        }
        for channel in request.get("InputDataConfig", [])
    }


def _told(prefix: S3Prefix, role: str) -> str:
    return (
        f'No S3 objects found under S3 URL "{prefix.uri}" given in input data source. Please ensure that '
        f"the bucket exists in the selected region ({prefix.region}), that objects exist under that S3 "
        f'prefix, and that the role "{role}" has "s3:ListBucket" permissions on bucket "{prefix.bucket}".'
    )
