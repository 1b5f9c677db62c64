"""What was asked of AWS, as IAM calls it: actions and the resources that they are on."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
_S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Call(NamedTuple):
    """One permission that a request takes."""

    action: str
    resource: str
    """An ARN with the region and the account left empty; `*` where the request names none."""


class UnknownRequestError(AssertionError):
    """A request that nobody has said the permissions of."""


class Request:
    """One line of moto's recording."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.headers = {name.lower(): str(value) for name, value in told["headers"].items()}
        self.method: str = told["method"]
        url = urlsplit(told["url"])
        self.path = unquote(url.path)
        self.query = parse_qs(url.query, keep_blank_values=True)
        body = told["body"] or ""
        self.body = base64.b64decode(body) if told["body_encoded"] else body.encode()
        signed = _CREDENTIAL.search(self.headers.get("authorization", ""))
        self.caller: str | None = signed[1] if signed else None
        self.service: str | None = signed[3] if signed else None

    @property
    def calls(self) -> Iterator[Call]:
        """The permissions that it takes. Raises UnknownRequestError."""
        if self.service == "s3":
            yield from self._of_s3()
        elif "x-amz-target" in self.headers:
            action = self.headers["x-amz-target"].rpartition(".")[2]
            yield Call(f"{self.service}:{action}", _resource(str(self.service), json.loads(self.body)))
        elif b"Action=" in self.body:
            form = {name: values[0] for name, values in parse_qs(self.body.decode()).items()}
            yield Call(f"{self.service}:{form['Action']}", form.get("TopicArn", "*"))
        else:
            raise self._unknown()

    def _of_s3(self) -> Iterator[Call]:
        bucket, _, key = self.path.removeprefix("/").partition("/")
        of_bucket, of_object = f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/{key}"
        if not key:
            yield from self._of_bucket(of_bucket)
        elif self.method in ("GET", "HEAD"):
            is_of_parts = "uploadId" in self.query
            yield Call("s3:ListMultipartUploadParts" if is_of_parts else "s3:GetObject", of_object)
        elif self.method == "DELETE":
            is_of_parts = "uploadId" in self.query
            yield Call("s3:AbortMultipartUpload" if is_of_parts else "s3:DeleteObject", of_object)
        elif self.method in ("PUT", "POST"):
            yield Call("s3:PutObject", of_object)
            if source := self.headers.get("x-amz-copy-source"):
                yield Call("s3:GetObject", f"arn:aws:s3:::{unquote(source).removeprefix('/')}")
        else:
            raise self._unknown()

    def _of_bucket(self, bucket: str) -> Iterator[Call]:
        if self.method == "POST" and "delete" in self.query:
            for key in ET.fromstring(self.body).iter(f"{_S3}Key"):  # noqa: S314 - our own tasks' requests
                yield Call("s3:DeleteObject", f"{bucket}/{key.text}")
        elif self.method in ("GET", "HEAD"):
            settings = set(self.query) - {
                *("list-type", "prefix", "delimiter", "max-keys", "continuation-token", "start-after"),
                *("encoding-type", "fetch-owner", "uploads"),
            }
            if settings:
                raise self._unknown()
            yield Call(
                "s3:ListBucketMultipartUploads" if "uploads" in self.query else "s3:ListBucket", bucket
            )
        else:
            raise self._unknown()

    def _unknown(self) -> UnknownRequestError:
        return UnknownRequestError(f"which permission does {self.method} {self.path} {self.query} take?")


def _resource(service: str, request: Mapping[str, Any]) -> str:
    """What a request of JSON is about; services name it each in their own way."""
    match service:
        case "sagemaker":
            return f"arn:aws:sagemaker:::training-job/{request['TrainingJobName']}"
        case "logs":
            group = f"arn:aws:logs:::log-group:{request['logGroupName']}"
            stream = request.get("logStreamName")
            return f"{group}:log-stream:{stream}" if stream else f"{group}:*"
        case "secretsmanager":
            return f"arn:aws:secretsmanager:::secret:{request['SecretId']}-AbCdEf"
        case _:
            raise UnknownRequestError(f"what is a request to {service} about? {dict(request)}")


def requests_of(caller: str, recording: Path) -> Iterator[Request]:
    """What was asked with an access key, in that order."""
    text = recording.read_text()
    # Requests that come at once may share a line of the recording.
    decoder, position = json.JSONDecoder(), 0
    while (start := text.find("{", position)) >= 0:
        told, position = decoder.raw_decode(text, start)
        request = Request(told)
        if request.caller == caller:
            yield request
